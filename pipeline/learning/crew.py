"""How are the processes of one training started, and started again when one of them dies?

A process that dies takes the others along, as they would wait for it for ever; all of them then go on from the
checkpoint of the last finished epoch.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.base import places, processes

TRIES = 3  # in a row that came no further
LOOK_SECONDS, SAYS_SECONDS = 0.2, 20.0
SAID = (2, os.EX_TEMPFAIL)  # ended so, a process has said what is wrong, and would say it again


def run(command: Sequence[str], count: int) -> None:
    """Run a command as so many processes that fit together, to their end. What the first one says is seen.

    SystemExit if it ended with a line of its own, RuntimeError if they die again and again.
    """
    tries = 0
    while tries < TRIES:
        before = _progress()
        with _started(command, count) as crew:
            number, code = _ended(crew)
            if code in SAID:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    crew[0].wait(SAYS_SECONDS)  # the one that is heard says it too
                sys.exit(code)
        if not code:
            return
        tries = tries + 1 if _progress() == before else 1
        print(f"train: process {number} of {count} ended with {code}: all go on from the last finished epoch")
    raise RuntimeError(f"train: {TRIES} times a process died before another epoch was finished: see {_log(1)}")


def _progress() -> list[tuple[str, int]]:
    """The checkpoints, and when each was written."""
    return sorted((path.name, path.stat().st_mtime_ns) for path in places.CHECKPOINTS.glob("*.npz"))


def _log(number: int) -> Path:
    return places.CHECKPOINTS / f"process-{number}.log"


@contextlib.contextmanager
def _started(command: Sequence[str], count: int) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """The processes; whatever of them is left at the end of the block is killed."""
    addresses = [f"{places.LOOPBACK}:{port}" for port in _free_ports(count)]
    crew: list[subprocess.Popen[bytes]] = []
    places.CHECKPOINTS.mkdir(parents=True, exist_ok=True)
    try:
        for number in range(count):
            config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": number}}
            with _log(number).open("wb") if number else contextlib.nullcontext() as log:
                crew.append(
                    subprocess.Popen(
                        processes.supervised(command),
                        stdin=subprocess.PIPE,  # its end is the sign that this process is gone
                        stdout=log,
                        stderr=log,
                        env=processes.environment(TF_CONFIG=json.dumps(config)),
                        start_new_session=True,
                    )
                )
        yield crew
    finally:
        for process in crew:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdin:
                process.stdin.close()


def _ended(crew: Sequence["subprocess.Popen[bytes]"]) -> tuple[int, int]:
    """The first of the processes that failed, and its exit code; (0, 0) once all have ended well."""
    while True:
        codes = [process.poll() for process in crew]
        failed = [(number, code) for number, code in enumerate(codes) if code]
        if failed or None not in codes:
            return failed[0] if failed else (0, 0)
        time.sleep(LOOK_SECONDS)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((places.LOOPBACK, 0))
        return [probe.getsockname()[1] for probe in probes]
