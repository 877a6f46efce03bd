"""The one-box form on a real Prefect server: schedules fire, runs exclude one another, kills leave nothing behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from workspace import Workspace

WAIT = 240.0  # seconds for anything to happen; nothing is asserted of how long it takes


def until(found: Callable[[], Any], what: str) -> Any:
    """Wait for a true answer and return it."""
    ends = time.monotonic() + WAIT
    while not (answer := found()):
        assert time.monotonic() < ends, f"{what}: it did not happen"
        time.sleep(0.2)
    return answer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Box:
    """`make schedule` in a workspace, and what its server answers."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace, self.port = workspace, free_port()
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-u", "-m", "flows.schedule", "--port", str(self.port), "--query-seconds", "1"]
        self.log = (self.workspace.folder / "schedule.log").open("a+")
        self.process = subprocess.Popen(
            command, cwd=self.workspace.folder, env=self.workspace.environment(), stdout=self.log, stderr=self.log
        )
        until(lambda: self.said("Ctrl-C stops") or self.process.poll() is not None, "start")
        assert self.process.poll() is None, self.logs()

    def said(self, words: str) -> bool:
        return words in (self.workspace.folder / "schedule.log").read_text()

    def logs(self) -> str:
        places = [self.workspace.folder / "schedule.log"]
        places += sorted((self.workspace.folder / ".cache/prefect/logs").glob("*.log"))
        return "\n".join(f"--- {path.name}\n{path.read_text()[-3000:]}" for path in places)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(WAIT)

    def post(self, path: str, **body: Any) -> Any:
        answer = httpx.post(f"{self.url}/{path}", json=body, timeout=30)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def runs(self, deployment: str = "retrain") -> list[dict[str, Any]]:
        """A deployment's runs that are due, oldest first."""
        found = self.post(
            "flow_runs/filter",
            deployments={"name": {"any_": [deployment]}},
            flow_runs={"state": {"type": {"not_any_": ["SCHEDULED"]}}},
            sort="EXPECTED_START_TIME_ASC",
        )
        return list(found)

    def having(self, state: str, message: str = "", deployment: str = "retrain") -> list[dict[str, Any]]:
        return [
            run
            for run in self.runs(deployment)
            if run["state"]["type"] == state and message in (run["state"]["message"] or "")
        ]

    def deployment(self, name: str = "retrain") -> dict[str, Any]:
        return dict(httpx.get(f"{self.url}/deployments/name/{name}/{name}", timeout=30).json())

    def begin(self, name: str = "retrain", **parameters: Any) -> dict[str, Any]:
        return dict(self.post(f"deployments/{self.deployment(name)['id']}/create_flow_run", parameters=parameters))

    def ended(self, run: dict[str, Any]) -> dict[str, Any]:
        """The state in which a run ends."""

        def state() -> dict[str, Any] | None:
            found = httpx.get(f"{self.url}/flow_runs/{run['id']}", timeout=30).json()["state"]
            return found if found["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None

        return dict(until(state, f"end of {run['name']}\n{self.logs()}"))


def processes_of(folder: Path) -> list[str]:
    """The command lines of the processes that work in the folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str((entry / "cwd").readlink()).startswith(str(folder)):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def worker_of(box: Box) -> int:
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes()
            if b"worker\0start" in line and str((entry / "cwd").readlink()) == str(box.workspace.folder):
                return int(entry.name)
        except OSError:
            continue
    raise AssertionError("there is no worker")


def set_schedule(workspace: Workspace, seconds: int | None) -> None:
    """Put the retraining on an interval of so many seconds, or on none; and commit, as a person would."""
    path = workspace.folder / "prefect.yaml"
    told = yaml.safe_load(path.read_text())
    schedules = [{"interval": seconds, "slug": "often", "parameters": {"reason": "schedule: often"}}] if seconds else []
    told["deployments"][0]["schedules"] = schedules
    path.write_text(yaml.safe_dump(told))
    author = ("-c", "user.name=t", "-c", "user.email=t@localhost")
    workspace.run("git", *author, "commit", "-qam", "schedule")


@pytest.fixture(scope="module")
def box(new_workspace: Callable[[], Workspace]) -> Iterator[Box]:
    workspace = new_workspace()
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
    cancelled = box.having("CANCELLED")
    assert cancelled  # those that were due while the first was at work
    assert champion(box)["version"] == "1"
    until(lambda: box.having("COMPLETED", "nothing changed"), "a run that finds nothing to do")
    stages = list(yaml.safe_load((box.workspace.folder / "dvc.yaml").read_text())["stages"])
    tasks = box.post("task_runs/filter", flow_runs={"id": {"any_": [first["id"]]}}, sort="EXPECTED_START_TIME_ASC")
    names = [task["name"].rsplit("-", 1)[0] for task in tasks]
    assert names == [*stages, "judge"]
    assert not (box.workspace.folder / "data/raw").exists()  # the checkout's own files are left alone
    assert box.workspace.run("git", "status", "--porcelain", "-uno").stdout == ""


def test_each_stage_s_output_is_in_its_task_s_log(box: Box):
    first = until(lambda: box.having("COMPLETED", "version 1"), "a completed run")[0]
    logs = box.post("logs/filter", logs={"flow_run_id": {"any_": [first["id"]]}}, limit=200)
    text = "\n".join(log["message"] for log in logs)
    assert "train: epoch  1/2" in text and "evaluate: test accuracy" in text
    artifacts = box.post("artifacts/filter", artifacts={"flow_run_id": {"any_": [first["id"]]}})
    assert "# Version 1: promoted" in artifacts[0]["data"]


def test_a_killed_worker_leaves_no_orphan_and_the_next_run_completes(box: Box):
    set_schedule(box.workspace, None)
    httpx.patch(f"{box.url}/deployments/{box.deployment()['id']}", json={"paused": True}, timeout=30)
    until(lambda: not box.having("RUNNING"), "quiet")
    box.workspace.edit("seed", "11")
    author = ("-c", "user.name=t", "-c", "user.email=t@localhost")
    box.workspace.run("git", *author, "commit", "-qam", "another seed")
    run = box.begin(reason="to be killed")
    training = lambda: any("pipeline.train" in line for line in processes_of(box.workspace.folder))  # noqa: E731
    until(training, f"training\n{box.logs()}")
    os.kill(worker_of(box), signal.SIGKILL)
    until(lambda: box.said("the worker ended with -9: starting it again"), "another worker")
    until(lambda: not training(), "the end of the orphan")
    assert box.ended(run)["type"] == "CRASHED"
    assert champion(box)["version"] == "1"
    assert box.ended(box.begin(reason="the next one"))["message"] == "version 2 promoted"
    assert champion(box)["version"] == "2"


def test_a_drift_event_starts_a_run(box: Box):
    before = len(box.runs())
    event = {"event": "digits.drift", "resource": {"prefect.resource.id": "digits.model.digits-cnn"}, "payload": {}}
    now = datetime.now().astimezone().isoformat()
    identity = "00000000-0000-4000-8000-000000000001"
    httpx.post(f"{box.url}/events", json=[{**event, "occurred": now, "id": identity}], timeout=30).raise_for_status()
    until(lambda: len(box.runs()) > before, "a run that drift started")
    run = box.runs()[-1]
    assert run["parameters"]["reason"] == "drift"
    assert box.ended(run)["message"] == "nothing changed"


def test_rollback_from_the_server_restores_the_exact_earlier_version(box: Box):
    assert champion(box)["version"] == "2"
    state = box.ended(box.begin("rollback", reason="seven looks like one"))
    assert state["type"] == "COMPLETED", box.logs()
    assert champion(box)["version"] == "1"
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
    until(lambda: box.said("the server ended with -9: starting it again"), "another server")
    until(lambda: answers(box), "an answer")
    assert len(box.runs()) == before
    assert box.ended(box.begin(reason="after the server's death"))["type"] == "COMPLETED"


def is_server(entry: Path, box: Box) -> bool:
    try:
        return (
            b"server\0start" in (entry / "cmdline").read_bytes()
            and str(box.port).encode() in (entry / "cmdline").read_bytes()
        )
    except OSError:
        return False


def answers(box: Box) -> bool:
    try:
        return httpx.get(f"{box.url}/health", timeout=2).is_success
    except httpx.HTTPError:
        return False


def test_ctrl_c_stops_everything_and_keeps_the_schedules(box: Box):
    before = len(box.runs())
    assert box.stop() == 0
    until(lambda: not processes_of(box.workspace.folder), "the end of every process")
    again(box)
    assert len(box.runs()) >= before
    httpx.patch(f"{box.url}/deployments/{box.deployment()['id']}", json={"paused": True}, timeout=30)
    assert box.stop() == 0
    again(box)
    assert box.deployment()["paused"] is True  # as a person left it
    assert box.stop() == 0


def again(box: Box) -> None:
    (box.workspace.folder / "schedule.log").write_text("")
    box.start()
