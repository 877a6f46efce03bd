"""How is another program run? Called for its output, or started as a process that ends with the one that started it.

A stage is a grandchild of who runs it: `dvc repro` starts a shell, the shell starts Python. When the starter is killed,
nothing tells them. So a small supervisor stands between, at the head of a process group of its own, and holds the end
of a pipe: the kernel closes the pipe when the starter dies, however it dies, and the supervisor then kills the group.
What asks the supervisor to stop (SIGINT, SIGTERM) it hands on to the command alone. Where the command ends, what it
started and left is ended.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO

SUPERVISOR = Path(__file__).resolve()
DVC_REPRO = SUPERVISOR.with_name("dvc_repro.py")


def environment(**more: str) -> dict[str, str]:
    """This process's, with ``more``, and with this Python's programs first on the path: stages and servers call
    `python` and others by name, whether or not the environment is activated."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path, **more}


class Failed(Exception):
    """A command ended with another code than 0; the message has what it said last, on one line."""

    def __init__(self, command: Sequence[str], code: int, said: str) -> None:
        words = " ".join(command).removeprefix(f"{sys.executable} -m ")[:80]
        super().__init__(f"`{words}` ended with {code}: {said or 'it said nothing'}")


def call(
    command: Sequence[str], cwd: Path | None = None, env: dict[str, str] | None = None, stdin: bytes | None = None
) -> str:
    """Run a command to its end: what it printed. :class:`Failed`, FileNotFoundError if there is no such program."""
    done = subprocess.run(command, cwd=cwd, env=env, input=stdin, capture_output=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout).decode(errors="replace")
        raise Failed(command, done.returncode, " ".join(said.split())[-300:])
    return done.stdout.decode(errors="replace")


def dvc(*arguments: str) -> list[str]:
    """The command that runs this environment's DVC."""
    return [sys.executable, "-m", "dvc", *arguments]


def dvc_repro(*options: str) -> list[str]:
    """The command that runs `dvc repro` and spares people DVC's advice."""
    return [sys.executable, "-P", str(DVC_REPRO), *options]


def supervised(command: Sequence[str]) -> list[str]:
    """The command that runs another one for as long as its own standard input, a pipe of the starter's, is open."""
    return [sys.executable, "-S", "-E", "-P", str(SUPERVISOR), *command]


@contextmanager
def started(
    command: Sequence[str],
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    to: IO[str] | IO[bytes] | None = None,
) -> Iterator["subprocess.Popen[str]"]:
    """Start a command with its output, and its errors among it, as lines in ``stdout``, or in the file ``to``; into
    this process's own stdout or stderr its output alone, and its errors are seen where this process's are.

    At the end of the block it is waited for; if the block is left by an error, the whole group is killed.
    """
    process = subprocess.Popen(
        supervised(command),
        cwd=cwd,
        env=env,
        stdin=subprocess.PIPE,
        stdout=to or subprocess.PIPE,
        stderr=None if to in (sys.stdout, sys.stderr) else subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        yield process
        process.wait()
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for stream in (process.stdin, process.stdout):
            if stream:
                stream.close()


def _supervise(command: Sequence[str]) -> int:
    """Run the command in this process group; its exit code, with 128 added to the number of a signal."""
    threading.Thread(target=_end_with_starter, daemon=True).start()
    running: list[subprocess.Popen[bytes]] = []
    asked: list[int] = []

    def hand_on(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        for process in running:
            process.send_signal(number)

    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, hand_on)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    running.append(process)
    for number in list(asked):  # while it was being started
        process.send_signal(number)
    code = process.wait()
    running.clear()
    os.killpg(os.getpgid(0), signal.SIGTERM)  # what it started goes on if it was killed itself, and would still write
    return 128 - code if code < 0 else code


def _end_with_starter() -> None:
    while os.read(0, 1024):  # nothing is ever sent: it waits for the end
        pass
    os.killpg(os.getpgid(0), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(_supervise(sys.argv[1:]))
