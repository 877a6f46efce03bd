"""Is a decision to leave everything as it is remembered just as long as it would be taken again?"""

import sqlite3
from pathlib import Path

import pytest

from pipeline.base import places
from pipeline.registry import settled, snapshot
from pipeline.registry.records import Event

NAME = "digits-cnn"
UNCHANGED = Event(event="unchanged", version="2", reason="version 2 was judged before")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    with sqlite3.connect("mlflow.db") as database:
        database.execute("CREATE TABLE aliases (name TEXT)")
    for path in (places.PARAMS, places.DVC_LOCK, places.REGISTRATION):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("as it was")
    return tmp_path


def test_nothing_is_remembered_at_first(workspace: Path):
    assert settled.read(NAME) is None


def test_a_decision_that_changed_nothing_is_remembered_of_its_model(workspace: Path):
    settled.keep(NAME, snapshot.state(), UNCHANGED, "2")
    known = settled.read(NAME)
    assert known and known.decision == UNCHANGED and known.reported == "2"
    assert settled.read("mnist-cnn") is None


@pytest.mark.parametrize("path", [places.PARAMS, places.DVC_LOCK, places.REGISTRATION])
def test_not_after_a_file_that_it_came_from_is_another_or_gone(workspace: Path, path: Path):
    settled.keep(NAME, snapshot.state(), UNCHANGED, "2")
    path.write_text("changed")
    assert settled.read(NAME) is None
    path.unlink()
    assert settled.read(NAME) is None


def test_not_after_the_registry_changed_in_between_too(workspace: Path):
    before = snapshot.state()
    with sqlite3.connect("mlflow.db") as database:
        database.execute("INSERT INTO aliases VALUES ('champion')")
    settled.keep(NAME, before, UNCHANGED, "2")
    assert settled.read(NAME) is None


@pytest.mark.parametrize("event", ["promoted", "refused", "kept", "waits"])
def test_a_decision_that_changed_something_is_not_remembered(workspace: Path, event: str):
    settled.keep(NAME, snapshot.state(), Event(event=event, version="2"), "2")
    assert settled.read(NAME) is None


def test_a_registry_that_is_no_file_is_asked_each_time(workspace: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    settled.keep(NAME, snapshot.state(), UNCHANGED, "2")
    assert settled.read(NAME) is None


def test_what_is_remembered_and_not_whole_counts_as_nothing(workspace: Path):
    settled.keep(NAME, snapshot.state(), UNCHANGED, "2")
    (kept,) = places.SETTLED.iterdir()
    kept.write_text(kept.read_text()[:-20])
    assert settled.read(NAME) is None
