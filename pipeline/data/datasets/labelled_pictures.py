"""How are labelled pictures read? From folders by class, from a table of paths and labels, and from Parquet files.

Each picture becomes an image by the framing of its kind, some at once on threads. One that cannot be read has its line;
as many as ``ingest.max_unreadable`` are left out, more stop the reading.
"""

import csv
import hashlib
import io
import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from pipeline.base import files, pictures
from pipeline.base.errors import MOST_WORDS, BadInput, brief, printable
from pipeline.base.form import TEN
from pipeline.base.stored import Collected
from pipeline.data import kinds, splits
from pipeline.data.datasets import bounds
from pipeline.data.datasets.bounds import Bounds
from pipeline.data.datasets.decoders import Arrays, Loaded, Source, formed, local, one_file, with_test
from pipeline.digits.framing import NoSingleDigit

FINDINGS = 20  # that are told one by one
AT_ONCE = 512  # pictures in memory before they are images
MOST_THREADS = 4  # each takes some 140 MB of address space, of which the reader of a batch has batches.max_memory_mb
MNIST_RIM = 64  # grey level: an image's rim that is darker on average is paper of MNIST's polarity
# Folders, or the beginnings of file names; val is held out anew.
TRAIN, TEST = ("train", "val", "valid", "validation"), ("test",)
PATHS, LABELS, SPLIT = ("path", "file_name", "file", "filename", "image"), ("label", "class"), "split"  # columns
TABLES = ("metadata.csv", "metadata.jsonl")


class Picture(NamedTuple):
    name: str
    """what a message calls it"""
    content: Path | bytes
    label: str


# --- Pictures to images ---------------------------------------------------------------------------------------------


