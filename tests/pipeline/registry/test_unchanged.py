"""Is a decision to leave everything as it is remembered just as long as it would be taken again?"""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from workspace import ROOT

from pipeline.base import params as params_file
from pipeline.base import places
from pipeline.base.params import Params
from pipeline.registry import unchanged
from pipeline.registry.records import Event

NAME = "digits-cnn"
PARAMS = params_file.load(ROOT / "params.yaml")
UNCHANGED = Event(event="unchanged", version="2", reason="version 2 was judged before")
FILES = (places.DVC_LOCK, places.REGISTRATION)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    with sqlite3.connect("mlflow.db") as database:
        database.execute("CREATE TABLE aliases (name TEXT)")
    for path in FILES:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("as it was")
    return tmp_path


def remember(decision: Event = UNCHANGED) -> None:
    unchanged.keep(NAME, unchanged.origin(PARAMS), decision, "2")


def remembered(name: str = NAME, params: Params = PARAMS) -> unchanged.Unchanged | None:
    return unchanged.read(name, unchanged.origin(params))


def change_registry() -> None:
    with sqlite3.connect("mlflow.db") as database:
        database.execute("INSERT INTO aliases VALUES ('champion')")


def test_nothing_is_remembered_at_first(workspace: Path):
    assert remembered() is None


def test_a_decision_that_changed_nothing_is_remembered_of_its_model(workspace: Path):
    remember()
    known = remembered()
    assert known and known.decision == UNCHANGED and known.reported == "2"
    assert known.decision.as_json() == UNCHANGED.as_json()
    assert remembered("mnist-cnn") is None


@pytest.mark.parametrize("path", FILES)
def test_not_after_a_file_that_it_came_from_is_another_or_gone(workspace: Path, path: Path):
    remember()
    path.write_text("changed")
    assert remembered() is None
    path.unlink()
    assert remembered() is None
    remember()
    assert remembered() is None


def test_not_with_other_params_than_it_was_taken_by(workspace: Path):
    remember()
    stricter = PARAMS.gate.model_copy(update={"min_accuracy": 0.999})
    assert remembered(params=PARAMS.model_copy(update={"gate": stricter})) is None


@pytest.mark.parametrize("change", [change_registry, lambda: places.DVC_LOCK.write_text("another run's")])
def test_not_after_what_it_came_from_changed_while_it_was_taken(workspace: Path, change: Callable[[], object]):
    before = unchanged.origin(PARAMS)
    change()
    unchanged.keep(NAME, before, UNCHANGED, "2")
    assert remembered() is None


@pytest.mark.parametrize("event", ["promoted", "refused", "kept", "waits"])
def test_a_decision_that_changed_something_is_not_remembered(workspace: Path, event: str):
    remember(Event(event=event, version="2"))
    assert remembered() is None


def test_a_registry_that_is_no_file_is_asked_each_time(workspace: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    remember()
    assert remembered() is None


def test_another_registry_s_file_is_another_s(workspace: Path, monkeypatch: pytest.MonkeyPatch):
    remember()
    shutil.copy2("mlflow.db", "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace}/other.db")
    assert remembered() is None


def test_what_is_remembered_and_not_whole_counts_as_nothing(workspace: Path):
    remember()
    (kept,) = places.UNCHANGED.iterdir()
    kept.write_text(kept.read_text()[:-20])
    assert remembered() is None
