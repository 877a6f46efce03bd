"""How far is a retraining? A bar on its page in Prefect: the stages done, and the epochs of the one that trains."""

import re
from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.exceptions import ObjectNotFound

EPOCH = re.compile(r"train: epoch +(\d+)/(\d+)")  # what the stage train says after each


class Progress:
    """The bar of the stages of these names, from 0 to 100."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.bar: UUID = create_progress_artifact(0.0, key="retraining", description=f"{names[0]} first")  # type: ignore[assignment]

    def begins(self, name: str) -> None:
        """The stage of that name is next."""
        self._show(self.names.index(name), f"at {name}, stage {self.names.index(name) + 1} of {len(self.names)}")

    def said(self, name: str, line: str) -> None:
        """The stage said that line; one that tells of an epoch moves the bar."""
        if epoch := EPOCH.match(line):
            done, of = map(int, epoch.groups())
            self._show(self.names.index(name) + done / of, f"at {name}, epoch {done} of {of}")

    def ended(self) -> None:
        self._show(len(self.names), f"all {len(self.names)} stages are done")

    def _show(self, stages: float, words: str) -> None:
        with suppress(httpx.HTTPError, ObjectNotFound):  # a server that starts again must not end a training
            update_progress_artifact(self.bar, 100 * stages / len(self.names), description=words)
