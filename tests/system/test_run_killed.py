"""A run that is killed in its stages, one after another, and then left alone."""

import json
import sys
from collections.abc import Callable

import psutil
import pytest
import yaml
from schedule_box import processes_of
from waiting import WAIT, until
from workspace import ROOT, Workspace

STAGES = list(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])

pytestmark = pytest.mark.slow  # what a kill leaves half done has a short test in each room


def kill_in(workspace: Workspace, stage: str) -> None:
    """Start `digits run` and kill -9 it alone once ``stage`` is at work: what it started must end with it."""
    # train is killed between two epochs, the others as soon as they run
    sign = "train: epoch  1/" if stage == "train" else f"> python -m pipeline.{stage}"
    process = workspace.start(sys.executable, "-u", "-m", "cli", "run")
    said = []
    for line in process.stdout or ():
        said.append(line)
        if sign in line:
            break
    else:
        pytest.fail(f"{stage} never ran:\n{''.join(said)}")
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    until(lambda: not processes_of(workspace.folder), "the end of what it had started")
    assert not psutil.wait_procs(family, timeout=WAIT)[1]  # to DVC one that nobody has reaped yet is still at work


def test_killed_in_its_stages_the_pipeline_ends_with_the_weights_of_an_uninterrupted_run(
    new_workspace: Callable[[], Workspace],
):
    uninterrupted, killed = new_workspace(), new_workspace()
    uninterrupted.digits("run")
    for stage in STAGES:
        kill_in(killed, stage)
    done = killed.digits("run")
    assert "gate: version 1 promoted" in done.stdout
    for name in ("models/weights.sha256", "reports/metrics.json", "data/raw/manifest.json"):
        assert (killed.folder / name).read_text() == (uninterrupted.folder / name).read_text()
    assert len(json.loads(killed.digits("history", "--json").stdout)) == 1
