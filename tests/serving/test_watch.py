"""When is the registry asked which versions are in use?"""

import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.base import places
from serving import watch


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(watch, "FILE_SECONDS", 0.001)
    written(tmp_path / places.DATABASE, "create table a (b)")
    return tmp_path / places.DATABASE


def written(database: Path, statement: str) -> None:
    with closing(sqlite3.connect(database)) as file:
        file.execute(statement)
        file.commit()


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_a_file_is_asked_when_another_process_has_written_to_it(
    database: Path, journal: str, monkeypatch: pytest.MonkeyPatch
):
    looks = 0

    def sleep(seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 5:
            written(database, "insert into a values (1)")

    written(database, f"pragma journal_mode = {journal}")
    monkeypatch.setattr(watch, "time", SimpleNamespace(sleep=sleep, monotonic=lambda: 1.0))
    changes = watch._changes()
    next(changes)
    next(changes)
    assert looks == 5


def test_a_file_that_does_not_change_is_asked_now_and_then(database: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(watch, "ASK_SECONDS", 0.01)
    changes = watch._changes()
    for _ in range(3):
        next(changes)


def test_a_file_that_is_locked_is_left_to_the_question(database: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(watch, "ASK_SECONDS", 1e9)
    changes = watch._changes()
    next(changes)
    with closing(sqlite3.connect(database, isolation_level=None)) as holder:
        holder.execute("begin exclusive")
        next(changes)


def test_a_file_that_cannot_be_opened_is_asked_for_each_second_until_it_can(
    database: Path, monkeypatch: pytest.MonkeyPatch
):
    database.rename(database.with_suffix(".away"))
    slept: list[float] = []
    monkeypatch.setattr(watch, "time", SimpleNamespace(sleep=slept.append, monotonic=lambda: 1.0))
    changes = watch._changes()
    for _ in range(3):
        next(changes)
    assert slept == [watch.POLL_SECONDS] * 2
    database.with_suffix(".away").rename(database)
    next(changes)
    assert slept == [watch.POLL_SECONDS] * 3


def test_another_registry_is_asked_each_second(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    slept: list[float] = []
    monkeypatch.setattr(watch, "time", SimpleNamespace(sleep=slept.append))
    changes = watch._changes()
    for _ in range(3):
        next(changes)
    assert slept == [watch.POLL_SECONDS] * 2
