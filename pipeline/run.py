"""The main job in one call: `dvc repro`, then the gate for a new challenger."""

import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from pipeline.base import errors, files, places, processes
from pipeline.base.errors import BadInput, TemporaryFault
from pipeline.base.params import Params
from pipeline.monitoring import verdicts
from pipeline.registry import history, live_training, snapshot, unchanged, versions
from pipeline.registry.records import Event, Facts

MEND_SECONDS = 0.5  # from a look at a file that is not whole to the next
# What a run from nothing takes on two cores, by data set and recipe, as measured.
MINUTES = {
    ("digits", "fast"): 1,
    ("letters", "colour"): 5,
    ("mnist", "fast"): 3,
    ("mnist", "default"): 10,
    ("mnist", "accurate"): 30,
}


class Outcome(NamedTuple):
    """What a run came to."""

    decision: Event
    champion: Facts
    reported: str | None = None
    """the version that the report is of: the workspace's model, which need not be the champion"""

    def as_json(self) -> dict[str, Any]:
        facts = {"decision": self.decision.as_json(), "champion": self.champion.as_json()}
        return {**facts, "report": str(places.REPORT_PAGE), "report_of": self.reported}


def run(params: Params) -> Outcome:
    """Run what changed and judge what is new.

    :class:`BadInput` if a stage fails (it has said why on stderr), or if no model ever passed the gate.
    """
    check_source(params)
    with live_training.shown(params):
        known = unchanged.read(versions.model_name(params.named), unchanged.origin(params))
        repro(ahead=known is None)
        return settle(params)


def check_source(params: Params, place: Path = Path()) -> None:
    """:class:`BadInput` if ingest.local_dir is not there: DVC would say so less plainly."""
    if not (place / params.ingest.local_dir).exists():
        raise BadInput(
            f"{places.PARAMS}: ingest.local_dir is {params.ingest.local_dir!r}, and there is no such file or folder: "
            "correct it or make it"
        )


def announcement(params: Params) -> str:
    """Which recipe trains on what, and about how long that takes, where it was measured."""
    said = f"recipe {params.train.recipe} on {params.named}"
    if minutes := MINUTES.get((params.dataset, params.train.recipe)):
        said += f": about {minutes} minute{'s' if minutes > 1 else ''} on two cores, less what is up to date"
    return said


def settle(params: Params) -> Outcome:
    """What follows when every stage is up to date: see that the model is registered, and judge it if it is new."""
    name, origin = versions.model_name(params.named), unchanged.origin(params)
    if known := unchanged.read(name, origin):
        verdicts.remind(snapshot.events(name), params.gate.approval_hours)
        return Outcome(known.decision, snapshot.champion(name), known.reported)
    from pipeline.registry import promotion

    client = versions.connect()
    reported = versions.identical(client, name, _registered())
    if reported is None:
        # DVC restored or kept the stage's output, but this registry never saw the model.
        repro("--force", "--single-item", "--no-run-cache", "register")
        reported = versions.identical(client, name, _registered())
    decision = promotion.promote_if_new(client, name, params)
    verdicts.tell(decision)
    if decision.event == "unchanged":
        verdicts.remind(history.events(client, name), params.gate.approval_hours)
    if versions.CHAMPION not in versions.aliases(client, name):
        refused = f"version {decision.version} was refused: " if decision.version else ""
        raise BadInput(f"{name} has no champion: {refused}{decision.why}")
    number = str(reported.version) if reported else None
    unchanged.keep(name, origin, decision, number)
    return Outcome(decision, snapshot.champion(name), number)


def _registered() -> dict[str, str]:
    """What the register stage left of the model's identity."""
    facts = files.read_json(places.REGISTRATION)
    return {key: value for key, value in facts.items() if key.endswith("_sha256")}


def mend(place: Path = Path()) -> None:
    """Remove what a kill cut short while DVC was writing it, because DVC would refuse to run for ever: its list of who
    reads and writes what, and dvc.lock, which the next run makes anew from DVC's run cache."""
    for name, whole in ((places.DVC_TMP_LOCK, json.loads), (places.DVC_LOCK, parsed_lock)):
        for patience in (MEND_SECONDS, 0):  # another DVC may be writing it this very moment
            try:
                whole((place / name).read_text(encoding="utf-8"))
                break
            except FileNotFoundError:
                break
            except (ValueError, yaml.YAMLError):
                time.sleep(patience)
        else:
            print(f"{place / name} was cut short, by a kill or a full disk: removed", file=sys.stderr)
            (place / name).unlink(missing_ok=True)


def parsed_lock(text: str) -> None:
    """ValueError or a YAMLError if that is no whole dvc.lock."""
    if "stages" not in (yaml.safe_load(text) or {}):
        raise ValueError("no stages")


def repro(*options: str, ahead: bool = False) -> None:
    """`dvc repro` in this environment, its output on stderr; ``ahead`` if MLflow will be needed after it.

    :class:`BadInput` if it fails, which has been explained there, and :class:`TemporaryFault` for what may pass.
    """
    mend()
    with errors.heard() as fault:
        environment = processes.environment(**{errors.FAULT_FILE: str(fault)})
        with processes.started(processes.dvc_repro(*options), env=environment, to=sys.stderr) as process:
            if ahead:
                import_module("mlflow")  # which the gate needs: there is a core to spare while DVC starts
        if process.returncode == os.EX_TEMPFAIL:
            raise TemporaryFault("another DVC works in this workspace: run the same command again when it has ended")
        if process.returncode:
            kind, _ = errors.left_in(fault)
            hint = "run the same command again later" if kind is TemporaryFault else "mend that and run it again"
            raise kind(f"the pipeline stopped at the stage named above: {hint}")
