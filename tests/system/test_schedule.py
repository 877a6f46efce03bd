"""The one-box form on a real Prefect server: schedules fire, runs exclude one another, kills leave nothing behind."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from schedule_box import SUPERVISOR, Box, processes_of, set_schedule, worker_of
from waiting import WAIT, until
from workspace import ROOT, Workspace

from pipeline.base import places


@pytest.fixture(scope="module")
def box(demo: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A checkout whose trained model its dvc.lock names, beside a registry that never saw it."""
    workspace = demo.copy(tmp_path_factory.mktemp("schedule") / "workspace")
    (workspace.folder / "mlflow.db").unlink()
    workspace.edit("calibration_bins", "10")  # something to run, of evaluate
    workspace.run("git", "add", "dvc.lock")
    set_schedule(workspace, 4)
    box = Box(workspace)
    yield box
    if box.process.poll() is None:
        box.stop()


def champion(box: Box) -> dict[str, Any]:
    return dict(json.loads(box.workspace.digits("champion", "--json").stdout))


def test_a_schedule_fires_runs_that_exclude_one_another(box: Box):
    first = until(lambda: box.having("COMPLETED"), f"a completed run\n{box.logs()}")[0]
    assert first["state"]["message"] == "version 1 promoted", box.logs()
    box.pause()
    assert box.having("CANCELLED")  # those that were due while the first was at work
    assert champion(box)["version"] == "1"
    stages = list(yaml.safe_load((box.workspace.folder / "dvc.yaml").read_text())["stages"])
    tasks = box.post("task_runs/filter", flow_runs={"id": {"any_": [first["id"]]}}, sort="EXPECTED_START_TIME_ASC")
    assert [task["name"] for task in tasks] == [*stages, "judge"]
    assert "evaluate: test accuracy" in said(box, first)  # each stage's output is in the run's log
    assert "# Version 1 promoted" in report_of(box, first)
    assert box.workspace.run("git", "status", "--porcelain", "-uno").stdout == ""


def report_of(box: Box, run: dict[str, Any]) -> str:
    """The page that the run left in Prefect."""
    of = {"flow_run_id": {"any_": [run["id"]]}, "key": {"any_": ["retrain"]}}
    return str(box.post("artifacts/filter", artifacts=of)[0]["data"])


def said(box: Box, run: dict[str, Any]) -> str:
    """What the run and its stages said."""
    logs = box.post("logs/filter", logs={"flow_run_id": {"any_": [run["id"]]}}, limit=200)
    return "\n".join(log["message"] for log in logs)


def test_a_killed_worker_leaves_no_orphan_and_the_next_run_completes(box: Box):
    until(box.is_quiet, "quiet")
    before = (box.workspace.folder / "params.yaml").read_text()
    box.workspace.edit("epochs", "1000")
    box.workspace.commit("a long training")
    run = box.begin(reason="to be killed")
    until(lambda: "train: epoch  1/1000" in said(box, run), f"training\n{box.logs()}")
    os.kill(until(lambda: worker_of(box), "a worker"), signal.SIGKILL)
    until(lambda: box.said("the worker ended with 137: starting it again"), "another worker")
    training = lambda: any("pipeline.train" in line for line in processes_of(box.workspace.folder))  # noqa: E731
    until(lambda: not training(), "the end of the orphan")
    assert box.ended(run)["type"] == "CRASHED"
    assert champion(box)["version"] == "1"
    (box.workspace.folder / "params.yaml").write_text(before)
    box.workspace.commit("what was trained with")
    box.workspace.register_again("a challenger")
    assert box.ended(box.begin(reason="the next one"))["message"] == "version 2 promoted"
    assert champion(box)["version"] == "2"


@pytest.mark.slow
def test_a_batch_that_comes_during_a_run_is_trained_on_before_it_ends(box: Box):
    box.workspace.edit("seed", "12")
    box.workspace.commit("yet another seed")
    run = box.begin(reason="to be overtaken")
    until(
        lambda: any("pipeline.train" in line for line in processes_of(box.workspace.folder)), f"training\n{box.logs()}"
    )
    place = box.workspace.folder / ".cache/retrain/data/raw"
    images, labels = (np.load(place / f"test/{name}.npy") for name in ("images", "labels"))
    np.savez(box.workspace.folder / "new.npz", images=np.roll(images[:200], 1, axis=2), labels=labels[:200])
    accepted = json.loads(box.workspace.digits("add-batch", "new.npz", "--json").stdout)
    assert accepted["event"] == "accepted"
    assert box.ended(run)["type"] == "COMPLETED", box.logs()
    assert json.loads((place / "manifest.json").read_text())["batches"] == [accepted["batch"]]


