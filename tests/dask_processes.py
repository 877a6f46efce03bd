"""A Dask scheduler and workers, as a person starts them on machines of their own."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from distributed import Client

Start = Callable[..., subprocess.Popen[bytes]]


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Start]:
    """Starts a ``scheduler`` or ``worker`` with arguments in that folder, with this process's modules to import;
    all of them end with the block."""
    running: list[subprocess.Popen[bytes]] = []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("DASK_SCHEDULER_ADDRESS", None)

    def start(kind: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--host", "127.0.0.1", *arguments]
        with (folder / f"{kind}-{len(running)}.log").open("w") as log:
            running.append(
                subprocess.Popen([*command, "--no-dashboard"], cwd=folder, stderr=log, stdout=log, env=environment)
            )
        return running[-1]

    try:
        yield start
    finally:
        for process in running:
            process.kill()
            process.wait()


def answers(address: str) -> bool:
    with contextlib.suppress(OSError), Client(address, timeout=1):
        return True
    return False