class Reading:
    """The pictures of one data set, as they are read: within the bounds of all, and with what is wrong with them."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.allowed = bounds.of(source.ingest)
        self.findings: list[BadInput] = []
        self.hashes: dict[str, Any] = {}
        self.names: set[str] = set()
        self.count = 0

    def arrays(self, found: Iterable[tuple[str, Picture]], total: int, where: str) -> Arrays:
        """The images and the names of their classes. A picture comes with the key that its digest counts under."""
        bounds.counted(total, self.allowed, where)
        images, labels = Collected(total, self.source.images.shape, splits.SHARD_BYTES), list[str]()
        remaining = iter(found)
        with (
            ThreadPoolExecutor(min(len(os.sched_getaffinity(0)), MOST_THREADS)) as pool,
            tqdm(total=total, desc=f"reading {where}", unit=" pictures", disable=None) as bar,
        ):
            while some := list(itertools.islice(remaining, AT_ONCE)):
                for (key, picture), image in zip(some, pool.map(self._image, [one for _, one in some]), strict=True):
                    self.count += 1
                    self.names.add(picture.label)
                    bar.update()
                    if isinstance(image, BadInput):
                        self.findings.append(image)
                        continue
                    framed, digest, size = image
                    self._charge(size, where)
                    line = f"{Path(picture.name).name} {digest}\n"
                    self.hashes.setdefault(key, hashlib.sha256()).update(line.encode(errors="surrogateescape"))
                    images.add(framed)
                    labels.append(picture.label)
        return Arrays(images.images(), np.array(labels, str), where)

    def _charge(self, size: int, where: str) -> None:
        if size > self.allowed.bytes:
            raise BadInput(f"{where}: has more than {self.source.ingest.max_mb:,.0f} MB: give it in parts")
        self.allowed = self.allowed._replace(bytes=self.allowed.bytes - size)

    def _image(self, picture: Picture) -> tuple[np.ndarray, str, int] | BadInput:
        """The image, and of its file the SHA-256 and the bytes; or what is wrong with it."""
        try:
            path = picture.content
            data = path if isinstance(path, bytes) else bounds.content(path, self.allowed)
            image = framed(data, picture.name, self.source)
        except BadInput as error:
            return error
        return image, hashlib.sha256(data).hexdigest(), len(data)

    def settle(self) -> dict[str, str]:
        """The digest of each key, once all is read; :class:`BadInput`, a line a finding, if too many could not be."""
        if not self.findings:
            return {name: sha.hexdigest() for name, sha in self.hashes.items()}
        most, lines = int(self.source.ingest.max_unreadable * self.count), [str(finding) for finding in self.findings]
        if len(self.findings) > most:
            hint = [f"{len(self.findings)} of {self.count}, allowed {most} (ingest.max_unreadable)"] if most else []
            unlike = any(isinstance(finding, NoSingleDigit) for finding in self.findings)
            if unlike and self.source.images.kind == "digits" and not self.names <= set(TEN):
                hint.append("these are read as ink on paper: for pictures of anything else set images.kind: plain")
            raise BadInput("\n".join([*shortened(lines), *hint]))
        for line in [*shortened(lines), f"{len(self.findings):,} of {self.count:,} pictures are left out"]:
            print(f"warning: ingest: {line}", file=sys.stderr)
        return {name: sha.hexdigest() for name, sha in self.hashes.items()}


def framed(data: bytes, name: str, source: Source) -> np.ndarray:
    """A picture's bytes as an image; of digits, one that has MNIST's size and dark rim already as it is."""
    if source.images.kind == "digits" and (ready := _ready(data, source.images.shape)) is not None:
        return ready
    return kinds.framing(source.images.kind).frame(io.BytesIO(data), name, source.images.shape)


def _ready(data: bytes, shape: tuple[int, ...]) -> np.ndarray | None:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=pictures.FORMATS) as picture:
            ready = np.asarray(picture) if (picture.size[::-1], picture.mode) == (shape, "L") else None
    except Exception:  # whatever Pillow's decoders stumble over: framing says what is wrong with it
        return None
    return ready if ready is not None and pictures.rim(ready).mean() < MNIST_RIM else None


def shortened(findings: list[str]) -> list[str]:
    """The first so many of them, and how many more there are."""
    more = len(findings) - FINDINGS
    return findings if more <= 0 else [*findings[:FINDINGS], f"and {more:,} more"]


def _loaded(
    dataset: str, reading: Reading, parts: Sequence[Arrays], read: dict[str, str], names: Sequence[str] | None = None
) -> Loaded:
    """What all three end in: train, and test if there is one."""
    done, form = formed([parts[0], *(part for part in parts[1:] if len(part.labels))], reading.source, names)
    test = done[1] if done[1:] else None
    share = reading.source.ingest.test_share
    return Loaded(dataset, "local folder", *with_test(done[0], test, share, parts[0].where), read, form)


# --- Folders by class -----------------------------------------------------------------------------------------------


def load_folder(source: Source) -> Loaded:
    """A folder a class with PNG or JPEG pictures of any size, perhaps under ``train/``, ``val/`` and ``test/``."""
    folder = local(source.ingest, "folder")
    if not folder.is_dir():
        raise BadInput(
            f"params.yaml: ingest.local_dir is {folder}, a file: name the folder that holds one for each class"
        )
    has_splits = _has_splits(folder)
    reading = Reading(source)
    parts = []
    for names in (TRAIN, TEST) if has_splits else (("",),):
        found = [
            one for name in names if (folder / name).is_dir() for one in _in_folders(folder, name, reading.allowed)
        ]
        where = folder / names[0]
        parts.append(reading.arrays(found, len(found), str(where)))
    if source.known is None and reading.names:  # a batch need not have all classes
        _settle_empty(folder, TRAIN + TEST if has_splits else ("",), reading.names, source.images.leave_out_small)
    return _loaded("folder", reading, parts, reading.settle())


def _settle_empty(folder: Path, parts: Sequence[str], filled: set[str], leave_out: bool) -> None:
    """:class:`BadInput` if a class has a folder and no picture; a warning if small classes are to be left out."""
    classes = {path.name for name in parts for path in _folders(folder / name)}
    if empty := sorted(classes - filled):
        told = printable(", ".join(empty[:10])) + (" …" if len(empty) > 10 else "")
        said = f"{folder}: no picture lies in the folder of {told}"
        if not leave_out:
            raise BadInput(f"{said}: add some, remove the folder, or set images.leave_out_small")
        print(f"warning: ingest: {said}: left out", file=sys.stderr)


def _has_splits(folder: Path) -> bool:
    """Whether the classes lie below folders of splits; :class:`BadInput` if something else lies beside these. Those of
    these names that hold no folders are classes themselves."""
    if not (folder / "train").is_dir() or not any(_folders(folder / name) for name in TRAIN + TEST):
        return False
    beside = [path.name for path in _folders(folder) if path.name not in TRAIN + TEST]
    if beside:
        told = printable(", ".join(beside[:5])) + (" …" if len(beside) > 5 else "")
        raise BadInput(f"{folder}: holds {told} beside train: put classes below train, and test if you have one")
    return True


def _folders(top: Path) -> list[Path]:
    if not top.is_dir():
        return []
    return sorted(path for path in top.iterdir() if path.is_dir() and not path.name.startswith("."))


def _in_folders(folder: Path, below: str, allowed: Bounds) -> list[tuple[str, Picture]]:
    """The pictures under ``folder/below``, each with its class's place there."""
    top = folder / below
    return [
        ((Path(below) / label.name).as_posix(), Picture(printable(str(path)), path, label.name))
        for label in _folders(top)
        for path in _pictures_in(label, allowed)
    ]


