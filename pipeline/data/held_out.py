"""On which images are models judged? The test split and what is held out of the accepted batches, each image once."""

from typing import NamedTuple

import numpy as np

from pipeline.base import clock, files, places
from pipeline.data import splits
from pipeline.data.splits import Split


class HeldOut(NamedTuple):
    """The images of test and then of recent, without those of recent that stand before them too."""

    labels: np.ndarray
    """uint8 (N,)"""
    hashes: np.ndarray
    """of each image's content: uint64 (N,)"""
    once: np.ndarray
    """which images of test and recent, one after the other, these are: bool (N + repeated,)"""
    digest: str
    """of the labelled images, whatever their order"""


def of(test: Split, recent: Split) -> HeldOut:
    """The images that the gate judges on."""
    hashes = np.concatenate([splits.content_hashes(test.images), splits.content_hashes(recent.images)])
    labels = np.concatenate([np.asarray(test.labels), np.asarray(recent.labels)])
    first = np.zeros(len(hashes), bool)
    first[np.unique(hashes[len(test.labels) :], return_index=True)[1] + len(test.labels)] = True
    once = first & ~np.isin(hashes, hashes[: len(test.labels)])
    once[: len(test.labels)] = True
    return HeldOut(labels[once], hashes[once], once, splits.digest(hashes[once], labels[once]))


def note_look(digest: str, model: str) -> None:
    """Note that a model, by the digest of its ONNX file, was measured on the images of that digest: a look at them that
    the gate has to count. In a file, as evaluate does without the registry."""
    files.append_json_line(places.home() / places.LOOKS, {"held_out": digest, "model": model, "at": clock.now()})


def noted(digest: str) -> set[str]:
    """The models that were measured on the images of that digest, as it was noted."""
    lines = files.read_json_lines(places.home() / places.LOOKS)
    return {line["model"] for line in lines if line.get("held_out") == digest and "model" in line}
