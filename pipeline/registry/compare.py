"""How do two registered versions differ? Side by side, from what each recorded when it was registered.

No model is asked about a held-out image. Each was measured on the test split once, by the evaluate stage, whose look
the gate counts (:mod:`pipeline.registry.ledger`), and which images it misread was written down then. Which of two
misread what follows from the two lists: it costs no look, and tells nothing that the two reports do not. So it is told
only of versions that were measured on the very same test images.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pipeline.base import files, places
from pipeline.base.errors import BadInput
from pipeline.learning import inference
from pipeline.registry import artifacts, contenders, history, measures, paired, versions
from pipeline.registry.records import Facts, Record

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

RISK = 0.05  # of an interval
MOST_BYTES = 50_000_000  # of a recorded table


class Misread(Record):
    """A test image that one of the two read right, and the other did not."""

    index: int
    """in the test split"""
    label: str
    answered: str
    """by the one that misread it"""
    confidence: float


class Answers(Record):
    """What the two read in the same test images."""

    images: int
    neither_right: int
    first_alone: tuple[Misread, ...]
    """those that the first alone reads right"""
    second_alone: tuple[Misread, ...]
    least_gain: float
    """of the second's accuracy over the first's, by an interval of 95 %: -1 to 1"""
    most_gain: float
    test_sha256: dict[str, str]


class Row(Record):
    """Something that both are known by; None of what one of them does not say."""

    name: str
    first: float | None
    second: float | None


class Param(Record):
    """A param that differs; None where one of them has none of that name."""

    name: str
    first: str | None
    second: str | None


class SideBySide(Record):
    """Two versions of a model."""

    model: str
    first: Facts
    second: Facts
    metrics: tuple[Row, ...]
    recall: tuple[Row, ...]
    """of each class"""
    size_mb: Row
    latency_ms: Row
    """of one image, measured in turns on this machine"""
    params: tuple[Param, ...]
    answers: Answers | None
    """None if they were not measured on the same test images"""

    @property
    def apart(self) -> str:
        """Why there are no answers to compare."""
        return (
            f"versions {self.first.version} and {self.second.version} were not measured on the same test images: their "
            "figures differ by that too"
        )


class _Recorded(NamedTuple):
    """What a version's run kept of its evaluation."""

    recall: dict[str, float]
    """by the classes' names"""
    misread: dict[int, dict[str, str]]
    """rows of mistakes.csv by the image's index"""
    test: dict[str, str]
    """the digests of the test split; empty where an earlier release recorded none"""


def side_by_side(client: MlflowClient, name: str, first: str, second: str) -> SideBySide:
    """Two versions of a model by their numbers or aliases.

    :class:`BadInput` if there is no such version, both are the same one, or one did not record its evaluation.
    """
    both = versions.version(client, name, first), versions.version(client, name, second)
    if both[0].version == both[1].version:
        raise BadInput(f"{first} and {second} are both version {both[0].version} of {name}: name two versions")
    facts = [history.describe(client, one) for one in both]
    recorded = [_recorded(client, one) for one in both]
    onnx = [artifacts.onnx_file(client, one) for one in both]
    size_mb = [path.stat().st_size / 1e6 for path in onnx]
    return SideBySide(
        model=name,
        first=facts[0],
        second=facts[1],
        metrics=_rows(*(_numbers(one.metrics) for one in facts)),
        recall=_rows(*(one.recall for one in recorded)),
        size_mb=Row(name="size in MB", first=size_mb[0], second=size_mb[1]),
        latency_ms=_latency(*onnx),
        params=_params(*(one.params for one in facts)),
        answers=_answers(recorded[0], recorded[1], facts[0].metrics["n_test"]),
    )