def _pictures_in(folder: Path, allowed: Bounds) -> list[Path]:
    there = (path for path in folder.iterdir() if not path.name.startswith("."))
    found = sorted(itertools.islice(there, allowed.images + 1))  # there may be millions
    for path in found:
        if path.suffix.lower() not in pictures.SUFFIXES:
            raise BadInput(f"{printable(str(path))}: is neither PNG nor JPEG: convert or remove it")
    return found


# --- A table of paths -----------------------------------------------------------------------------------------------


def load_table(source: Source) -> Loaded:
    """A CSV or JSON Lines file with a column of paths (path, file_name, file, filename or image), beside it or below,
    one of labels (label or class), and perhaps one named split (train, val or test)."""
    path = local(source.ingest, "table")
    if path.is_dir():
        there = [path / name for name in TABLES if (path / name).is_file()]
        path = there[0] if len(there) == 1 else one_file(path, "*.[cj]s[vo]*")
    reading = Reading(source)
    found: dict[str, list[tuple[str, Picture]]] = {"train": [], "test": []}
    for number, row in enumerate(_rows(path, reading.allowed)):
        split, picture = _of_row(row, path, number)
        found[split].append((split, picture))
        bounds.counted(len(found[split]), reading.allowed, str(path))
    parts = [reading.arrays(rows, len(rows), f"{path} ({split})") for split, rows in found.items()]
    return _loaded("table", reading, parts, reading.settle() | {path.name: files.sha256_file(path)})


def _rows(path: Path, allowed: Bounds) -> Iterator[dict[str, Any]]:
    with bounds.opened(path, allowed) as file:
        lines = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")  # spreadsheets put a mark first
        try:
            if path.suffix.lower() == ".csv":
                yield from csv.DictReader(lines, strict=True)
            else:
                yield from (json.loads(line) for line in lines if line.strip())
        except (ValueError, csv.Error, RecursionError) as error:
            raise BadInput(f"{path}: is not a table of paths and labels ({brief(error)}): mend it") from None


def _of_row(row: Any, table: Path, number: int) -> tuple[str, Picture]:
    """Which split a row belongs to, and its picture."""
    where = f"{table}: row {number + 1}"
    if not isinstance(row, dict):
        raise BadInput(f"{where}: is no object with a path and a label: mend it")
    if None in row:  # where the reader puts what the header has no name for
        raise BadInput(f"{where}: has more cells than the header: put quotes around what holds a comma")
    path, label = (next((row[name] for name in names if row.get(name) is not None), None) for names in (PATHS, LABELS))
    if not isinstance(path, str) or not isinstance(label, str | int) or not path:
        raise BadInput(f"{where}: has {sorted(map(str, row))}: a path ({', '.join(PATHS)}) and a label are needed")
    if not path.isprintable():
        raise BadInput(f"{where}: {path!r} has characters that cannot be printed: rename it")
    file = table.parent / path
    if not Path(os.path.realpath(file)).is_relative_to(os.path.realpath(table.parent)):
        raise BadInput(f"{where}: {path} leads out of {table.parent}: put the pictures beside the table")
    split = str(row.get(SPLIT) or TRAIN[0])
    if split not in TRAIN + TEST:
        raise BadInput(f"{where}: {SPLIT} is {split!r}: it must be one of {', '.join(TRAIN + TEST)}")
    return "test" if split in TEST else "train", Picture(str(file), file, str(label))


# --- Parquet --------------------------------------------------------------------------------------------------------


