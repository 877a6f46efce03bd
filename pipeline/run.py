"""The main job in one call: `dvc repro`, then the gate for a new challenger."""

import os
import sys
from pathlib import Path

from pipeline import files, processes, promote, register, registry
from pipeline.errors import BadInput
from pipeline.params import Params

REPORT = Path("reports/index.html")
RETRAINING = Path(".cache/retrain.lock")  # held by a scheduled retraining while it works


def run(params: Params) -> dict:
    """Run what changed and judge what is new: ``{"decision": event, "champion": facts, "report": path}``.

    :class:`BadInput` if a stage fails (it has said why on stderr), or if no model ever passed the gate.
    """
    repro()
    return settle(params)


def settle(params: Params) -> dict:
    """What follows when every stage is up to date: see that the model is registered, and judge it if it is new."""
    client, name = registry.connect(), registry.model_name(params.dataset)
    if registry.with_weights(client, name, files.read_json(register.REGISTRATION)["weights_sha256"]) is None:
        # DVC restored or kept the stage's output, but this registry never saw the model.
        repro("--force", "--single-item", "--no-run-cache", "register")
    decision = promote.promote_if_new(client, name, params)
    champion = registry.aliased(client, name, registry.CHAMPION)
    if champion is None:
        refused = f"version {decision['version']} was refused: " if decision["version"] else ""
        raise BadInput(f"{name} has no champion: {refused}{_reason(decision)}")
    return {"decision": decision, "champion": registry.describe(client, champion), "report": str(REPORT)}


def repro(*options: str) -> None:
    """`dvc repro` in this environment, its output on stderr; :class:`BadInput` if it fails.

    The stages call `python`: this one comes first on their path, whether or not the environment is activated.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    command = [sys.executable, "-m", "dvc", "repro", *options]
    with processes.started(command, env={**os.environ, "PATH": path}, to_stderr=True) as process:
        pass
    if process.returncode:
        raise BadInput("the pipeline stopped at the stage named above; mend that and run the same command again")


def _reason(decision: dict) -> str:
    return decision["verdict"]["reason"] if "verdict" in decision else decision["reason"]
