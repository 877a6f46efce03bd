"""A run that is killed in its stages, one after another, and then left alone."""

import json
import sys
from collections.abc import Callable

import pytest
import yaml
from schedule_box import processes_of
from waiting import until
from workspace import ROOT, Workspace

STAGES = list(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])
# What a kill could leave half done: the swap of the data, a training with its checkpoint, a version in the registry.
STAGES_WITH_A_STATE = ["ingest", "train", "register"]


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
    process.kill()
    process.wait()
    until(lambda: not processes_of(workspace.folder), "the end of what it had started")


@pytest.mark.parametrize("stages", [STAGES_WITH_A_STATE, pytest.param(STAGES, marks=pytest.mark.slow)], ids=len)
def test_killed_in_its_stages_the_pipeline_ends_with_the_weights_of_an_uninterrupted_run(
    trained: Workspace, new_workspace: Callable[[], Workspace], stages: list[str]
):
    workspace = new_workspace()
    for stage in stages:
        kill_in(workspace, stage)
    done = workspace.digits("run")
    assert "gate: version 1 promoted" in done.stdout
    for name in ("models/weights.sha256", "reports/metrics.json", "data/raw/manifest.json"):
        assert (workspace.folder / name).read_text() == (trained.folder / name).read_text()
    assert len(json.loads(workspace.digits("history", "--json").stdout)) == 1