def _recorded(client: MlflowClient, version: ModelVersion) -> _Recorded:
    def path(name: str) -> Path:
        return artifacts.recorded(client, version, name, MOST_BYTES)

    def table(name: str) -> list[dict[str, str]]:
        with path(f"{places.RUN_EVALUATION}/{name}.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    recall = {row["digit"]: float(row["recall"]) for row in table("per_class")}
    misread = {int(row["index"]): row for row in table("mistakes")}
    manifest = files.read_json(path(f"{places.RUN_LINEAGE}/{places.MANIFEST.name}"))
    return _Recorded(recall, misread, manifest.get("digests", {}).get("test", {}))


def _numbers(metrics: dict[str, Any]) -> dict[str, float]:
    return {key: value for key, value in metrics.items() if isinstance(value, int | float)}


def _rows(first: dict[str, float], second: dict[str, float]) -> tuple[Row, ...]:
    return tuple(Row(name=name, first=first.get(name), second=second.get(name)) for name in _names(first, second))


def _params(first: dict[str, str], second: dict[str, str]) -> tuple[Param, ...]:
    found = (Param(name=name, first=first.get(name), second=second.get(name)) for name in _names(first, second))
    return tuple(sorted((one for one in found if one.first != one.second), key=lambda one: one.name))


def _names(first: Iterable[str], second: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*first, *second]))


def _latency(first: Path, second: Path) -> Row:
    """In turns if both take the same images, else one after the other."""
    forms = [inference.form_of(path) for path in (first, second)]
    images = [np.zeros((1, *form.shape), np.uint8) for form in forms]
    if forms[0].shape == forms[1].shape:
        found = contenders.latencies([first, second], images[0])
    else:
        found = [contenders.latencies([path], image)[0] for path, image in zip((first, second), images, strict=True)]
    return Row(name="latency in ms", first=found[0], second=found[1])


def _answers(first: _Recorded, second: _Recorded, images: int) -> Answers | None:
    """What the lists of what each misread come to; None unless both are known to be of the same images."""
    if not first.test or first.test != second.test:
        return None
    first_alone, second_alone = _alone(second, first), _alone(first, second)
    counts = len(first_alone), len(second_alone), images
    return Answers(
        images=images,
        neither_right=len(first.misread.keys() & second.misread.keys()),
        first_alone=first_alone,
        second_alone=second_alone,
        least_gain=-paired.most_lost(*counts, RISK / 2),
        most_gain=-paired.least_lost(*counts, RISK / 2),
        test_sha256=first.test,
    )


def _alone(wrong: _Recorded, right: _Recorded) -> tuple[Misread, ...]:
    """What one misread and the other did not, the surest mistake first."""
    rows = [row for index, row in wrong.misread.items() if index not in right.misread]
    return tuple(
        Misread(
            index=int(row["index"]), label=row["true"], answered=row["predicted"], confidence=float(row["confidence"])
        )
        for row in rows
    )


def lines(found: SideBySide) -> list[str]:
    """It all as lines for a terminal."""
    rows = [(measures.words(row.name), row.name, row) for row in (*found.metrics, found.size_mb, found.latency_ms)]
    rows += [(f"recall of {row.name}", "recall", row) for row in found.recall]
    lines = [
        f"{found.model}: version {found.first.version} beside version {found.second.version}",
        *(
            f"  {words:<32} {measures.text(measure, row.first):>10} {measures.text(measure, row.second):>10}"
            for words, measure, row in rows
        ),
        *(f"  {one.name}: {_value(one.first)}, then {_value(one.second)}" for one in found.params),
    ]
    return [*lines, *sentences(found)]


def sentences(found: SideBySide) -> list[str]:
    """What the two read in the same test images, in words."""
    answers, numbers = found.answers, (found.first.version, found.second.version)
    if answers is None:
        return [f"{found.apart}."]
    alone = [len(one) for one in (answers.first_alone, answers.second_alone)]
    said = [f"version {number} alone reads {count:,} right" for number, count in zip(numbers, alone, strict=True)]
    gain = f"{100 * answers.least_gain:+.2f} to {100 * answers.most_gain:+.2f} points"
    return [
        f"Of the same {answers.images:,} test images {said[0]} and {said[1]}; both misread {answers.neither_right:,}.",
        f"The accuracy of version {numbers[1]} differs from version {numbers[0]}'s by {gain}, by an interval of 95 %.",
        "This is what was recorded when they were registered: no look at the held-out images is spent, and nothing is "
        "decided by it.",
    ]


def _value(value: str | None) -> str:
    return "none" if value is None else value
