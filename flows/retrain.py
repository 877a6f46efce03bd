"""Run every DVC stage as a Prefect task, in dvc.yaml's order, then put a new challenger to the gate."""

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import yaml
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed
from prefect.tasks import exponential_backoff

from flows import workspace
from pipeline import run
from pipeline.base import params, processes
from pipeline.base.errors import BadInput, TemporaryFault
from pipeline.monitoring import alerts

RETRIES, FIRST_DELAY = 4, 30  # a network fault is tried again after 30 s, 1, 2 and 4 minutes


def stages(place: Path) -> list[str]:
    """The stages' names as dvc.yaml lists them, which is the order in which data flows."""
    return list(yaml.safe_load((place / "dvc.yaml").read_text(encoding="utf-8"))["stages"])


def _may_pass(_task: Any, _run: Any, state: State) -> bool:
    """Whether a failed task is worth another try: a network fault is, a failed check is not."""
    try:
        state.result()  # raises what the task raised
    except TemporaryFault:
        return True
    except Exception:
        return False
    return False


@task(
    cache_policy=NO_CACHE,
    retries=RETRIES,
    retry_delay_seconds=exponential_backoff(FIRST_DELAY),
    retry_jitter_factor=0.5,
    retry_condition_fn=_may_pass,
)
def stage(place: Path, name: str, force: bool = False) -> bool:
    """`dvc repro` of one stage, its output in this task's log; whether it ran or was up to date.

    :class:`TemporaryFault` for what may pass, :class:`BadInput` for all else.
    """
    logger = get_run_logger()
    command = [sys.executable, "-m", "dvc", "repro", "--single-item", name, *(["--force"] if force else [])]
    said = []
    with processes.started(command, cwd=place, env=processes.environment()) as process:
        for line in process.stdout or ():
            said.append(line.rstrip())
            logger.info("%s", said[-1])
    if process.returncode:
        errors = [line.removeprefix("error: ") for line in said if line.startswith("error: ")]
        kind = TemporaryFault if f"exited with {os.EX_TEMPFAIL}" in " ".join(said) else BadInput
        raise kind("; ".join(errors) or f"the stage {name} failed: see the log above")
    return any(line.startswith("Running stage") for line in said)


@task(cache_policy=NO_CACHE)
def judge(place: Path) -> dict[str, Any]:
    """The gate for a challenger that was never judged; what `digits run` ends with."""
    with contextlib.chdir(place):
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
            ran = [
                name
                for number, name in enumerate(stages(place))
                if stage.with_options(name=name)(place, name, force=bool(late) and number == 0)
            ]
            outcome = judge(place)
            event = outcome["decision"]
            create_markdown_artifact(summary(reason, ran, outcome, place), key="retrain", description="What a run did")
            missed = workspace.missed(place)
        if missed <= late:  # none, or those that going round once more did not bring in
            break
        late = missed
        logger.info("once more, as %s came in meanwhile", ", ".join(sorted(late)))
    if event["event"] == "refused":
        alerts.raise_("refused", f"version {event['version']} was refused: {event['verdict']['reason']}")
    if event["event"] == "unchanged" and not ran:
        return Completed(message="nothing changed", data=outcome)
    return Completed(message=f"version {event['version']} {event['event']}", data=outcome)


def summary(reason: str, ran: list[str], outcome: dict[str, Any], place: Path) -> str:
    """The run on one page of Markdown."""
    event, champion = outcome["decision"], outcome["champion"]
    metrics = champion["metrics"]
    verdict = event.get("verdict") or {"reason": event.get("reason", ""), "checks": []}
    checks = "\n".join(
        f"| {c['name']} | {c['value']:.4g} | {c['limit']:.4g} | {'passed' if c['passed'] else 'FAILED'} |"
        for c in verdict["checks"]
    )
    table = f"\n| check | value | limit | |\n| --- | --- | --- | --- |\n{checks}\n" if checks else ""
    return f"""# Version {event["version"]}: {event["event"]}

{verdict["reason"]}
{table}
**Champion**: {champion["model"]} version {champion["version"]}, test accuracy {metrics["accuracy"]:.2%}
({metrics["accuracy_low"]:.2%} to {metrics["accuracy_high"]:.2%}).

- why it ran: {reason}
- stages that ran: {", ".join(ran) or "none: nothing changed"}
- report: `{place / outcome["report"]}`
- lineage: `digits why {event["version"]}`; MLflow run `{champion["run_id"]}`

```json
{json.dumps(event, indent=1)[:4000]}
```
"""
