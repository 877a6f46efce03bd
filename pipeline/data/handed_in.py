"""What lies at a path that somebody hands in? Looked over before a byte is read, and read where it can be stopped.

A batch is a stranger's: a pipe among its pictures would be waited for for ever, a link may lead to a device or to a
file that is none of its business, and a few packed megabytes may unpack to gigabytes.
"""

import errno
import multiprocessing
import os
import resource
import shutil
import signal
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from pipeline.base import errors, files
from pipeline.base.errors import BadInput, TemporaryFault, brief
from pipeline.base.form import DIGITS, TEN, Form
from pipeline.base.params import Batches, Images, Ingest
from pipeline.data import splits
from pipeline.data.datasets import bounds, catalogue, labelled_pictures
from pipeline.data.datasets.decoders import OF_DIGITS, Source
from pipeline.data.splits import Split

DEEPEST = 3  # folders: train/7/picture.png
BESIDE = 1000  # files that may lie there beside the images
FAULT = "fault.txt"  # what the reading process could not read
FORKS = multiprocessing.get_context("forkserver")  # a fork of this process would inherit locks of its threads
FORKS.set_forkserver_preload([__name__, "pandas"])


class Entry(NamedTuple):
    size: int = 0
    fault: str = ""


def kind(path: Path, classes: Sequence[str] = TEN) -> str:
    """Which of the decoders' names the batch at ``path`` looks like; :class:`BadInput` if like none of them.

    ``classes`` are those of the data set: folders of such names hold pictures.
    """
    if not str(path).isprintable():
        raise BadInput(f"{str(path)!r} has characters that cannot be printed: rename it")
    try:
        path.stat()
        holds_workspace = Path.cwd().is_relative_to(path.resolve())
        holds = _kinds(path, classes)
    except FileNotFoundError:
        raise BadInput(f"there is nothing at {path}: name a file or folder with labelled images") from None
    except (OSError, RuntimeError) as error:  # pathlib calls a circle of links a RuntimeError
        raise BadInput(f"{path} cannot be looked at ({brief(error)}): name a file or folder") from None
    if holds_workspace:
        raise BadInput(f"{path} holds the workspace itself: name a file or folder with labelled images")
    if len(holds) != 1:
        raise BadInput(
            f"{path} is no batch of labelled images: give an npz, csv or parquet file, or a folder of IDX files or of "
            "pictures by class (see docs/add-data.md)"
        )
    return holds.pop()


def _kinds(path: Path, classes: Sequence[str]) -> set[str]:
    suffixes = {"npz", "csv", "parquet"}
    if not path.is_dir():
        return {path.suffix.lower().lstrip(".")} & suffixes
    if any((path / name).is_file() for name in labelled_pictures.TABLES):
        return {"table"}
    holds = {kind for kind in suffixes if any(path.glob(f"*.{kind}"))}
    holds |= {"idx"} if any(path.glob("*-idx?-ubyte*")) else set()
    return holds | ({"folder"} if any((path / name).is_dir() for name in classes) else set())


def look_over(path: Path, limits: Batches) -> None:
    """:class:`BadInput`, a line a finding, unless there are regular files alone, of names that can be printed, not too
    many, not too large, and none that a link brings in from elsewhere."""
    findings, size = [], 0
    try:
        for count, entry in enumerate(_entries(path, Path(os.path.realpath(path)))):
            size += entry.size
            findings += [entry.fault] if entry.fault else []
            if count > limits.max_images + BESIDE:
                findings.append(f"{path}: holds more than {limits.max_images:,} files: give it in parts")
                break
            if size > limits.max_mb * 1e6:
                findings.append(f"{path}: has more than {limits.max_mb:,.0f} MB: give it in parts")
                break
    except OSError as error:
        findings.append(f"{path}: cannot be looked at ({brief(error)}): give files that may be read")
    if findings:
        raise BadInput("\n".join(labelled_pictures.shortened(findings)))


def _entries(path: Path, top: Path, depth: int = 0) -> Iterator[Entry]:
    """What lies at and below ``path``: the regular files, and whatever is wrong."""
    found = path.stat() if path.exists() else path.lstat()
    if not path.name.isprintable():
        yield Entry(fault=f"{str(path)!r}: has characters in its name that cannot be printed: rename it")
    elif not Path(os.path.realpath(path)).is_relative_to(top):
        yield Entry(fault=f"{path}: is a link out of the batch: put the file itself there")
    elif stat.S_ISREG(found.st_mode):
        yield Entry(size=found.st_size)
    elif not stat.S_ISDIR(found.st_mode):
        yield Entry(fault=f"{path}: is no regular file: remove it")
    elif depth > DEEPEST:
        yield Entry(fault=f"{path}: is a folder too deep: remove it")
    else:
        with os.scandir(path) as below:
            for entry in below:
                yield from _entries(path / entry.name, top, depth + 1)


