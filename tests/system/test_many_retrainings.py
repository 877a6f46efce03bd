"""Twenty real retrainings in a row, one of them degraded and one decision overturned by hand: does the gate hold?"""

import json
from collections.abc import Callable

import pytest
from workspace import Workspace

from pipeline.base import params as params_file

RETRAININGS = 20
STEPS = "70"  # an epoch, half as many as usual
DEGRADED, OVERTURNED = RETRAININGS // 3, RETRAININGS // 2


@pytest.mark.slow
def test_no_champion_of_the_gate_is_worse_than_the_best_before_it_by_more_than_is_allowed(
    new_workspace: Callable[..., Workspace],
):
    workspace = new_workspace(short=False)
    allowed = params_file.load(workspace.folder / "params.yaml").gate.allowed("digits").loss
    refused = ""
    for number in range(RETRAININGS):
        epochs = "1" if number == DEGRADED else "7"
        workspace.edit("seed", str(number), epochs=epochs, min_steps_per_epoch=STEPS)
        outcome = json.loads(workspace.digits("run", "--json").stdout)
        if number == DEGRADED:
            assert outcome["decision"]["event"] in ("refused", "kept")
            refused = outcome["decision"]["version"]
        if number == OVERTURNED:  # in MLflow's page, as the gate would not
            alias = f"set_registered_model_alias('digits-cnn', 'champion', '{refused}')"
            workspace.run("python", "-c", f"from pipeline.registry import versions; versions.connect().{alias}")
    events = json.loads(workspace.digits("history", "--json").stdout)
    assert "moved by hand" in [event["event"] for event in events]
    promoted = [event["verdict"] for event in events if event["event"] == "promoted"]
    assert len(promoted) > 1
    for verdict in promoted:
        best = max([one["accuracy"] for one in verdict.get("champions", [])], default=0.0)
        assert verdict["accuracy"] >= best - allowed
