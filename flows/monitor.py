"""Watch what comes in: a window of images against the champion's reference, and the event that starts a retraining."""

import contextlib
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.states import Completed

from flows import events, workspace
from pipeline.base import params
from pipeline.monitoring import alerts, windows
from pipeline.monitoring import monitor as room
from pipeline.registry import versions


@flow(name="monitor")
def monitor(folder: str | None = None) -> Any:
    """Compare the last images that were asked about, or the pictures below ``folder``, with what the champion learnt
    from; k bad windows of n retrain."""
    pictures = Path(folder).resolve() if folder else None
    with contextlib.chdir(workspace.home()):
        settings = params.load()
        name = versions.model_name(settings.dataset)
        client = versions.connect()
        if versions.aliased(client, name, versions.CHAMPION) is None:
            return Completed(message=f"{name} has no champion yet, so there is nothing to compare with")
        found = room.look(client, name, settings, pictures)
        if found is None:
            return Completed(message=f"fewer than {settings.monitor.min_images} images came in since the last look")
        record, snapshot = found
        page = windows.keep(record, snapshot)
        records = windows.of(name, record["version"])
    alarm = windows.alarmed(records, settings.monitor.bad, settings.monitor.of)
    far = sorted(record["columns"].items(), key=lambda item: -item[1])[:3]
    words = (
        f"{record['images']} images, {record['drifted_share']:.0%} of the columns drifted, most of all "
        f"{', '.join(f'{column} ({distance:.2f})' for column, distance in far)}; page {page}"
    )
    get_run_logger().info("%s: %s", "bad window" if record["bad"] else "good window", words)
    create_markdown_artifact(
        f"# {'Drift' if alarm else 'No drift'}\n\n{words}\n", key="monitor", description="A window"
    )
    if alarm and not windows.alarmed(records[:-1], settings.monitor.bad, settings.monitor.of):  # once, as it begins
        bad = sum(r["bad"] for r in records[-settings.monitor.of :])
        alerts.raise_("drift", f"{bad} of the last {settings.monitor.of} windows are bad: {words}")
        events.drift(name, record)
    return {**record, "alarm": alarm, "page": str(page)}
