"""Twenty kills at random moments of a retraining: nothing lost, no half-promoted alias, no orphan."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from schedule_box import Box, processes_of, set_schedule, worker_of
from waiting import until
from workspace import Workspace

KILLS = 20
LONGEST = 25.0  # seconds from a run's start to its kill: a run takes about as long
SEED = 5

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def box(new_workspace: Callable[[], Workspace]) -> Iterator[Box]:
    workspace = new_workspace()
    set_schedule(workspace, None)
    box = Box(workspace)
    yield box
    if box.process.poll() is None:
        assert box.stop() == 0


def consistent(box: Box) -> str | None:
    """The champion, after checks that the registry agrees with its own history; None if there is none yet."""
    workspace = box.workspace
    history = json.loads(workspace.digits("history", "--json").stdout)
    if not history:
        workspace.digits("champion", code=2)
        return None
    champion = json.loads(workspace.digits("champion", "--json").stdout)
    decided = [event for event in history if event["event"] in ("promoted", "rolled back")]
    assert decided[-1]["version"] == champion["version"]
    workspace.digits("why", champion["version"])
    return str(champion["version"])


def started(box: Box, run: dict[str, Any]) -> bool:
    return bool(box.post("flow_runs/filter", flow_runs={"id": {"any_": [run["id"]]}})[0]["start_time"])


def test_twenty_kills_at_random_moments_leave_nothing_behind(box: Box):
    rng = np.random.default_rng(SEED)
    before, place = None, box.workspace.folder / ".cache/retrain"
    for number in range(KILLS):
        box.workspace.edit("seed", str(100 + number))  # something to do each time
        box.workspace.commit(f"seed {number}")
        run = box.begin(reason=f"kill {number}")
        until(lambda run=run: started(box, run), "start")
        time.sleep(rng.uniform(0, LONGEST))  # the moment is what is random here
        os.kill(until(lambda: worker_of(box), "a worker"), signal.SIGKILL)
        box.ended(run)
        until(lambda: not [line for line in processes_of(place) if "pipeline." in line], "the end of the orphans")
        champion = consistent(box)
        assert champion or not before  # a champion, once there, is never lost
        before = champion
        until(lambda: worker_of(box), "another worker")
    state = box.ended(box.begin(reason="after the kills"))
    assert state["type"] == "COMPLETED", box.logs()
    assert consistent(box)
