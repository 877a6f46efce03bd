"""The one-box form: server, worker and schedules in one command, until Ctrl-C.

Prefect's server keeps its SQLite in .cache/prefect, so that schedules and runs are there again at the next start; a
changed prefect.yaml is deployed then. A worker that dies is started again, and the runs that died with it are marked as
crashed, so that their place is free. The server wants a password, which the link that is printed has (flows/server.py);
server and worker end with this process, however it ends.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

from filelock import FileLock, Timeout

from flows import password, server
from pipeline.base import files, params, places, processes
from pipeline.base.errors import BadInput, one_line

PORT = 4200
POOL = "digits"
READY_SECONDS = 120.0
PORT_SECONDS = 10.0  # until the server of one that was killed has let its port go
PATIENCE = 30.0  # seconds for a process to end by itself before it is killed
LOOK_SECONDS = 1  # between two looks of the worker for a run that is due; Prefect's own is 10


def environment(top: Path, port: int) -> dict[str, str]:
    """What server, worker and flows run with: this checkout, this server, its state kept in the checkout."""
    state, auth = top / places.PREFECT, password.kept(top)
    settings = {
        "DIGITS_HOME": str(top),
        "PREFECT_HOME": str(state),
        "PREFECT_API_URL": f"http://{places.LOOPBACK}:{port}/api",
        "PREFECT_API_AUTH_STRING": auth,  # not an argument, which every user of the machine could read
        server.AUTH: auth,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": str(LOOK_SECONDS),
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        # In memory, the default, a restart of the server would leave the place of a run taken for ever.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "DO_NOT_TRACK": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(top), os.environ.get("PYTHONPATH", "")])),
    }
    return processes.environment(**settings)


class Box:
    """The server and the worker of one checkout."""

    def __init__(self, top: Path, port: int) -> None:
        self.top, self.port = top, port
        self.environment = environment(top, port)
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.stopping = threading.Event()

    def start(self) -> None:
        """Server, deployments and worker, each ready before the next; then the address where events are told."""
        self._start_server()
        self._call("work-pool", "create", POOL, "--type", "process", "--overwrite")
        self._deploy()
        self.bury_the_dead()
        self._start_worker()
        files.write_text(self.top / places.PREFECT_ADDRESS, self.environment["PREFECT_API_URL"] + "\n")

    def _start_server(self) -> None:
        self._launch("server", "-m", "flows.server", "--port", str(self.port))
        self._wait_for_server()

    def _start_worker(self) -> None:
        name = f"{socket.gethostname()}-box"
        self._launch("worker", "-m", "prefect", "worker", "start", "--pool", POOL, "--name", name)

    def _deploy(self) -> None:
        """Deploy prefect.yaml if it changed: what a person paused or changed in Prefect's pages stays otherwise."""
        digest, mark = (
            f"{files.sha256_file(self.top / places.PREFECT_YAML)} {self.top}",
            self.top / places.PREFECT_DEPLOYED,
        )
        if not mark.is_file() or mark.read_text() != digest:
            self._call("--no-prompt", "deploy", "--all")
            files.write_text(mark, digest)

    def watch(self) -> None:
        """Until told to stop: start a server or worker that died again."""
        while not self.stopping.wait(1):
            dead = [name for name, process in self.running.items() if process.poll() is not None]
            for name in sorted(dead):  # the server first
                print(f"schedule: the {name} ended with {self.running[name].returncode}: starting it again", flush=True)
                _kill(self.running[name])  # what its supervisor, killed alone, left running
                if name == "server":
                    self._start_server()
                    continue
                try:
                    self.bury_the_dead()
                except BadInput as error:  # the server is about to end too: it is looked at again in a second
                    print(f"schedule: {error}", flush=True)
                    break
                self._start_worker()

    def stop(self) -> None:
        """The worker first, so that its runs can say goodbye to the server."""
        for path in (places.PREFECT_ADDRESS, places.PREFECT_RUNNING):
            (self.top / path).unlink(missing_ok=True)
        for name in ("worker", "server"):
            process = self.running.pop(name, None)
            if process is None or process.poll() is not None:
                continue
            process.send_signal(signal.SIGINT)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                _kill(process)
            if process.stdin:
                process.stdin.close()

    def bury_the_dead(self) -> None:
        """Mark as crashed what the server believes to be running, if the workspace is free: nobody runs it."""
        try:
            with FileLock(self.top / places.RETRAIN_LOCK, timeout=PATIENCE):
                self._python("from flows.schedule import mark_crashed; mark_crashed()")
        except Timeout:
            print("schedule: a retraining of an earlier worker is still at work", flush=True)

    def _wait_for_server(self) -> None:
        import httpx

        waited, log = 0.0, self.top / places.PREFECT_LOGS / "server.log"
        while waited < READY_SECONDS and not self.stopping.wait(0.5):
            waited += 0.5
            if self.running["server"].poll() is not None:
                raise BadInput(f"Prefect's server ended at its start: see {log}")
            try:
                if httpx.get(f"{self.environment['PREFECT_API_URL']}/health", timeout=2).is_success:
                    return
            except httpx.HTTPError:
                continue
        if self.stopping.is_set():
            raise KeyboardInterrupt
        raise BadInput(f"Prefect's server was not ready after {READY_SECONDS:g} s: see {log}")

    def _launch(self, name: str, *arguments: str) -> None:
        """Start a Python program that ends with this process."""
        log = self.top / places.PREFECT_LOGS / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            self.running[name] = subprocess.Popen(
                processes.supervised([sys.executable, *arguments]),
                cwd=self.top,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=file,
                start_new_session=True,  # Ctrl-C reaches this process alone, which then stops them in order
            )

    def _call(self, *arguments: str) -> None:
        self._python_command("-m", "prefect", *arguments)

    def _python(self, code: str) -> None:
        self._python_command("-c", code)

    def _python_command(self, *arguments: str) -> None:
        try:
            processes.call([sys.executable, *arguments], cwd=self.top, env=self.environment)
        except processes.Failed as error:
            raise BadInput(str(error)) from None


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a supervisor and all of its process group that is left."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def mark_crashed() -> None:
    """Move every run that the server holds for running or pending to crashed; its concurrency slot is then free."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    alive = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING]))
    )
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=alive):
            client.set_flow_run_state(run.id, Crashed(message="its worker died"), force=True)


def _wait_for(port: int) -> None:
    """:class:`BadInput` unless the port is free, or becomes so as the server of one that was killed ends."""
    ends = time.monotonic() + PORT_SECONDS
    while not _free(port):
        if time.monotonic() > ends:
            raise BadInput(f"port {port} is taken by another program: stop it or give --port")
        time.sleep(0.2)


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((places.LOOPBACK, port))
        except OSError:
            return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(prog="make schedule", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--port", type=int, default=PORT, help=f"of Prefect's server ({PORT} unless given)")
    parser.add_argument("--of-make", action="store_true", help="end when the `make` that started this does")
    arguments = parser.parse_args()
    params.load()
    top = places.checkout()
    files.private_folder(top / places.PREFECT)
    try:
        with FileLock(top / places.PREFECT_LOCK, timeout=1):  # one that looks whether it is held lets it go at once
            _wait_for(arguments.port)
            _keep_up(Box(top, arguments.port), arguments.of_make)
    except Timeout:
        raise BadInput(f"another `make schedule` serves {top}: stop it first") from None


def _keep_up(box: Box, of_make: bool) -> None:
    """Start the box and watch over it until Ctrl-C, then stop it."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        box.stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    if of_make:
        files.write_text(box.top / places.PREFECT_RUNNING, f"{os.getpid()}\n")
        threading.Thread(target=_end_with_make, args=[box, os.getppid()], daemon=True).start()
    try:
        print("schedule: starting Prefect's server and a worker", flush=True)
        box.start()
        print(f"schedule: {_where(box)} shows the runs; Ctrl-C stops, schedules are kept", flush=True)
        box.watch()
    finally:
        print("schedule: stopping", flush=True)
        box.stop()


def _where(box: Box) -> str:
    """The link to Prefect's pages; its password is for the person at the terminal, and not for a log."""
    address = server.own_addresses(box.port)[0]
    if sys.stdout.isatty():
        return server.link(address, box.environment[server.AUTH])
    return f"{address} (its password is in {places.PREFECT_PASSWORD})"


def _end_with_make(box: Box, make: int) -> None:
    """Stop the box when `make` was told to end. A supervisor's SIGINT reaches `make` alone, which then removes what
    its recipe was to make ("Interrupting make" in its manual) and waits; on SIGKILL it is just gone."""
    while not box.stopping.wait(0.5):
        if not (box.top / places.PREFECT_RUNNING).exists() or os.getppid() != make:
            box.stopping.set()


if __name__ == "__main__":
    with one_line():
        main()
