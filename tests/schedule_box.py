"""`make schedule` in a workspace, driven over its server's HTTP API."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import yaml
from ports import free_port
from waiting import WAIT, until
from workspace import Workspace

SUPERVISOR = b"processes.py\0"  # in the command line of the process that stands before another one
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class Box:
    """`make schedule` in a workspace, and what its server answers."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace, self.port = workspace, free_port()
        self.url = f"http://127.0.0.1:{self.port}/api"
        # A connection a request, as the server is killed and started again; a client a request would take 30 ms each.
        self.client = httpx.Client(timeout=WAIT, limits=httpx.Limits(max_keepalive_connections=0))
        self.start()

    def start(self, *command: str) -> None:
        """By the command of `make schedule`'s recipe, unless another one is given."""
        recipe = (sys.executable, "-u", "-m", "flows.schedule", "--port", str(self.port))
        self.log = (self.workspace.folder / "schedule.log").open("w")
        self.process = subprocess.Popen(
            command or recipe,
            cwd=self.workspace.folder,
            env=self.workspace.environment() | {"PREFECT_WORKER_QUERY_SECONDS": "1"},
            stdout=self.log,
            stderr=self.log,
        )
        until(lambda: self.said("Ctrl-C stops") or self.process.poll() is not None, "start")
        assert self.process.poll() is None, self.logs()
        self.log_in()

    def log_in(self) -> None:
        """As its flows do: with the password, and a token against forged requests, which holds for an hour."""
        name, password = (self.workspace.folder / ".cache/prefect/password").read_text().strip().split(":")
        self.client.auth = (name, password)
        told = until(lambda: self.client.get(f"{self.url}/csrf-token", params={"client": "tests"}), "a token")
        token = told.raise_for_status().json()["token"]
        self.client.headers.update({"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": "tests"})

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
        def accepted() -> httpx.Response | None:
            answer = self.client.post(f"{self.url}/{path}", json=body)
            if answer.status_code == 403:  # the token is too old
                self.log_in()
                return None
            return None if answer.status_code == 503 else answer  # its SQLite is busy: Prefect's own client asks again

        answer = until(accepted, f"an answer to {path}")
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

    def is_quiet(self) -> bool:
        """Whether no run is at work or about to begin: one that is pending has the place of the next already."""
        return all(run["state"]["type"] in ENDED for run in self.runs())

    def deployment(self, name: str = "retrain") -> dict[str, Any]:
        return dict(self.client.get(f"{self.url}/deployments/name/{name}/{name}").json())

    def pause(self, name: str = "retrain") -> None:
        url = f"{self.url}/deployments/{self.deployment(name)['id']}"
        until(lambda: self.client.patch(url, json={"paused": True}).is_success, "a pause")

    def begin(self, name: str = "retrain", **parameters: Any) -> dict[str, Any]:
        return dict(self.post(f"deployments/{self.deployment(name)['id']}/create_flow_run", parameters=parameters))

    def ended(self, run: dict[str, Any]) -> dict[str, Any]:
        """The state in which a run ends."""

        def state() -> dict[str, Any] | None:
            found = self.client.get(f"{self.url}/flow_runs/{run['id']}").json()["state"]
            return found if found["type"] in ENDED else None

        return dict(until(state, f"end of {run['name']}\n{self.logs()}"))


def processes_of(folder: Path) -> list[str]:
    """The names and command lines of the processes that work in the folder; a forked stage has its name alone."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str((entry / "cwd").readlink()).startswith(str(folder)):
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found.append(f"{(entry / 'comm').read_text().strip()} {line}")
        except OSError:
            continue
    return found


def worker_of(box: Box) -> int:
    """The worker's process id; 0 while there is none."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes()
            if (
                SUPERVISOR not in line
                and b"worker\0start" in line
                and str((entry / "cwd").readlink()) == str(box.workspace.folder)
            ):
                return int(entry.name)
        except OSError:
            continue
    return 0


def set_schedule(workspace: Workspace, seconds: int | None) -> None:
    """Put the retraining on an interval of so many seconds, or on none; and commit, as a person would."""
    path = workspace.folder / "prefect.yaml"
    told = yaml.safe_load(path.read_text())
    schedules = [{"interval": seconds, "slug": "often", "parameters": {"reason": "schedule: often"}}] if seconds else []
    told["deployments"][0]["schedules"] = schedules
    path.write_text(yaml.safe_dump(told))
    workspace.commit("schedule")
