import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from workspace import ROOT

from pipeline.base import processes


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


# A shell whose child writes its number down and sleeps: the grandchild that nobody would tell.
GRANDCHILD = "sh -c 'echo $$ > {0}; sleep 100' & wait"


def test_its_lines_and_its_exit_code_come_through():
    with processes.started(["sh", "-c", "echo out; echo err >&2; exit 7"]) as process:
        assert process.stdout and process.stdout.read().splitlines() == ["out", "err"]
    assert process.returncode == 7


def test_a_signal_is_128_and_its_number():
    with processes.started(["sh", "-c", "kill -9 $$"]) as process:
        pass
    assert process.returncode == 128 + 9


def test_what_a_command_that_was_killed_had_started_ends_too(tmp_path: Path):
    pid = tmp_path / "pid"
    with processes.started(["sh", "-c", f"sh -c 'echo $$ > {pid}; exec sleep 100' & wait"]) as process:
        until(lambda: pid.is_file() and bool(pid.read_text()))
        listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(listed[0]), signal.SIGKILL)  # as a machine out of memory kills DVC, and not its stage
    assert process.returncode == 128 + 9
    until(lambda: not alive(int(pid.read_text())))


def test_an_error_in_the_block_ends_the_whole_group(tmp_path: Path):
    pid = tmp_path / "pid"
    with pytest.raises(ZeroDivisionError), processes.started(["sh", "-c", GRANDCHILD.format(pid)]):
        until(lambda: pid.is_file() and bool(pid.read_text()))
        raise ZeroDivisionError
    until(lambda: not alive(int(pid.read_text())))


def test_the_whole_group_ends_with_a_starter_that_is_killed(tmp_path: Path):
    pid = tmp_path / "pid"
    code = f"""
import time
from pipeline.base import processes
with processes.started(["sh", "-c", {GRANDCHILD.format(pid)!r}]):
    time.sleep(100)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    starter = subprocess.Popen([sys.executable, "-c", code], env=environment)
    until(lambda: pid.is_file() and bool(pid.read_text()))
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    until(lambda: not alive(int(pid.read_text())))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_asks_it_to_stop_is_handed_on_to_the_command_alone(tmp_path: Path, number: int):
    ready, asked = tmp_path / "ready", "import signal, sys, pathlib; signal.signal({0}, lambda *_: sys.exit(7)); "
    wait = f"pathlib.Path({str(ready)!r}).touch(); signal.pause()"
    with processes.started([sys.executable, "-c", asked.format(int(number)) + wait]) as process:
        until(ready.exists)
        process.send_signal(number)
    assert process.returncode == 7