def load_parquet(source: Source) -> Loaded:
    """Parquet files with a column ``image`` of a picture's bytes (or a struct with ``bytes``), and one ``label`` of
    names, or numbers that Hugging Face's metadata name; files that begin with ``test`` are the test split."""
    path = local(source.ingest, "parquet")
    found = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not found:
        raise BadInput(f"{path}: holds no .parquet file: put it there")
    reading = Reading(source)
    opened = {file: _opened(file, reading.allowed) for file in found}
    names = _agreed({file: named for file, (_, named) in opened.items()})
    of_test = {file for file in found if path.is_dir() and file.name.startswith(TEST)}
    parts = []
    for split, its in {"train": [file for file in found if file not in of_test], "test": sorted(of_test)}.items():
        rows = itertools.chain.from_iterable(_of_parquet(file, *opened[file]) for file in its)
        total = sum(opened[file][0].metadata.num_rows for file in its)
        parts.append(reading.arrays(((split, picture) for picture in rows), total, f"{path} ({split})"))
    read = {file.name: files.sha256_file(file) for file in found}
    reading.settle()
    return _loaded("parquet", reading, parts, read, names)


def _agreed(named: dict[Path, list[str] | None]) -> list[str] | None:
    """The names of the classes, in which all files that have some must agree."""
    told = {file: names for file, names in named.items() if names}
    for (first, names), (file, others) in itertools.pairwise(told.items()):
        if names != others:
            one, other = next(pair for pair in itertools.zip_longest(names, others) if pair[0] != pair[1])
            raise BadInput(
                f"{file}: names the classes otherwise than {first.name}, {other!r} instead of {one!r}: export both anew"
            )
    return next(iter(told.values()), None)


def _opened(path: Path, allowed: Bounds) -> tuple[Any, list[str] | None]:
    """The file, and the names that its metadata have for labels."""
    import pyarrow
    from pyarrow import parquet

    try:
        opened = parquet.ParquetFile(bounds.opened(path, allowed))
        schema = opened.schema_arrow
        size = sum(opened.metadata.row_group(at).total_byte_size for at in range(opened.metadata.num_row_groups))
    except (pyarrow.ArrowException, OSError) as error:
        raise BadInput(f"{path}: is not a whole Parquet file ({brief(error)}): fetch it again") from None
    bounds.counted(opened.metadata.num_rows, allowed, str(path))
    if size > allowed.bytes:
        raise BadInput(f"{path}: unpacks to {size / 1e6:,.0f} MB, allowed {allowed.bytes / 1e6:,.0f}: give it in parts")
    missing = {"image", "label"} - set(schema.names)
    if missing:
        there = printable(", ".join(schema.names))[:MOST_WORDS]
        raise BadInput(f"{path}: has the columns {there}, and no {' and no '.join(sorted(missing))}")
    if twice := [name for name in ("image", "label") if schema.names.count(name) > 1]:
        raise BadInput(f"{path}: has the column {' and the column '.join(twice)} more than once: leave one")
    try:
        told = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        names = told["info"]["features"]["label"]["names"]
    except (ValueError, KeyError, TypeError, RecursionError):
        names = None
    named = isinstance(names, list) and names and all(isinstance(name, str) for name in names)
    return opened, names if named else None


def _of_parquet(path: Path, opened: Any, names: list[str] | None) -> Iterator[Picture]:
    import pyarrow

    number = 0
    try:
        for batch in opened.iter_batches(batch_size=64, columns=["image", "label"]):
            for image, label in zip(batch.column("image").to_pylist(), batch.column("label").to_pylist(), strict=True):
                where = f"{path}: row {number}"
                number += 1
                data = image.get("bytes") if isinstance(image, dict) else image
                if not isinstance(data, bytes):
                    raise BadInput(f"{where}: the image is no bytes of a picture: write these, or a struct with them")
                if isinstance(label, int) and names:
                    if not 0 <= label < len(names):
                        raise BadInput(f"{where}: label {label} is out of range: there are {len(names)} names")
                    label = names[label]
                if not isinstance(label, str | int) or label == "":
                    raise BadInput(f"{where}: the label is {label!r}: give a name or a number")
                yield Picture(where, data, str(label))
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:
        # Parquet's own are OSErrors, and an OverflowError is a date that Python has not
        raise BadInput(f"{path}: is cut off or damaged ({brief(error)}): fetch it again") from None
