"""Living as DVC's users do: dvc.lock committed or not, pulled on a second clone, and nothing run twice."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
import yaml
from workspace import ROOT, Workspace

from flows import workspace as retraining
from pipeline.base import places

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
DVC = [sys.executable, "-m", "dvc"]


@pytest.fixture
def checkout(demo: Workspace, tmp_path: Path) -> Workspace:
    """A checkout in which `make demo` was typed."""
    return demo.copy(tmp_path / "checkout")


@contextmanager
def retrain_in(checkout: Workspace) -> Iterator[Workspace]:
    """The scheduled retraining's workspace of that checkout."""
    settings = {"DIGITS_HOME": str(checkout.folder), "MLFLOW_TRACKING_URI": ""}
    with mock.patch.dict(os.environ, settings), retraining.held() as place:
        yield Workspace(place)


def ran(workspace: Workspace, *stages: str) -> list[str]:
    """The stages that `dvc repro` has to run."""
    said = workspace.run(*DVC, "repro", *stages).stdout
    return [name for name in STAGES if f"Running stage '{name}'" in said]


def status(workspace: Workspace) -> set[str]:
    return set(json.loads(workspace.run(*DVC, "status", "--json").stdout))


def touch(path: Path) -> None:
    path.write_text(path.read_text() + "\n# a line more\n")


@pytest.mark.parametrize("module", ["digits/ink.py", "digits/corruptions.py", "data/comparison.py"])
def test_a_touched_line_makes_just_the_stages_stale_that_use_it(checkout: Workspace, module: str):
    touch(checkout.folder / "pipeline" / module)
    users = {name for name, stage in STAGES.items() if f"pipeline/{module}" in stage["deps"]}
    assert users and status(checkout) == users


def test_what_python_leaves_beside_the_code_makes_nothing_stale(checkout: Workspace):
    (checkout.folder / "pipeline/base/__pycache__").mkdir(exist_ok=True)
    (checkout.folder / "pipeline/base/__pycache__/x.pyc").touch()
    assert status(checkout) == set()


@pytest.mark.parametrize(
    "committed",
    [
        pytest.param(True, id="lock committed", marks=pytest.mark.slow),
        pytest.param(False, id="lock left alone"),
    ],
)
def test_a_scheduled_retraining_runs_nothing_that_was_run_before(checkout: Workspace, committed: bool):
    if committed:
        checkout.run("git", "add", "dvc.lock")
        checkout.commit("as DVC says", "-a")
    with retrain_in(checkout) as place:  # the first one after `make demo`
        assert retraining.stale(place.folder) == [] and ran(place) == []
        assert (place.folder / places.REPORT_PAGE).is_file()
    checkout.edit("calibration_bins", "10")  # of evaluate: stands for a change that asks for a training
    checkout.commit("another plot", "params.yaml")
    with retrain_in(checkout) as place:
        assert "evaluate" in ran(place)
    with retrain_in(checkout) as place:  # goes on from its own state, whatever the commit's lock says
        assert retraining.stale(place.folder) == [] and ran(place) == []


@pytest.mark.slow  # each kind of file has a test of its own
def test_all_that_a_stage_leaves_is_the_same_bytes_when_it_runs_again(checkout: Workspace):
    before = (checkout.folder / "dvc.lock").read_text()
    checkout.run(*DVC, "repro", "--force", "--no-run-cache")
    assert (checkout.folder / "dvc.lock").read_text() == before


@pytest.mark.slow
def test_a_second_clone_pulls_what_was_pushed_and_compares_metrics(checkout: Workspace, tmp_path: Path):
    checkout.run(*DVC, "remote", "add", "--default", "store", str(tmp_path / "store"))
    checkout.run("git", "add", "dvc.lock", ".dvc/config")
    checkout.commit("as DVC says", "-a")
    checkout.run(*DVC, "push", "--quiet")
    subprocess.run(["git", "clone", "-q", str(checkout.folder), str(tmp_path / "second")], check=True)
    second = Workspace(tmp_path / "second")
    second.run(*DVC, "pull", "--quiet")
    assert status(second) == set() and ran(second) == []
    accuracy = json.loads((checkout.folder / places.METRICS).read_text())["accuracy"]
    shown = json.loads(second.run(*DVC, "metrics", "show", "--json").stdout)
    assert shown[""]["data"]["reports/metrics.json"]["data"]["accuracy"] == accuracy
    second.edit("corrupted", "50")
    assert ran(second, "evaluate") == ["evaluate"]
    changed = json.loads(second.run(*DVC, "metrics", "diff", "--json").stdout)
    assert set(changed["reports/metrics.json"]) == {"robustness"}
    said = second.digits("run")  # the registry is another: the model is registered here
    assert "gate: version 1 promoted" in said.stdout and "Running stage 'train'" not in said.stderr
