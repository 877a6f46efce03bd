"""Watch what comes in: a window of images against the champion's reference, and the event that starts a retraining."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.states import Completed

from flows import events, pages, workspace
from pipeline.base import params, places
from pipeline.monitoring import alerts, labelling, live, windows
from pipeline.monitoring import monitor as room
from pipeline.monitoring.windows import Window
from pipeline.registry import versions

if TYPE_CHECKING:
    from mlflow import MlflowClient


@flow(name="monitor", flow_run_name="monitor")
def monitor(folder: str | None = None) -> Any:
    """Compare the last images that were asked about, or the pictures below ``folder``, with what the champion learnt
    from; k bad windows of n retrain."""
    pictures = Path(folder).resolve() if folder else None
    with contextlib.chdir(places.checkout()):
        settings = params.load()
        # What is in use, whatever a person in the checkout is putting params.yaml on meanwhile.
        name = (None if pictures else live.answered_last()) or versions.model_name(settings.named)
        client = versions.connect()
        if versions.aliased(client, name, versions.CHAMPION) is None:
            return Completed(message=f"{name} has no champion yet, so there is nothing to compare with")
        found = room.look(client, name, settings, pictures)
        if found is None:
            return Completed(message=f"fewer than {settings.monitor.min_images} images came in since the last look")
        window, snapshot = found
        page = windows.keep(window, snapshot)
        known = windows.of(name, window.version)
        rules = settings.monitor
        alarm = windows.alarmed(known, rules.bad, rules.of)
        words = f"{pages.seen(window)}; page {page}"
        get_run_logger().info("%s: %s", "bad window" if window.bad else "good window", words)
        bad = sum(one.bad for one in known[-rules.of :])
        begins = alarm and not windows.alarmed(known[:-1], rules.bad, rules.of)
        then = _answer(client, window) if begins else ""
        beside = f"Evidently's page: `{page}` on the worker's machine."
        told = "\n\n".join(filter(None, [pages.window(window, bad, alarm, rules), then and f"**{then}**", beside]))
        create_markdown_artifact(told, key="monitor", description=told.splitlines()[0].lstrip("# "))
        create_table_artifact(pages.columns(window), key="monitor-columns", description=pages.seen(window))
        if begins:
            alerts.raise_("drift", f"{bad} of the last {rules.of} windows are bad: {words}; {then}")
    return {**window.model_dump(), "alarm": alarm, "page": str(page)}


def _answer(client: MlflowClient, window: Window) -> str:
    """Have a retraining started by an alarm that begins, if there are labels it could learn from, else ask people for
    some; which of both, in words."""
    if workspace.unlearnt():
        if events.drift(window):
            return "a retraining on what was labelled since the last one is asked for"
        return "Prefect does not answer: have it retrain on what was labelled since the last one by hand"
    why = "no labelled data came in since the last training, and another one on the same data would not help"
    folder = labelling.ask(client, window.model, window.at)
    if folder is None:
        how = "hand in labelled images by `digits add-batch` (serving.keep_images remembers those to ask about)"
        return f"{why}: {how}"
    how = f"label the images in {folder} by `digits label {folder}` and hand them in, and a retraining starts"
    return f"{why}: {how}"
