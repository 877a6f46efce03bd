"""Where do a split's arrays lie, and to which split does a sample belong?

A split is two plain ``.npy`` files in a folder: ``images`` uint8 (N, height, width), of digits (N, 28, 28) with 0 =
paper and 255 = ink, or (N, height, width, 3) in colour; and ``labels`` (N,), indexes of :class:`Form`'s classes, uint8
or, of more than 256 classes, uint16. They are read memory-mapped.
"""

import hashlib
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.base import files
from pipeline.base.errors import BadInput
from pipeline.base.form import Form

CHANCE = 3.0  # standard deviations
LABELS = (np.dtype(np.uint8), np.dtype(np.uint16))


class Split(NamedTuple):
    images: np.ndarray
    """uint8 (N, *shape)"""
    labels: np.ndarray
    """uint8 (N,), or uint16"""


def save(folder: Path | str, split: Split) -> None:
    files.write_npy(Path(folder) / "images.npy", split.images)
    files.write_npy(Path(folder) / "labels.npy", split.labels)


def load(folder: Path | str) -> Split:
    """Read a split memory-mapped; :class:`BadInput` if a file is missing or no array."""
    arrays = []
    for name in Split._fields:
        path = Path(folder) / f"{name}.npy"
        try:
            arrays.append(np.load(path, mmap_mode="r", allow_pickle=False))
        except FileNotFoundError:
            raise BadInput(f"there is no {path}: run `dvc repro`") from None
        except (ValueError, EOFError) as error:
            raise BadInput(f"{path} is not a whole .npy file ({error}): remove it and run `dvc repro`") from None
    return Split(*arrays)


def check_arrays(train: Split, test: Split, form: Form, stage: str) -> None:
    """What every stage takes for granted of the arrays; :class:`BadInput` with a line for each finding of ``stage``."""
    findings = []
    for name, split in {"train": train, "test": test}.items():
        if split.images.dtype != np.uint8 or split.labels.dtype not in LABELS:
            findings.append(f"{name}: pixels are {split.images.dtype}, labels {split.labels.dtype}: both must be uint8")
        if split.images.shape[1:] != form.shape:
            needed = ", ".join(map(str, form.shape))
            findings.append(f"{name}: the images' shape is {split.images.shape}: (N, {needed}) is needed")
        if split.labels.shape != split.images.shape[:1]:
            findings.append(f"{name}: {len(split.images)} images but {split.labels.shape} labels: each needs one")
        elif not split.labels.size:
            findings.append(f"{name}: there are no images: add some to the data set")
    if findings:
        raise BadInput("\n".join(f"{stage}: {finding}" for finding in findings))


def class_shares(labels: np.ndarray, classes: int = 10) -> np.ndarray:
    """Each class's share of the labels (N,): float64 (classes,); zeros where there are none."""
    return np.bincount(labels, minlength=classes)[:classes] / max(len(labels), 1)


def by_chance(classes: int, images: int) -> float:
    """How far the share of one of so many classes may lie from an even one in a sample of so many images if chance
    alone is at work: CHANCE standard deviations."""
    even = 1 / classes
    return CHANCE * math.sqrt(even * (1 - even) / max(images, 1))


def content_hashes(images: np.ndarray) -> np.ndarray:
    """A 64-bit BLAKE2b hash of each image's bytes: uint64 (N,). Equal images have equal hashes, on every machine."""
    digests = (hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=8).digest() for image in images)
    return np.frombuffer(b"".join(digests), dtype="<u8")


def names(images: np.ndarray) -> np.ndarray:
    """:func:`content_hashes` in hexadecimal, as files have them: str (N,)."""
    return np.array([f"{content:016x}" for content in content_hashes(images)], "U16")


def digest(hashes: np.ndarray, labels: np.ndarray) -> str:
    """SHA-256 of labelled images by the images' hashes uint64 (N,), whatever their order and the file they came in."""
    lines = sorted(f"{image:016x}{label}" for image, label in zip(hashes, labels, strict=True))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def held_out(hashes: np.ndarray, share: float, purpose: str) -> np.ndarray:
    """Which samples are held out for ``purpose``: bool (N,), about ``share`` of them.

    Decided by the sample's content alone, so that what is once held out stays so in every later run and batch.
    ``purpose`` salts the hash: the val split must not be drawn along the same line as the test split.
    """
    salt = np.frombuffer(hashlib.blake2b(purpose.encode(), digest_size=8).digest(), dtype="<u8")[0]
    mixed = (hashes ^ salt) * np.uint64(0x9E3779B97F4A7C15)  # Knuth's multiplicative hash, wraps modulo 2**64
    mixed ^= mixed >> np.uint64(32)
    mixed *= np.uint64(0x9E3779B97F4A7C15)
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53 < share
