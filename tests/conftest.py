"""Fixtures that several rooms' tests share."""

from collections.abc import Callable

import pytest
from hypothesis import settings
from workspace import Workspace

# The same examples on every run, so that main is green or not by its code alone; no verdict on time.
settings.register_profile("here", deadline=None, derandomize=True)
settings.load_profile("here")


@pytest.fixture(scope="session")
def new_workspace(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Workspace]:
    return lambda short=True: Workspace(tmp_path_factory.mktemp("workspace"), short)


@pytest.fixture(scope="session")
def demo(new_workspace: Callable[..., Workspace]) -> Workspace:
    """A workspace in which `make demo` was typed: the embedded data set, the shipped params, a champion."""
    workspace = new_workspace(short=False)
    workspace.digits("run", "--dataset", "digits", "--recipe", "fast")
    return workspace


@pytest.fixture(scope="session")
def trained(new_workspace: Callable[..., Workspace]) -> Workspace:
    """A workspace in which `digits run` was typed once, never interrupted."""
    workspace = new_workspace()
    workspace.digits("run")
    return workspace