def read(path: Path, kind: str, limits: Batches, form: Form = DIGITS, wanted: Images = OF_DIGITS.images) -> Split:
    """The batch of that kind, as images of that form; :class:`BadInput` names what is wrong with it, a line a finding,
    and :class:`TemporaryFault` a disk that is full or cannot be written to.

    It is decoded by a process of its own, which has so much memory and time and no more.
    """
    with tempfile.TemporaryDirectory() as folder:
        reader = FORKS.Process(target=_decode, args=(path, kind, limits, Path(folder), form, wanted), daemon=True)
        reader.start()
        try:
            reader.join(limits.max_seconds)
            if reader.is_alive():
                raise BadInput(f"{path}: takes more than {limits.max_seconds:g} s to read: give it in parts")
        finally:
            reader.kill()
            reader.join()
        fault = Path(folder) / FAULT
        if fault.is_file():
            kind_of_error = TemporaryFault if reader.exitcode == os.EX_TEMPFAIL else BadInput
            raise kind_of_error(fault.read_text(encoding="utf-8"))
        if reader.exitcode and reader.exitcode > 0:
            raise RuntimeError(f"the process that reads {path} ended with {reader.exitcode}: its traceback is above")
        if reader.exitcode:  # killed: a library that is refused memory may end its process
            raise BadInput(f"{path}: could not be read within the memory of batches.max_memory_mb: give it in parts")
        return Split(*(np.array(array) for array in splits.load(folder)))


def _decode(
    path: Path, kind: str, limits: Batches, folder: Path, form: Form = DIGITS, wanted: Images = OF_DIGITS.images
) -> None:
    """What :func:`read` has done elsewhere: leaves the split in ``folder``, or what is wrong with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the starter's to say
    space = _address_space() + int(limits.max_memory_mb * 1e6)
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    ingest = Ingest(
        local_dir=str(path),
        name="",
        test_share=0.0,
        timeout_seconds=1.0,
        attempts=1,
        max_images=limits.max_images,
        max_mb=limits.max_mb,
        max_unreadable=0.0,
    )
    try:
        loaded = catalogue.DECODERS[kind](Source(ingest, catalogue.as_of(form, wanted), form.classes))
        if loaded.form.shape != form.shape:
            raise BadInput(f"{path}: the images have {loaded.form.pixels}, and those of the data set {form.pixels}")
        whole = Split(*(np.concatenate(pair) for pair in zip(loaded.train, loaded.test, strict=True)))
        splits.save(folder, whole)
    except BadInput as error:
        files.write_text(folder / FAULT, str(error))
    except Exception as error:
        if _wants_memory(error):
            files.write_text(folder / FAULT, f"{path}: takes more than {limits.max_memory_mb:g} MB of memory to read")
        elif fault := errors.disk_fault(error):
            files.write_text(folder / FAULT, fault)
            sys.exit(os.EX_TEMPFAIL)
        else:
            raise


def _wants_memory(error: Exception) -> bool:
    """Whether it is the limit of memory, as Python, the system or OpenCV says it."""
    of_system = isinstance(error, OSError) and error.errno == errno.ENOMEM
    of_opencv = isinstance(error, cv2.error) and error.code == cv2.Error.StsNoMem
    return isinstance(error, MemoryError) or of_system or of_opencv


def _address_space() -> int:
    """Bytes of it that this process has by its libraries alone."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def copy(path: Path, target: Path, limits: Batches) -> None:
    """Copy what :func:`look_over` found in order. Whatever has become of it since: regular files alone, none that a
    link brings in from elsewhere, and all of them no larger than a batch may be."""
    allowed, top = bounds.Bounds(limits.max_images, int(limits.max_mb * 1e6)), Path(os.path.realpath(path))

    def copied(source: str, to: str) -> None:
        nonlocal allowed
        with bounds.opened(Path(source), allowed, top) as file, Path(to).open("wb") as copy:
            left = os.fstat(file.fileno()).st_size  # and no more, should somebody write to it without end
            allowed = allowed._replace(bytes=allowed.bytes - left)
            while part := file.read(min(left, bounds.CHUNK)):
                left -= copy.write(part)

    if path.is_dir():
        shutil.copytree(path, target, copy_function=copied)
    else:
        copied(str(path), str(target))
