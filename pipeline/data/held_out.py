"""On which images are models judged? The test split and what is held out of the accepted batches, each image once."""

import base64
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

    @property
    def short(self) -> np.ndarray:
        """The low 32 bits of each image's hash, by which looks are kept: two of 10,000 images share them once in a
        hundred sets. uint32 (N,)"""
        return (self.hashes & np.uint64(0xFFFFFFFF)).astype("<u4")


def of(test: Split, recent: Split) -> HeldOut:
    """The images that the gate judges on."""
    hashes = np.concatenate([splits.content_hashes(test.images), splits.content_hashes(recent.images)])
    labels = np.concatenate([np.asarray(test.labels), np.asarray(recent.labels)])
    first = np.zeros(len(hashes), bool)
    first[np.unique(hashes[len(test.labels) :], return_index=True)[1] + len(test.labels)] = True
    once = first & ~np.isin(hashes, hashes[: len(test.labels)])
    once[: len(test.labels)] = True
    return HeldOut(labels[once], hashes[once], once, splits.digest(hashes[once], labels[once]))


class Noted(NamedTuple):
    """A look that evaluate took."""

    dataset: str
    held_out: str
    """the images' digest"""
    model: str
    """the digest of its ONNX file"""
    images: np.ndarray
    """their short hashes: uint32 (N,)"""


def note_look(held: HeldOut, dataset: str, model: str) -> None:
    """Note that a model, by the digest of its ONNX file, was measured on the images: a look at them that the gate has
    to count, also when others are held out by then. In a file, as evaluate does without the registry."""
    line = {"dataset": dataset, "held_out": held.digest, "model": model, "at": clock.now()}
    if not any(look.held_out == held.digest for look in noted()):  # once a set: those of 10,000 images are 50 kB
        line["images"] = encoded(held.short)
    files.append_json_line(places.home() / places.LOOKS, line)


def noted() -> list[Noted]:
    """The looks that were noted, oldest first."""
    lines = files.read_json_lines(places.home() / places.LOOKS)
    images = {line["held_out"]: decoded(line["images"]) for line in lines if "images" in line}
    return [
        Noted(line["dataset"], line["held_out"], line["model"], images[line["held_out"]])
        for line in lines
        if line["held_out"] in images
    ]


def encoded(short: np.ndarray) -> str:
    """Short hashes as JSON holds them."""
    return base64.b64encode(short.tobytes()).decode()


def decoded(text: str) -> np.ndarray:
    """uint32 (N,)"""
    return np.frombuffer(base64.b64decode(text), "<u4")
