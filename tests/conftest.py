"""Fixtures that several rooms' tests share."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from filelock import FileLock
from hypothesis import settings
from sqlalchemy import Engine, event
from workspace import Workspace

# The same examples on every run, so that main is green or not by its code alone; no verdict on time.
settings.register_profile("here", deadline=None, derandomize=True)
settings.load_profile("here")

# What two workers begin with, so that neither waits for what the other makes: a file that has the demo made, and a long
# one that needs nothing of others; then the two longest.
FIRST = ("test_following.py", "test_fitting.py", "test_schedule.py", "test_lineage.py")
Once = Callable[[str, Callable[[Path], object]], Path]


@event.listens_for(Engine, "connect")
def _leave_writing_to_the_system(connection: Any, _record: object) -> None:
    """A registry of a test need not outlive a power cut: half of the time of its tests was waiting for the disk."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous=OFF")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        needs_a_system = {"demo", "service"} & set(getattr(item, "fixturenames", ()))
        if needs_a_system or Path(__file__).parent / "system" in item.path.parents:
            item.add_marker("system")
    items.sort(key=lambda item: FIRST.index(item.path.name) if item.path.name in FIRST else len(FIRST))


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """MLflow leaves the registry that was named last in the environment, and flows theirs: none is the next test's."""
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Has a folder filled once a session: by whichever of xdist's workers asks first, while the others wait for it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def filled(name: str, fill: Callable[[Path], object]) -> Path:
        place, mark = shared / name, shared / f"{name}.filled"
        with FileLock(shared / f"{name}.lock"):
            if not mark.exists():
                shutil.rmtree(place, ignore_errors=True)  # of a worker that failed
                place.mkdir()
                fill(place)
                mark.touch()
        return place

    return filled


@pytest.fixture(scope="session")
def new_workspace(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Workspace]:
    return lambda short=True: Workspace.new(tmp_path_factory.mktemp("workspace"), short)


@pytest.fixture(scope="session")
def demo(once: Once) -> Workspace:
    """A workspace in which `make demo` was typed: the embedded data set, the shipped params, a champion.

    Whoever wants to change it takes a copy.
    """
    return Workspace(
        once(
            "demo",
            lambda place: Workspace.new(place, short=False).digits("run", "--dataset", "digits", "--recipe", "fast"),
        )
    )


@pytest.fixture(scope="session")
def empty_registry(once: Once) -> Path:
    """An MLflow database with all its tables and nothing in them: its dozens of migrations take seconds."""

    def fill(place: Path) -> None:
        from mlflow import MlflowClient

        MlflowClient(f"sqlite:///{place}/mlflow.db").search_registered_models()

    return once("registry", fill) / "mlflow.db"