def test_a_drift_event_starts_a_run(box: Box):
    before = len(box.runs())
    event = {"event": "digits.drift", "resource": {"prefect.resource.id": "digits.model.digits-cnn"}, "payload": {}}
    now = datetime.now().astimezone().isoformat()
    identity = "00000000-0000-4000-8000-000000000001"
    told = [{**event, "occurred": now, "id": identity}]
    until(lambda: box.client.post(f"{box.url}/events", json=told).is_success, "the event is taken")
    until(lambda: len(box.runs()) > before, "a run that drift started")
    run = box.runs()[-1]
    assert run["parameters"]["reason"] == "drift"
    assert box.ended(run)["message"] == "nothing changed"


def test_rollback_from_the_server_restores_the_exact_earlier_version(box: Box):
    history = json.loads(box.workspace.digits("history", "--json").stdout)
    *_, earlier, in_use = [event["version"] for event in history if event["event"] == "promoted"]
    assert champion(box)["version"] == in_use
    state = box.ended(box.begin("rollback", reason="seven looks like one"))
    assert state["type"] == "COMPLETED", box.logs()
    assert champion(box)["version"] == earlier
    history = json.loads(box.workspace.digits("history", "--json").stdout)
    assert history[-1]["event"] == "rolled back" and history[-1]["reason"] == "seven looks like one"


def test_a_failed_run_is_told(box: Box):
    run = box.begin(dataset="folder")  # there is no such data in data/incoming
    assert box.ended(run)["type"] == "FAILED"
    alerts = box.workspace.folder / "reports/alerts.jsonl"
    until(lambda: alerts.is_file() and "failed" in alerts.read_text(), f"an alert\n{box.logs()}")


def test_a_killed_server_comes_back_with_its_runs(box: Box):
    before = len(box.runs())
    servers = [entry for entry in Path("/proc").glob("[0-9]*") if is_server(entry, box)]
    os.kill(int(servers[0].name), signal.SIGKILL)
    until(lambda: box.said("the server ended with 137: starting it again"), "another server")
    until(lambda: answers(box), "an answer")
    assert len(box.runs()) == before
    state = box.ended(box.begin("monitor"))  # the shortest of the runs that come one at a time
    assert state["message"] == "fewer than 100 images came in since the last look", box.logs()


def is_server(entry: Path, box: Box) -> bool:
    try:
        line = (entry / "cmdline").read_bytes()
        return SUPERVISOR not in line and b"flows.server\0" in line and str(box.port).encode() in line
    except OSError:
        return False


def answers(box: Box) -> bool:
    try:
        return box.client.get(f"{box.url}/health").is_success
    except httpx.HTTPError:
        return False


def test_the_password_is_in_no_command_line_and_in_no_file_but_its_own(box: Box):
    """After all of these runs: in no log, no lock, no registry, no worktree and no artifact."""
    own = box.workspace.folder / places.PREFECT_PASSWORD
    secret = own.read_text().strip().split(":")[1].encode()
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.is_file()]
    assert not any(secret in line for line in lines)
    files = [path for path in box.workspace.folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert [path for path in files if secret in path.read_bytes()] == [own]


def test_a_kill_takes_everything_along(box: Box):
    box.begin(reason="to be killed with everything")
    until(
        lambda: any("prefect.engine" in line or "flow_engine" in line for line in processes_of(box.workspace.folder)),
        "a run",
    )
    box.process.kill()
    box.process.wait()
    until(lambda: not processes_of(box.workspace.folder), "the end of every process")


def test_make_alone_is_told_to_stop_and_keeps_the_schedules(box: Box):
    """As a supervisor does it, and not a terminal: its SIGINT does not reach the recipe."""
    shutil.copy(ROOT / "Makefile", box.workspace.folder)
    # Whoever runs this in the background of a shell has it ignore SIGINT, and so would make.
    box.start("env", "--default-signal=INT", "make", "-o", "install", "schedule", f"PORT={box.port}")
    assert box.deployment()["schedules"] and box.deployment()["paused"] is True  # as a person left it
    assert box.runs() and not box.having("RUNNING")  # what was killed is marked as crashed
    box.process.send_signal(signal.SIGINT)
    box.process.wait(WAIT)
    assert box.said("schedule: stopping")
    assert not processes_of(box.workspace.folder)
