"""What do the pages ask of the registry? Answered in a process of its own (:mod:`serving.archive`): MLflow takes
seconds to import, and a registry or its store may be slow, of which no prediction is to feel anything.

What comes back are plain facts; what goes wrong is a :class:`BadInput` or :class:`TemporaryFault` of one line.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.base import form, places
from pipeline.base.errors import BadInput, TemporaryFault, printable
from pipeline.data import splits
from pipeline.registry import artifacts, history, mlflow_errors, versions
from pipeline.registry.records import Event
from pipeline.reporting import thumbnails

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from pipeline.registry.compare import Misread, SideBySide

NEWEST = 50  # versions on a page
REIGNS = 60  # champions that are drawn, the latest
SHOWN = 24  # images that one of two alone reads right
MOST_BYTES = 20_000_000  # of a recorded report or table
NICE = 10  # a prediction goes first


def begin() -> None:
    """Of the process, before its first question: it yields to the service, and ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the service's
    os.nice(NICE)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # who looks at a page asks again himself,
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")  # and soon
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101 — that is what started it
    parent.join()
    os._exit(0)


def answer(question: str, *arguments: Any) -> Any:
    """One of the questions below, by its name."""
    try:
        return QUESTIONS[question](*arguments)
    except BadInput:
        raise
    except Exception as error:  # what MLflow and databases raise does not always survive the way back
        said = printable(" ".join(f"{type(error).__name__}: {error}".split())[:200])
        raise mlflow_errors.of(error) or TemporaryFault(f"the registry cannot be read now: {said}") from None


@cache
def _client() -> MlflowClient:
    return versions.connect()


def wake() -> None:
    """Import what questions take, so that the first one need not wait for it."""
    import onnxruntime  # noqa: F401

    from pipeline.registry import compare  # noqa: F401

    _client()


def models(name: str, before: int | None) -> dict[str, Any]:
    """The newest versions, of those before number ``before``, and all that were champion."""
    client = _client()
    wanted = f"name='{name}'" + (f" and version_number < {before}" if before else "")
    found = list(client.search_model_versions(wanted, max_results=NEWEST + 1, order_by=["version_number DESC"]))
    aliases, events = versions.aliases(client, name), history.events(client, name)
    return {
        "versions": [_row(version, aliases, events) for version in found[:NEWEST]],
        "older": str(found[NEWEST - 1].version) if len(found) > NEWEST else None,
        "champion": aliases.get(versions.CHAMPION),
        "reigns": _reigns(events, found),
    }


def _row(version: ModelVersion, aliases: dict[str, str], events: list[Event]) -> dict[str, Any]:
    """What the list says of a version, without asking for its run."""
    number = str(version.version)
    row: dict[str, Any] = {
        "number": number,
        "aliases": [alias for alias, of in aliases.items() if of == number],
        "created": version.creation_timestamp / 1000,
        "ours": versions.is_ours(version),
    }
    if not row["ours"]:
        return row
    verdict = history.verdict(version)
    met = verdict.comparison.champion if verdict and verdict.comparison else None
    return row | {
        "dataset": version.tags.get("dataset", ""),
        "recipe": version.tags.get("recipe", ""),
        "data": version.tags.get("train_sha256", "")[:8],
        "metrics": {key: versions.metrics(version).get(key) for key in ("accuracy", "accuracy_low", "accuracy_high")},
        "reason": verdict.reason if verdict else None,
        "met": met if met != number else None,
        "event": _last(events, number),
    }


def _last(events: list[Event], number: str) -> dict[str, str] | None:
    """What last became of a version, when and by whom."""
    for event in reversed(events):
        undone = event.event == "rolled back" and event.previous == number
        if undone or event.version == number:
            return {"event": event.event if undone else event.word, "at": event.at, "by": event.by}
    return None


def _reigns(events: list[Event], found: list[ModelVersion]) -> list[dict[str, Any]]:
    """Who was champion one after the other, with the accuracy that is known of each."""
    accuracy = {str(one.version): versions.metrics(one)["accuracy"] for one in found if versions.is_ours(one)}
    for event in events:
        if event.version and event.verdict and event.verdict.accuracy is not None:
            accuracy[event.version] = event.verdict.accuracy
    moves = [event for event in events if event.event in history.MOVES]
    return [
        {
            "version": event.version,
            "event": event.word,
            "at": event.at,
            "by": event.by,
            "accuracy": accuracy.get(event.version or ""),
        }
        for event in moves[-REIGNS:]
    ]


def report(name: str, number: str) -> dict[str, Any]:
    """A version's facts, what last happened to it, whom it met, and where its report lies: None if it kept none."""
    client = _client()
    version = versions.version(client, name, number)
    events = history.events(client, name)
    page = None
    with suppress(artifacts.NotRecorded):
        page = str(artifacts.recorded(client, version, places.RUN_PAGE, MOST_BYTES))
    facts = history.describe(client, version, versions.aliases(client, name), events)
    met = facts.verdict.comparison if facts.verdict else None
    return {
        "page": page,
        "facts": facts.as_json(),
        "event": _last(events, str(version.version)),
        "met": met.model_dump() if met and met.champion not in (None, facts.version) else None,
    }


def table(name: str, number: str, file: str) -> str:
    """Where a table of a version's evaluation lies."""
    client = _client()
    version = versions.version(client, name, number)
    return str(artifacts.recorded(client, version, f"{places.RUN_EVALUATION}/{file}", MOST_BYTES))


def compared(name: str, first: str, second: str) -> dict[str, Any]:
    """Two versions side by side, with pictures of what one alone reads right where the images are still here."""
    from pipeline.registry import compare

    found = compare.side_by_side(_client(), name, first, second)
    return {"facts": found.as_json(), "sentences": compare.sentences(found), "pictures": _pictures(found)}


def _pictures(found: SideBySide) -> list[list[str]] | None:
    """PNGs, of the first alone and of the second alone; None where the test images of then do not lie here."""
    test = places.PROCESSED / "test"
    if found.answers is None or not test.is_dir() or splits.digests(test) != found.answers.test_sha256:
        return None
    images, of = splits.load(test).images, form.load()

    def drawn(alone: tuple[Misread, ...]) -> list[str]:
        return [thumbnails.png(np.asarray(images[one.index]), of) for one in alone[:SHOWN]]

    return [drawn(found.answers.first_alone), drawn(found.answers.second_alone)]


QUESTIONS = {each.__name__: each for each in (wake, models, report, table, compared)}
