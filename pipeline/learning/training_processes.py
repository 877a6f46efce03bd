"""How are the processes of one training started, and started again when one of them dies?

A process that dies takes the others along, as they would wait for it for ever; all of them then go on from the
checkpoint of the last finished epoch. Here they run on this machine; see :mod:`pipeline.learning.on_dask`.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.base import places, processes

TRIES = 3  # in a row that came no further
LOOK_SECONDS, SAYS_SECONDS = 0.2, 20.0
SAID = (2, os.EX_TEMPFAIL)  # ended so, a process has said what is wrong, and would say it again


class Died(Exception):
    """A process ended otherwise than it should."""

    def __init__(self, number: int, code: int) -> None:
        super().__init__(number, code)
        self.number, self.code = number, code


def run(command: Sequence[str], count: int) -> None:
    """Run a command as so many processes that fit together, to their end. What the first one says is seen.

    SystemExit if it ended with a line of its own, RuntimeError if they die again and again.
    """
    until_done(lambda: _fit(command, count), count)


def until_done(attempt: Callable[[], None], count: int) -> None:
    """Try again for as long as a process :class:`Died` and the checkpoints come further."""
    places.CHECKPOINTS.mkdir(parents=True, exist_ok=True)
    tries = 0
    while tries < TRIES:
        before = _progress()
        try:
            return attempt()
        except Died as died:
            tries = tries + 1 if _progress() == before else 1
            told = f"process {died.number} of {count} ended with {died.code}"
            print(f"train: {told}: all go on from the last finished epoch", flush=True)
    raise RuntimeError(f"train: {TRIES} times a process died before another epoch was finished: see {log(1)}")


def _progress() -> list[tuple[str, int]]:
    """The checkpoints, and when each was written; without what a process was writing when it died."""
    return sorted((path.name, path.stat().st_mtime_ns) for path in places.CHECKPOINTS.glob("[!.]*.npz"))


def log(number: int) -> Path:
    return places.CHECKPOINTS / f"process-{number}.log"


def config(addresses: Sequence[str], number: int) -> str:
    """What tells one of the processes, at those addresses, which of them it is."""
    return json.dumps({"cluster": {"worker": list(addresses)}, "task": {"type": "worker", "index": number}})


def _fit(command: Sequence[str], count: int) -> None:
    """Run the processes on this machine. :class:`Died` if one did; then the others are killed."""
    addresses = [f"{places.LOOPBACK}:{port}" for port in _free_ports(count)]
    with contextlib.ExitStack() as stack:
        running = []
        for number in range(count):
            to = stack.enter_context(log(number).open("w")) if number else sys.stdout
            env = processes.environment(TF_CONFIG=config(addresses, number))
            running.append(stack.enter_context(processes.started(command, env=env, to=to)))
        _wait(running)


def _wait(running: Sequence["subprocess.Popen[str]"]) -> None:
    """Until all have ended, or one has :class:`Died`."""
    while True:
        codes = [process.poll() for process in running]
        for number, code in enumerate(codes):
            if code in SAID:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    running[0].wait(SAYS_SECONDS)  # the one that is heard says it too
                sys.exit(code)
            if code:
                raise Died(number, code)
        if None not in codes:
            return
        time.sleep(LOOK_SECONDS)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((places.LOOPBACK, 0))
        return [probe.getsockname()[1] for probe in probes]
