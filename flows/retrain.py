"""Run every DVC stage as a Prefect task, in dvc.yaml's order, then put a new challenger to the gate."""

import contextlib
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml
from prefect import flow, get_run_logger, runtime, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound
from prefect.states import Completed
from prefect.tasks import exponential_backoff
from prefect.utilities.urls import url_for

from flows import links, pages, workspace
from flows.progress import Progress
from flows.repro import Repro
from pipeline import run
from pipeline.base import params, places
from pipeline.base.errors import TemporaryFault
from pipeline.monitoring import alerts
from pipeline.registry import live_training, mlflow_errors

RETRIES, FIRST_DELAY = 4, 30  # a network fault is tried again after 30 s, 1, 2 and 4 minutes


def stages(place: Path) -> list[str]:
    """The stages' names as dvc.yaml lists them, which is the order in which data flows."""
    return list(yaml.safe_load((place / places.DVC_YAML).read_text(encoding="utf-8"))["stages"])


def _may_pass(_task: Any, _run: Any, state: State) -> bool:
    """Whether a failed task is worth another try: a network fault is, a failed check is not."""
    try:
        state.result()  # raises what the task raised
    except TemporaryFault:
        return True
    except Exception:
        return False
    return False


PATIENT: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "retries": RETRIES,
    "retry_delay_seconds": exponential_backoff(FIRST_DELAY),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": _may_pass,
}


@task(**PATIENT)
def stage(repro: Repro, name: str, force: bool = False, progress: Progress | None = None) -> bool:
    """`dvc repro` of one stage, its output in this task's log; whether it ran or was up to date.

    :class:`TemporaryFault` for what may pass, :class:`BadInput` for all else.
    """
    logger = get_run_logger()
    ran = False
    for line in repro.stage(name, force):
        ran = ran or line.startswith("Running stage")  # DVC's word for what is not up to date
        logger.info("%s", line.rstrip())
        if progress:
            progress.said(name, line)
    return ran


@task(**PATIENT)
def judge(place: Path) -> run.Outcome:
    """The gate for a challenger that was never judged; what `digits run` ends with. :class:`TemporaryFault` for a
    registry that does not answer, or that another one holds."""
    with contextlib.chdir(place), mlflow_errors.explained():
        return run.settle(params.load())


@flow(name="retrain", flow_run_name="retrain · {reason}")
def retrain(reason: str = "by hand", dataset: str | None = None, recipe: str | None = None) -> State:
    """Ingest, validate, train, judge: what is up to date is skipped, a refused challenger changes nothing.

    ``reason`` is kept with the run: schedule, new data, drift, by hand. ``dataset`` and ``recipe`` are params.yaml's
    own unless given.
    """
    logger = get_run_logger()
    logger.info("retraining: %s", reason)
    late: set[str] = set()
    while True:
        with workspace.held(dataset, recipe) as place:
            asked = params.load(place / places.PARAMS)
            run.check_source(asked, place)
            with live_training.shown(asked, place):
                ran = _stages(place, force=bool(late)) if late or workspace.stale(place) else {}
                outcome = judge.with_options(task_run_name="judge")(place)
            tell(reason, ran, outcome, place)
            missed = workspace.missed(place)
        if missed <= late:  # none, or those that going round once more did not bring in
            break
        late = missed
        logger.info("once more, as %s came in meanwhile", ", ".join(sorted(late)))
    event = outcome.decision
    if event.event == "refused":
        alerts.raise_("refused", f"version {event.version} was refused: {event.why}")
    if event.event == "unchanged" and not ran:
        _name(f"retrain · {reason} · nothing changed", outcome)
        return Completed(message="nothing changed", data=outcome.as_json())
    _name(f"retrain · {reason} · version {event.version} {event.word}", outcome)
    return Completed(message=f"version {event.version} {event.word}", data=outcome.as_json())


def _stages(place: Path, force: bool) -> dict[str, float]:
    """Go through all stages, the first by ``force``; the seconds of each that had to run."""
    names, ran = stages(place), {}
    progress = Progress(names)
    with contextlib.closing(Repro(place, names)) as repro:
        for number, name in enumerate(names):
            progress.begins(name)
            began = time.monotonic()
            named = stage.with_options(name=name, task_run_name=name)
            if named(repro, name, force=force and number == 0, progress=progress):
                ran[name] = time.monotonic() - began
    progress.ended()
    return ran


def _name(name: str, outcome: run.Outcome) -> None:
    """Call this run what it came to, with tags that Prefect's pages look for: the model and what was decided."""
    if (run_id := runtime.flow_run.id) is not None:
        tags = {*runtime.flow_run.tags, outcome.champion.model, outcome.decision.event}
        with get_client(sync_client=True) as client:
            client.update_flow_run(run_id, name=name, tags=sorted(tags))


def tell(reason: str, ran: dict[str, float], outcome: run.Outcome, place: Path) -> None:
    """Leave the run's pages in Prefect; ``ran`` are the seconds of the stages that had to."""
    event, champion = outcome.decision, outcome.champion
    if event.event == "unchanged" and not ran:
        create_markdown_artifact(pages.nothing(champion, reason), key="retrain", description="Nothing to do")
        return
    about = f"Version {event.version} {event.word}"
    lines = [f"**Why it ran**: {reason}", *links.of(champion.model, event.version or champion.version, place)]
    create_markdown_artifact(pages.decision(event, champion, lines, form(outcome)), key="retrain", description=about)
    if rows := pages.checks(event):
        create_table_artifact(rows, key="retrain-gate", description=f"What the gate asked of version {event.version}")
    if ran:
        rows = pages.stages(stages(place), ran)
        create_table_artifact(rows, key="retrain-stages", description="Which stages had something to do")


def form(outcome: run.Outcome) -> str:
    """The address of the form in Prefect's UI on which a person says yes to a version that waits for it, else empty."""
    event, model = outcome.decision, outcome.champion.model
    if event.event != "waits":
        return ""
    try:
        with get_client(sync_client=True) as client:
            deployment = client.read_deployment_by_name("promote/promote")
    except ObjectNotFound:  # not deployed here
        return ""
    filled = quote(json.dumps({"model": model, "version": event.version, "approve": True, "reason": ""}), safe="")
    return f"{url_for('deployment', deployment.id)}/run?parameters={quote(filled, safe='')}"  # Prefect decodes it twice
