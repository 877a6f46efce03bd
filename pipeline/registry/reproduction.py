"""Does a registered version come out the same when it is made again? From its recorded commit, params and data.

The commit is checked out into a scratch folder; the recorded params.yaml and dvc.lock are put there, and every stage up
to evaluate runs again (DVC's run cache would only hand back the old result). The weights digest must agree on the same
machine type and library versions, the metrics within TOLERANCE anywhere.
"""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from ruamel.yaml import YAML

from pipeline.base import files, places, processes
from pipeline.base.errors import BadInput
from pipeline.registry import artifacts, lineage, versions

TOLERANCE = {"accuracy": 0.003, "loss": 0.02, "train_accuracy": 0.003, "val_accuracy": 0.005}


def reproduce(client: MlflowClient, version: ModelVersion) -> dict[str, Any]:
    """Make the version again and compare: ``{"agrees", "weights", "data", "metrics", "machine", "notes"}``.

    :class:`BadInput` if the version's files are not those that were registered, it does not say what made it, or the
    commit or its data are not here.
    """
    artifacts.check(client, version)
    tags = version.tags
    if "git_commit" not in tags:
        raise BadInput(f"{version.name} version {version.version} was made without git: its code is not known")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "workspace"
        _check_out(tags["git_commit"], place)
        recorded = _put_records(client, version, place)
        _put_data(recorded, place)
        _run(place)
        return _compare(version, recorded, place)


def _check_out(commit: str, place: Path) -> None:
    """The code at ``commit`` as a clone that borrows this repository's objects."""
    git = ["git", "-c", "advice.detachedHead=false"]
    try:
        processes.call([*git, "clone", "--quiet", "--shared", "--no-checkout", str(Path().resolve()), str(place)])
        processes.call([*git, "-C", str(place), "checkout", "--quiet", "--detach", commit])
    except processes.Failed as error:
        raise BadInput(f"the commit {commit[:12]} cannot be checked out here ({error}): fetch it first") from None


def _put_records(client: MlflowClient, version: ModelVersion, place: Path) -> dict[str, Any]:
    """Put the recorded params.yaml and dvc.lock in place; returns the recorded manifest."""
    recorded = Path(client.download_artifacts(str(version.run_id), places.RUN_LINEAGE, str(place.parent)))
    for name in (places.PARAMS, places.DVC_LOCK):
        if (recorded / name).is_file():
            shutil.copy(recorded / name, place / name)
    manifest: dict[str, Any] = files.read_json(recorded / places.MANIFEST.name)
    return manifest


def _put_data(manifest: dict[str, Any], place: Path) -> None:
    """The data set's own files, where they lie in this workspace, and the batches that the version had."""
    settings = YAML(typ="safe").load(place / places.PARAMS)  # the recorded commit's, which today's schema may refuse
    local = Path(settings["ingest"]["local_dir"])
    if local.is_dir() and not local.is_absolute():
        shutil.copytree(local, place / local, dirs_exist_ok=True)
    elif local.is_file() and not local.is_absolute():
        (place / local).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(local, place / local)
    for name in manifest.get("batches", []):
        if not (places.BATCHES / name).is_dir():
            raise BadInput(f"{places.BATCHES / name} is not here: `dvc pull` it first")
        shutil.copytree(places.BATCHES / name, place / places.BATCHES / name)


def _run(place: Path) -> None:
    """Every stage up to evaluate, whatever DVC has in its run cache; the stages' output on stderr."""
    command = processes.dvc("repro", "--force", "--no-run-cache", "evaluate")
    # The clone's own code, which may be another than this one's.
    environment = processes.environment(PYTHONPATH=str(place))
    with processes.started(command, cwd=place, env=environment, to=sys.stderr) as process:
        pass
    if process.returncode:
        raise BadInput("the version could not be made again: the stage named above failed")


def _compare(version: ModelVersion, recorded: dict[str, Any], place: Path) -> dict[str, Any]:
    """Data, weights and metrics side by side."""
    rebuilt = files.read_json(place / places.MANIFEST)
    digest = (place / places.WEIGHTS_DIGEST).read_text().strip()
    measured, before = files.read_json(place / places.METRICS), versions.metrics(version)
    machine = {"recorded": version.tags.get("machine", "unknown"), "here": lineage.machine()}
    metrics = {
        name: {
            "recorded": before[name],
            "rebuilt": measured[name],
            "tolerance": tolerance,
            "agrees": abs(before[name] - measured[name]) <= tolerance,
        }
        for name, tolerance in TOLERANCE.items()
        if name in before
    }
    data = recorded["digests"] == rebuilt["digests"]
    weights = digest == version.tags["weights_sha256"]
    same_machine = machine["recorded"] == machine["here"]
    notes = [] if version.tags.get("git_clean") == "true" else ["the checkout had changes that no commit holds"]
    notes += [] if same_machine else ["another machine type: its weights need not agree"]
    return {
        "model": version.name,
        "version": str(version.version),
        "agrees": data and (weights or not same_machine) and all(one["agrees"] for one in metrics.values()),
        "data": data,
        "weights": {"recorded": version.tags["weights_sha256"], "rebuilt": digest, "agrees": weights},
        "metrics": metrics,
        "machine": machine,
        "notes": notes,
    }
