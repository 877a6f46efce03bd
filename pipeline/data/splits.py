"""Where do a split's arrays lie, and to which split does a sample belong?

A split is a folder with two plain ``.npy`` files: ``images`` uint8 (N, height, width), of digits (N, 28, 28) with 0 =
paper and 255 = ink, or (N, height, width, 3) in colour; and ``labels`` (N,), indexes of :class:`Form`'s classes, uint8
or, of more than 256 classes, uint16. More images than SHARD_IMAGES, or than SHARD_BYTES hold, lie in several pairs of
files, the shards, which ``shards.json`` lists with the digest of each.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.base import files
from pipeline.base.errors import BadInput
from pipeline.base.form import Form, images_in
from pipeline.base.stored import Chosen, Images, InFile, Joined, Stored

CHANCE = 3.0  # standard deviations
LABELS = (np.dtype(np.uint8), np.dtype(np.uint16))
SHARD_IMAGES, SHARD_BYTES = 1 << 16, 64_000_000  # at most, of a shard
CHUNK = 4096  # images looked at in one go
INDEX = "shards.json"


class Split(NamedTuple):
    images: Images
    """uint8 (N, *shape); of several shards, read where they are looked at"""
    labels: np.ndarray
    """uint8 (N,), or uint16"""

    def chosen(self, which: np.ndarray) -> "Split":
        """Those that the mask bool (N,) has; images that lie on the disk stay there."""
        taken = Chosen(self.images, np.flatnonzero(which)) if isinstance(self.images, Stored) else self.images[which]
        return Split(taken, self.labels[which])

    def spread(self, count: int) -> "Split":
        """At most ``count`` of the images, evenly spread, in memory."""
        if len(self.labels) <= count:
            return Split(*map(np.asarray, self))
        chosen = np.linspace(0, len(self.labels) - 1, count).astype(int)
        return Split(np.asarray(self.images[chosen]), np.asarray(self.labels[chosen]))


class Shard(NamedTuple):
    """A shard that was written."""

    images: int
    sha256: str
    """of its images and labels"""


class Part(NamedTuple):
    """A shard of a split that is in several, or all of one that is in one."""

    number: int
    of: int
    shard: Shard | None = None
    """what it holds, by the list of the shards"""


def shard_size(shape: Sequence[int]) -> int:
    """How many images of that shape a shard holds."""
    return min(SHARD_IMAGES, images_in(SHARD_BYTES, shape))


def cut(split: Split) -> Iterator[Split]:
    """The split in pieces of a shard's size; one that is empty has one piece."""
    size = shard_size(split.images.shape[1:])
    for start in range(0, max(len(split.labels), 1), size):
        yield Split(split.images[start : start + size], split.labels[start : start + size])


def save(folder: Path | str, split: Split, before: Path | None = None) -> None:
    """Write a split, a shard at a time. A shard that lies in the folder ``before`` too becomes another name of it: DVC
    then knows it for what it hashed already."""
    count = max(math.ceil(len(split.labels) / shard_size(split.images.shape[1:])), 1)
    known = parts(before) if before else []
    pieces = enumerate(cut(split))
    finish(
        Path(folder),
        [write_shard(folder, piece, at, count, before, known[at] if known[at:] else None) for at, piece in pieces],
    )


def write_shard(
    folder: Path | str, piece: Split, number: int, of: int, before: Path | None = None, known: Part | None = None
) -> Shard:
    """Write one shard of so many, or if it is what the folder ``before`` holds as ``known``, name that; whoever writes
    all of them then calls :func:`finish`."""
    folder, piece = Path(folder), Split(*map(np.ascontiguousarray, piece))
    shard = Shard(len(piece.labels), _digest(piece))
    if not (before and of > 1 and known and known.shard == shard and _linked(before, known, folder)):
        for field, array in piece._asdict().items():
            files.write_npy(folder / _file(field, number, of), array)
    return shard


def _linked(before: Path, known: Part, folder: Path) -> bool:
    """Give a shard's files in ``before`` a name in ``folder`` as well; False where the disk cannot, or they are not
    what they were."""
    names = [_file(field, known.number, known.of) for field in Split._fields]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if known.shard is None or _digest(load_shard(before, known)) != known.shard.sha256:
            return False
        for name in names:
            (folder / name).hardlink_to(before / name)
    except (BadInput, OSError):
        for name in names:
            (folder / name).unlink(missing_ok=True)
        return False
    return True


def _digest(piece: Split) -> str:
    return files.sha256_text("".join(map(files.sha256_array, piece)))


def finish(folder: Path, shards: Sequence[Shard]) -> None:
    """List the shards that were written, if there are several, and remove what an earlier split left beside them."""
    names = {_file(field, number, len(shards)) for field in Split._fields for number in range(len(shards))}
    if len(shards) > 1:
        files.write_json(folder / INDEX, [shard._asdict() for shard in shards])
    for path in folder.iterdir():
        if path.name not in names and (path.suffix == ".npy" or (path.name == INDEX and len(shards) == 1)):
            path.unlink()


