"""What do a challenger and those that served before it read in the held-out images, and how fast?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from zipfile import BadZipFile

import numpy as np

from pipeline.base import files, places
from pipeline.base.errors import BadInput, TemporaryFault
from pipeline.data.held_out import HeldOut
from pipeline.data.splits import Split
from pipeline.learning import inference
from pipeline.registry import artifacts, gate, history, versions
from pipeline.registry.records import Event

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

TIMED_RUNS = 200


class Unseen(NamedTuple):
    """What nobody trained on."""

    test: Split
    recent: Split
    held: HeldOut
    """both, each image once"""


def formers(
    client: MlflowClient, challenger: ModelVersion, in_use: str | None, events: list[Event], unseen: Unseen
) -> tuple[list[gate.Former], list[str]]:
    """The answers of all that served but the challenger itself, and which of them cannot answer any more.
    :class:`TemporaryFault` if one of them cannot for now: without it a worse challenger might pass."""
    found, notes, name = [], [], challenger.name
    for number in history.served(events):
        if number == str(challenger.version):
            continue  # it was rolled back, and is no worse than itself
        try:
            version = versions.version(client, name, number)
            found.append(gate.Former(number, _answers(client, version, unseen)))
        except BadInput as error:
            if number == in_use or isinstance(error, TemporaryFault):
                raise
            notes.append(f"not compared with version {number}, which served once: {error}")
    return found, notes


def _answers(client: MlflowClient, version: ModelVersion, unseen: Unseen) -> np.ndarray:
    """The classes that a version reads: integer (N,). Those of the images that it was last asked about are kept in
    .cache, as each challenger is compared with all that served."""
    onnx = artifacts.onnx_file(client, version)
    kept = places.home() / places.ANSWERS / f"{version.tags['onnx_sha256']}.npz"
    with suppress(OSError, ValueError, KeyError, BadZipFile), np.load(kept, allow_pickle=False) as found:
        if np.array_equal(found["hashes"], unseen.held.hashes):
            return np.asarray(found["predicted"])
    model, held = inference.open_model(onnx), unseen.held
    read = [inference.run(model, split.images).argmax(axis=1) for split in (unseen.test, unseen.recent)]
    predicted = np.concatenate(read).astype(unseen.test.labels.dtype)[held.once]
    with suppress(OSError), files.atomic(kept) as part:  # a full disk: the answers are known all the same
        np.savez(part, hashes=held.hashes, predicted=predicted)
    return predicted


def candidate(
    client: MlflowClient, version: ModelVersion, champion: ModelVersion | None, unseen: Unseen
) -> gate.Candidate:
    for one in filter(None, (version, champion)):
        artifacts.check(client, one)
    onnx = artifacts.onnx_file(client, version)
    rival = artifacts.onnx_file(client, champion) if champion else None
    took = latencies([onnx, rival] if rival else [onnx], unseen.test.images[:1])
    measured = versions.metrics(version)
    return gate.Candidate(
        version=str(version.version),
        predicted=_answers(client, version, unseen),
        size_mb=onnx.stat().st_size / 1e6,
        latency_ms=took[0],
        latency_ratio=took[0] / took[1] if rival else None,
        gap=measured["gap"],
        refused=measured.get("refused"),
        non_digits_refused=measured.get("non_digits_refused"),
    )


def latencies(paths: Sequence[Path], image: np.ndarray) -> list[float]:
    """The median of each model's milliseconds for one image, uint8 (1, *shape). They take turns: what else the machine
    does then slows all of them."""
    models = [inference.open_model(path) for path in paths]
    took: list[list[float]] = [[] for _ in models]
    for _ in range(TIMED_RUNS):
        for model, durations in zip(models, took, strict=True):
            began = time.perf_counter()
            inference.run(model, image)
            durations.append(time.perf_counter() - began)
    return [1000 * float(np.median(durations)) for durations in took]
