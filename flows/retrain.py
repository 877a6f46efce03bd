"""Run every DVC stage as a Prefect task, in dvc.yaml's order, then put a new challenger to the gate."""

import contextlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound
from prefect.states import Completed
from prefect.tasks import exponential_backoff
from prefect.utilities.urls import url_for

from flows import workspace
from pipeline import run
from pipeline.base import errors, params, places, processes
from pipeline.base.errors import TemporaryFault
from pipeline.monitoring import alerts
from pipeline.registry import faults
from pipeline.registry.records import Event

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
def stage(place: Path, name: str, force: bool = False) -> bool:
    """`dvc repro` of one stage, its output in this task's log; whether it ran or was up to date.

    :class:`TemporaryFault` for what may pass, :class:`BadInput` for all else.
    """
    logger = get_run_logger()
    command = processes.dvc_repro("--single-item", name, *(["--force"] if force else []))
    ran = False
    with errors.heard() as fault:
        environment = processes.environment(**{errors.FAULT_FILE: str(fault)})
        with processes.started(command, cwd=place, env=environment) as process:
            for line in process.stdout or ():
                ran = ran or line.startswith("Running stage")  # DVC's word for what is not up to date
                logger.info("%s", line.rstrip())
        if process.returncode:
            kind, message = errors.told(fault)
            raise kind(message or f"the stage {name} failed: see the log above")
    return ran


@task(**PATIENT)
def judge(place: Path) -> run.Outcome:
    """The gate for a challenger that was never judged; what `digits run` ends with. :class:`TemporaryFault` for a
    registry that does not answer, or that another one holds."""
    with contextlib.chdir(place), faults.told():
        return run.settle(params.load())


@flow(name="retrain")
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
            run.check_source(params.load(place / places.PARAMS), place)
            ran = [
                name
                for number, name in enumerate(stages(place) if late or workspace.stale(place) else [])
                if stage.with_options(name=name)(place, name, force=bool(late) and number == 0)
            ]
            outcome = judge(place)
            event = outcome.decision
            page = summary(reason, ran, outcome, place, form(outcome))
            create_markdown_artifact(page, key="retrain", description="What a run did")
            missed = workspace.missed(place)
        if missed <= late:  # none, or those that going round once more did not bring in
            break
        late = missed
        logger.info("once more, as %s came in meanwhile", ", ".join(sorted(late)))
    if event.event == "refused":
        alerts.raise_("refused", f"version {event.version} was refused: {event.why}")
    if event.event == "unchanged" and not ran:
        return Completed(message="nothing changed", data=outcome.as_json())
    return Completed(message=f"version {event.version} {_word(event)}", data=outcome.as_json())


def _word(event: Event) -> str:
    words = {"kept": "not promoted: it cannot be told", "waits": "waits for `digits approve`"}
    return words.get(event.event, event.event)


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


def summary(reason: str, ran: list[str], outcome: run.Outcome, place: Path, form: str = "") -> str:
    """The run on one page of Markdown. ``form``: where a person says yes, if that is waited for."""
    event, champion = outcome.decision, outcome.champion
    metrics = champion.metrics
    checks = "\n".join(
        f"| {check.name} | {check.value:.4g} | {check.limit:.4g} | {'passed' if check.passed else 'FAILED'} |"
        for check in (event.verdict.checks if event.verdict else ())
    )
    table = f"\n| check | value | limit | |\n| --- | --- | --- | --- |\n{checks}\n" if checks else ""
    decide = f"\n**[Say yes to version {event.version}]({form})**, with a reason.\n" if form else ""
    return f"""# Version {event.version}: {_word(event)}

{event.why}
{decide}{table}
**Champion**: {champion.model} version {champion.version}, test accuracy {metrics["accuracy"]:.2%}
({metrics["accuracy_low"]:.2%} to {metrics["accuracy_high"]:.2%}).

- why it ran: {reason}
- stages that ran: {", ".join(ran) or "none: nothing changed"}
- report: `{place / places.REPORT_PAGE}`
- lineage: `digits why {event.version}`; MLflow run `{champion.run_id}`

```json
{json.dumps(event.as_json(), indent=1)[:4000]}
```
"""