def _file(field: str, number: int, of: int) -> str:
    return f"{field}.npy" if of == 1 else f"{field}-{number:05}.npy"


def shards(folder: Path | str) -> list[Shard] | None:
    """The shards of a split that is in several; :class:`BadInput` if their list is spoilt."""
    path = Path(folder) / INDEX
    if not path.is_file():
        return None
    try:
        found = [Shard(int(one["images"]), str(one["sha256"])) for one in files.read_json(path)]
    except (ValueError, TypeError, KeyError):
        found = []
    if not found:
        raise BadInput(f"{path} is no list of shards: remove {folder} and run `dvc repro`")
    return found


def parts(folder: Path | str) -> list[Part]:
    """What a split consists of; one that is not there yet is taken to be in one."""
    listed = shards(folder)
    return [Part(number, len(listed), shard) for number, shard in enumerate(listed)] if listed else [Part(0, 1)]


def digests(folder: Path | str) -> dict[str, str]:
    """What a split is known by: the SHA-256 of its images and that of its labels, or that of the list of its shards."""
    if listed := shards(folder):
        return {"shards": files.sha256_text("\n".join(f"{shard.images} {shard.sha256}" for shard in listed))}
    return {field: files.sha256_array(array) for field, array in load(folder)._asdict().items()}


def joined(parts: Sequence[Split]) -> Split:
    """The splits one after another; many images are not brought together in memory."""
    images = Joined([part.images for part in parts])
    small = images.nbytes <= SHARD_BYTES
    return Split(images[:] if small else images, np.concatenate([part.labels for part in parts]))


def load(folder: Path | str) -> Split:
    """Read a split, memory-mapped, or of several shards where it is looked at; :class:`BadInput` if a file is missing,
    no array, or not of the size that the list of the shards says."""
    loaded = [load_shard(folder, part) for part in parts(folder)]
    if len(loaded) == 1:
        return loaded[0]
    shapes = {part.images.shape[1:] for part in loaded}
    if len(shapes) > 1:
        raise BadInput(f"{folder}: its shards are of different shapes, {sorted(shapes)}: remove it, run `dvc repro`")
    return Split(Joined([part.images for part in loaded]), np.concatenate([part.labels for part in loaded]))


def load_shard(folder: Path | str, part: Part) -> Split:
    """One of the :func:`parts` of a split."""
    number, of, shard = part
    paths = [Path(folder) / _file(field, number, of) for field in Split._fields]
    images, labels = map(_array, paths)
    if shard is None:
        return Split(images, labels)
    if not len(images) == len(labels) == shard.images:
        raise BadInput(
            f"{paths[0]}: has {len(images)} images and {len(labels)} labels, {folder}/{INDEX} says "
            f"{shard.images}: remove {folder} and run `dvc repro`"
        )
    if images.dtype != np.uint8 or np.isfortran(images):
        raise BadInput(f"{paths[0]}: holds {images.dtype} in another order than a shard: remove {folder}, `dvc repro`")
    return Split(InFile(paths[0], images.shape, images.offset), labels)


def lying(folder: Path | str) -> Stored:
    """The images of a split, of which no file stays open: whoever keeps them may find the files written anew."""
    images, path = load(folder).images, Path(folder) / _file("images", 0, 1)
    return images if isinstance(images, Stored) else InFile(path, images.shape, _array(path).offset)


def check(folder: Path | str) -> None:
    """:class:`BadInput` names the first shard whose content is not what the list of shards says."""
    for part in parts(folder):
        if part.shard and _digest(load_shard(folder, part)) != part.shard.sha256:
            number = part.number
            raise BadInput(f"{folder}: shard {number} is not what {INDEX} says: remove {folder} and run `dvc repro`")


def _array(path: Path) -> np.memmap:
    try:
        found: np.memmap = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise BadInput(f"there is no {path}: run `dvc repro`") from None
    except (ValueError, EOFError) as error:
        raise BadInput(f"{path} is not a whole .npy file ({error}): remove it and run `dvc repro`") from None
    return found


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


def content_hashes(images: Images) -> np.ndarray:
    """A 64-bit BLAKE2b hash of each image's bytes: uint64 (N,). Equal images have equal hashes, on every machine."""
    size, hashes = math.prod(images.shape[1:]), np.empty(len(images), "<u8")
    for start in range(0, len(images), CHUNK):
        flat = np.ascontiguousarray(images[start : start + CHUNK]).reshape(-1).data
        digests = [hashlib.blake2b(flat[at : at + size], digest_size=8).digest() for at in range(0, len(flat), size)]
        hashes[start : start + CHUNK] = np.frombuffer(b"".join(digests), "<u8")
    return hashes


def names(images: Images) -> np.ndarray:
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
