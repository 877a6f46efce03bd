"""Is work in many pieces done once each and in order, wherever, whatever dies on the way?"""

import contextlib
import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dask_processes import started
from ports import free_port
from workspace import ROOT

from pipeline.base import cluster
from pipeline.base.errors import BadInput, TemporaryFault


def squared(number: int) -> tuple[int, int]:
    return number**2, os.getpid()


def here(number: int) -> str:
    return f"{number} in {Path.cwd()}"


def dies_once(number: int, marks: Path) -> int:
    if number == 3 and not (marks / "died").exists():
        (marks / "died").touch()
        os._exit(9)
    return number


def fails(number: int) -> int:
    if number == 2:
        raise BadInput("piece 2 is spoilt: mend it")
    return number


@contextlib.contextmanager
def elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch, *of_worker: str) -> Iterator[subprocess.Popen[bytes]]:
    """A scheduler with a worker, that the environment names, in a folder of their own."""
    address = f"tcp://127.0.0.1:{free_port()}"
    (folder / "elsewhere").mkdir()
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", address)
    with started(folder / "elsewhere") as start:
        process = start("scheduler", "--port", address.rsplit(":", 1)[1])
        start("worker", address, *of_worker)
        yield process


@pytest.fixture
def scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    with elsewhere(tmp_path, monkeypatch, "--nthreads", "1") as process:
        yield process


def test_few_pieces_stay_in_this_process():
    assert cluster.each(squared, range(cluster.FEW), "few") == [(n**2, os.getpid()) for n in range(cluster.FEW)]


def test_many_go_to_processes_and_come_back_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found = cluster.each(squared, range(10), "many")
    assert [square for square, _ in found] == [n**2 for n in range(10)]
    assert os.getpid() not in {process for _, process in found}


def test_a_worker_that_dies_is_replaced_and_its_piece_done_again(tmp_path: Path):
    assert cluster.each(functools.partial(dies_once, marks=tmp_path), range(8), "dying") == list(range(8))
    assert (tmp_path / "died").exists()


def test_what_is_wrong_with_a_piece_is_said():
    with pytest.raises(BadInput, match=r"^piece 2 is spoilt: mend it$"):
        cluster.each(fails, range(8), "spoilt")


def test_a_scheduler_by_its_address_works_in_this_folder(
    scheduler: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert cluster.each(here, range(2), "there") == [f"{n} in {tmp_path}" for n in range(2)]
    with monkeypatch.context() as patched:
        patched.setattr(cluster, "code", lambda: "another")
        with pytest.raises(BadInput, match="runs another version of the pipeline than this machine: bring both"):
            cluster.each(here, range(2), "other code")


def test_the_scheduler_is_the_environment_s_then_that_of_dask_s_configuration(tmp_path: Path):
    (tmp_path / "ours.yaml").write_text("scheduler-address: tcp://configured:8786\n")
    kept = {key: value for key, value in os.environ.items() if not key.startswith("DASK_")}
    for more, expected in [
        ({}, "None"),
        ({"DASK_CONFIG": str(tmp_path)}, "tcp://configured:8786"),
        ({"DASK_CONFIG": str(tmp_path), "DASK_SCHEDULER_ADDRESS": "tcp://named:1"}, "tcp://named:1"),
        ({"DASK_SCHEDULER_ADDRESS": ""}, "None"),
    ]:
        command = [sys.executable, "-c", "from pipeline.base import cluster; print(cluster.scheduler())"]
        env = kept | {"PYTHONPATH": str(ROOT)} | more
        assert subprocess.run(command, env=env, capture_output=True, text=True).stdout.strip() == expected


def ends_the_scheduler(number: int, process: int) -> int:
    if number == 1:
        os.kill(process, 9)
    return number


def test_a_scheduler_that_goes_away_can_be_tried_again(scheduler: subprocess.Popen[bytes]):
    with pytest.raises(TemporaryFault, match=r"^ending: the Dask scheduler tcp.* went away .*: start it, then"):
        cluster.each(functools.partial(ends_the_scheduler, process=scheduler.pid), range(3), "ending")


def test_a_worker_of_several_threads_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with (
        elsewhere(tmp_path, monkeypatch, "--nthreads", "2"),
        pytest.raises(BadInput, match=r"has 2 threads: start it with --nthreads 1, and more of them"),
    ):
        cluster.each(here, range(2), "threads")


def dies(number: int) -> int:
    os._exit(9)


def test_a_piece_that_kills_its_workers_is_named(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(BadInput, match=r"^dying: shard \d of 4 killed every worker that tried it, the last one t.*log"):
        cluster.each(dies, range(4), "dying")


def test_nobody_is_asked_to_do_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://127.0.0.1:1")
    assert cluster.each(squared, [], "nothing") == []


def test_without_workers_nobody_waits_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with elsewhere(tmp_path, monkeypatch, "--nthreads", "1", "--no-nanny"):
        monkeypatch.setattr(cluster, "SCHEDULER_SECONDS", 5)
        with pytest.raises(TemporaryFault, match="dying: no worker is left on the Dask cluster"):
            cluster.each(dies, range(2), "dying")
