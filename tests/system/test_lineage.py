"""What comes after a run, in a real workspace: new data, a version made again, and old ones pruned."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from workspace import Workspace

from pipeline.data import splits


@pytest.fixture(scope="module")
def workspace(demo: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = demo.copy(tmp_path_factory.mktemp("lineage") / "workspace")
    workspace.shorten()
    workspace.commit("short trainings")
    return workspace


@pytest.fixture
def told(workspace: Workspace, typed: Callable[..., Any]) -> Callable[..., dict]:
    """Types `digits … --json` and reads the answer."""
    return lambda *arguments, code=0: dict(json.loads(typed(workspace, *arguments, "--json", code=code).stdout))


def write_batch(workspace: Workspace, name: str, shift: int = 1) -> Path:
    """The training images, each moved a little: new to the hash, alike to the eye."""
    train = splits.load(workspace.folder / "data/raw/train")
    path = workspace.folder / name
    np.savez(path, allow_pickle=False, images=np.roll(train.images, shift, axis=1), labels=train.labels)
    return path


@pytest.mark.slow  # what ingest makes of batches, and the gate of recent images, has short tests in their rooms
def test_an_accepted_batch_is_trained_on_and_judged_by(
    workspace: Workspace, told: Callable[..., dict], typed: Callable[..., Any]
):
    before = json.loads((workspace.folder / "data/raw/manifest.json").read_text())["counts"]
    event = told("add-batch", str(write_batch(workspace, "new.npz")), "--by", "ada")
    assert event["event"] == "accepted" and event["by"] == "ada" and event["retraining"] is False
    assert (workspace.folder / f"data/batches/{event['batch']}.dvc").is_file()
    outcome = told("run")
    manifest = json.loads((workspace.folder / "data/raw/manifest.json").read_text())
    assert manifest["batches"] == [event["batch"]]
    assert manifest["counts"]["train"] == before["train"] + event["counts"]["train"]
    verdict = outcome["decision"]["verdict"]
    assert verdict["recent_images"] == event["counts"]["recent"] > 50
    assert outcome["decision"]["event"] == "refused" and verdict["recent"]["images"] == verdict["recent_images"]
    again = typed(workspace, "add-batch", "new.npz", code=2)
    assert f"new.npz is known: accepted as {event['batch']}" in again.stderr


def test_a_quarantined_batch_ends_with_1_and_an_alert(
    workspace: Workspace, told: Callable[..., dict], typed: Callable[..., Any]
):
    train = splits.load(workspace.folder / "data/raw/train")
    path = workspace.folder / "inverted.npz"
    np.savez(path, allow_pickle=False, images=255 - train.images, labels=train.labels)
    done = typed(workspace, "add-batch", "inverted.npz", code=1)
    assert "quarantined: a copy and a report are in data/quarantine/" in done.stdout and "look inverted" in done.stdout
    assert path.exists()
    alerts = (workspace.folder / "reports/alerts.jsonl").read_text()
    assert '"quarantined"' in alerts and "inverted.npz" in alerts
    assert told("champion")["version"]


@pytest.mark.slow
def test_a_version_is_made_again_from_its_commit_params_and_data(workspace: Workspace, told: Callable[..., dict]):
    latest = max(registered(workspace), key=int)
    found = told("reproduce", latest)
    assert found["agrees"] and found["data"] and found["weights"]["agrees"]
    assert found["metrics"] and all(one["agrees"] for one in found["metrics"].values())
    assert found["machine"]["here"] == found["machine"]["recorded"] != "unknown"


@pytest.mark.slow
def test_a_version_that_comes_out_otherwise_is_told(workspace: Workspace, told: Callable[..., dict]):
    """The training code of the recorded commit is not what it was: stands for any change that nobody recorded."""
    path = workspace.folder / "pipeline/learning/fitting.py"
    whole = path.read_text()
    other = whole.replace("keras.utils.set_random_seed(seed)", "keras.utils.set_random_seed(seed + 1)")
    assert other != whole
    path.write_text(other)
    workspace.commit("another seed", "pipeline/learning/fitting.py")
    workspace.run("dvc", "repro", "-q")
    latest = max(registered(workspace), key=int)
    commit = workspace.run("git", "rev-parse", "HEAD~1").stdout.strip()
    tag = f"set_model_version_tag('digits-cnn', '{latest}', 'git_commit', '{commit}')"
    workspace.run("python", "-c", f"from pipeline.registry import versions; versions.connect().{tag}")
    found = told("reproduce", latest, code=1)
    assert not found["agrees"] and not found["weights"]["agrees"] and found["data"]


@pytest.mark.slow  # prunes what the trainings above left
def test_prune_says_what_would_go_and_removes_only_that(
    workspace: Workspace, told: Callable[..., dict], typed: Callable[..., Any]
):
    workspace.edit("versions", "1", days="1")
    workspace.register_again("one that waits")  # the one before is refused, and has no alias any more
    with sqlite3.connect(workspace.folder / "mlflow.db") as registry:
        registry.execute("UPDATE model_versions SET creation_time = 1")
    planned = told("prune", "--dry-run")
    assert planned["removed"] and planned["kept"]
    champion, versions = told("champion"), registered(workspace)
    assert planned["kept"][champion["version"]] == "is champion"
    assert registered(workspace) == versions  # nothing went
    done = told("prune")
    assert done["removed"] == planned["removed"]
    assert registered(workspace) == versions - set(done["removed"])
    assert told("champion") == champion
    assert "digits-cnn: would remove versions: none" in typed(workspace, "prune", "--dry-run").stdout
    assert "didn't change" in workspace.run("dvc", "repro").stdout  # nothing that the workspace needs is gone


def registered(workspace: Workspace) -> set[str]:
    with sqlite3.connect(workspace.folder / "mlflow.db") as registry:
        rows = registry.execute("SELECT version FROM model_versions WHERE current_stage != 'Deleted_Internal'")
        return {str(version) for (version,) in rows}
