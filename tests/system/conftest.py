"""Fixtures of the whole runs' tests."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
from workspace import Workspace

import cli


class Typed(NamedTuple):
    stdout: str
    stderr: str


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Typed]:
    """Types `digits` in a workspace, but in this process: one of its own imports for three seconds."""

    def typed(workspace: Workspace, *arguments: str, code: int = 0) -> Typed:
        ended: object = 0
        with monkeypatch.context() as patch:
            patch.chdir(workspace.folder)
            patch.delenv("MLFLOW_TRACKING_URI", raising=False)
            patch.setenv("PYTHONPATH", str(workspace.folder))  # for the stages, which are processes of their own
            try:
                cli.main(list(arguments))
            except SystemExit as end:
                ended = end.code
        said = Typed(*capfd.readouterr())
        assert ended == code, said.stderr
        return said

    return typed
