"""The bar of a retraining on its page in Prefect."""

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from flows import progress
from flows.progress import Progress

NAMES = ("ingest", "train", "register", "report")


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, str]]:
    """What the bar showed, as Prefect was told."""
    found: list[tuple[float, str]] = []

    def update(_bar: UUID, share: float, description: str) -> None:
        found.append((share, description))

    monkeypatch.setattr(progress, "create_progress_artifact", lambda *_, **__: uuid4())
    monkeypatch.setattr(progress, "update_progress_artifact", update)
    return found


def test_the_bar_goes_on_with_each_stage_and_each_epoch(shown: list[tuple[float, str]]):
    bar = Progress(NAMES)
    bar.begins("train")
    bar.said("train", "train: epoch  3/6  loss 1.3\n")
    bar.said("train", "train: something else\n")
    bar.ended()
    assert shown == [
        (25.0, "at train, stage 2 of 4"),
        (37.5, "at train, epoch 3 of 6"),
        (100.0, "all 4 stages are done"),
    ]


def test_a_server_that_does_not_answer_ends_no_training(monkeypatch: pytest.MonkeyPatch, shown: list[Any]):
    def fail(*_: Any, **__: Any) -> None:
        raise httpx.ConnectError("All connection attempts failed")

    bar = Progress(NAMES)
    monkeypatch.setattr(progress, "update_progress_artifact", fail)
    bar.said("train", "train: epoch  3/6  loss 1.3\n")
