"""What is on each of many pictures? Files, folders and patterns in, an answer a picture out, as they come.

A picture that cannot be read has its reason instead of a digit, and the others go on. Pictures are read in several
processes, each with the model on one thread.
"""

import csv
import glob
import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from pipeline.base import files, pictures
from pipeline.base.errors import BadInput
from pipeline.base.form import DIGITS, TEN, Form
from pipeline.data import kinds
from pipeline.digits import sheet
from pipeline.learning import inference

if TYPE_CHECKING:
    import onnxruntime

SUFFIXES = (*pictures.SUFFIXES, ".gif", ".webp", ".bmp", ".tif", ".tiff")  # taken for pictures in a folder
BOX = ("left", "top", "width", "height")  # columns where each digit of a picture is asked for
COLUMNS = ("file", "digit", "confidence", "second", "reason")  # of a file of answers; other classes' have a label
ROW_GROUP = 10_000  # rows of a Parquet file that are held until they are written
PART = 32  # pictures that are read at once: so often there is something to show
FEW = 2 * PART  # pictures that are read before a second process would have started


Add = Callable[[dict[str, Any]], Any]  # takes a row of a file of answers
Writer = Callable[[Path, Form, bool], AbstractContextManager[Add]]


@dataclass(frozen=True)
class Answer:
    """What is read on one picture: either ``reason`` says why nothing is, or the rest is there. Probabilities are
    there whenever the model was asked."""

    file: str
    digit: int | str | None = None
    """or the name of another class"""
    confidence: float | None = None
    second: int | str | None = None
    """what is next likely"""
    reason: str | None = None
    probabilities: tuple[float, ...] = ()
    box: tuple[int, int, int, int] | None = None
    """left, top, width and height of one of several digits, in the picture's own pixels"""

    def as_json(self, form: Form = DIGITS, every: bool = False) -> dict[str, Any]:
        """The answer of a model of that form: a ``digit``, or the ``label`` of another class; with the BOX of ``every``
        digit."""
        told = asdict(self)
        box = told.pop("box") or (None,) * len(BOX)
        told |= dict(zip(BOX, box, strict=True)) if every else {}
        return {_column(name, form): value for name, value in told.items()}


def _column(name: str, form: Form) -> str:
    return "label" if name == "digit" and form.classes != TEN else name


def columns(form: Form = DIGITS, every: bool = False) -> list[str]:
    """Of a file of answers."""
    return [*(_column(name, form) for name in COLUMNS), *(BOX if every else ())]


def find(paths: Iterable[str]) -> list[str]:
    """The pictures that these are: a folder is all below it, what names no file and has wildcards is a pattern.

    A path of which nothing is found stays as it is, for its answer to say so.
    """
    found: list[str] = []
    for path in paths:
        if Path(path).is_dir():
            inside = sorted(p for p in Path(path).rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
            found += [str(p) for p in inside] or [path]
        elif glob.has_magic(path) and not Path(path).exists():
            matching = glob.glob(path, recursive=True)  # noqa: PTH207  # Path.glob takes no absolute pattern
            found += sorted(p for p in matching if Path(p).is_file()) or [path]
        else:
            found.append(path)
    return found


def read(pictures: Sequence[str], onnx: Path, every: bool = False, in_processes: bool = True) -> Iterator[Answer]:
    """The answers of the model in file ``onnx``, in the pictures' order, on all cores that this process may use: one a
    picture, or one for ``every`` digit of it.

    Processes are the faster ones; a script that has no guard would be run by each of them, and has threads instead.
    """
    parts = [pictures[start : start + PART] for start in range(0, len(pictures), PART)]
    answers = partial(_answers, str(onnx), every=every)
    processes = min(len(os.sched_getaffinity(0)), len(parts))
    if processes == 1 or len(pictures) <= FEW:
        for part in parts:
            yield from answers(part)
        return
    if not in_processes:
        with ThreadPoolExecutor(processes) as threads:
            for some in threads.map(answers, parts):
                yield from some
        return
    context = multiprocessing.get_context("spawn")  # a fork would inherit the threads of this process's libraries
    pool = ProcessPoolExecutor(processes, context, signal.signal, (signal.SIGINT, signal.SIG_IGN))  # Ctrl-C is for us
    try:
        for some in pool.map(answers, parts):
            yield from some
    except BrokenProcessPool:
        raise BadInput(
            "a process that read pictures was killed, perhaps for want of memory: give fewer at once"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def of_images(images: np.ndarray, onnx: str) -> list[Answer]:
    """The answers to images that have the model's form already: uint8 (N, *shape)."""
    model = inference.open_model(onnx)
    rows = zip(*inference.answers(model, images), strict=True)
    return [_answer(inference.form(model), str(at), *row) for at, row in enumerate(rows)]


def _answers(onnx: str, pictures: Sequence[str], every: bool = False) -> list[Answer]:
    if every:
        return [answer for picture in pictures for answer in _every(onnx, picture)]
    reasons: dict[str, str] = {}
    images, form = [], inference.form(_model(onnx))
    for picture in pictures:
        try:
            images.append(kinds.framing(form.kind).frame(Path(picture), picture, form.shape))
        except BadInput as error:
            reasons[picture] = str(error).removeprefix(f"{picture}: ")
    rows = iter(zip(*inference.answers(_model(onnx), np.stack(images)), strict=True) if images else ())
    return [
        Answer(_name(picture), reason=reasons[picture]) if picture in reasons else _answer(form, picture, *next(rows))
        for picture in pictures
    ]


def _every(onnx: str, picture: str) -> list[Answer]:
    """The answers to each digit of one picture, in reading order."""
    form = inference.form(_model(onnx))
    try:
        found = sheet.frame(Path(picture), picture)
    except BadInput as error:
        return [Answer(_name(picture), reason=str(error).removeprefix(f"{picture}: "))]
    rows = zip(*inference.answers(_model(onnx), np.stack([one.image for one in found])), strict=True)
    return [replace(_answer(form, picture, *row), box=one.box) for one, row in zip(found, rows, strict=True)]


@cache
def _model(onnx: str) -> "onnxruntime.InferenceSession":
    cv2.setNumThreads(1)  # the other cores have pictures of their own
    return inference.open_model(onnx, threads=1)


def _answer(form: Form, picture: str, probabilities: np.ndarray, certainty: float) -> Answer:
    second, first = (int(place) for place in probabilities.argsort()[-2:])
    rounded = tuple(round(float(p), 6) for p in probabilities)
    if reason := inference.doubt(probabilities, certainty, form):
        return Answer(_name(picture), reason=reason, probabilities=rounded)
    return Answer(_name(picture), form.named(first), rounded[first], form.named(second), None, rounded)


def _name(picture: str) -> str:
    """A path that can be printed, whatever bytes its name has."""
    return os.fsencode(picture).decode(errors="replace")


# --- files of answers -------------------------------------------------------------------------------------------------


def saved(answers: Iterable[Answer], path: Path, form: Form = DIGITS, every: bool = False) -> Iterator[Answer]:
    """The answers, which are written to a csv, jsonl or parquet file on their way, a row each.

    The file appears whole at the end. :class:`BadInput` for another kind of file, before any answer is asked for.
    """
    write = WRITERS.get(path.suffix.lower())
    if write is None:
        raise BadInput(f"{path}: answers are written as {', '.join(WRITERS)}: end the name with one of them")
    return _saved(answers, path, write, form, every)


def _saved(answers: Iterable[Answer], path: Path, write: Writer, form: Form, every: bool) -> Iterator[Answer]:
    with files.atomic(path) as part, write(part, form, every) as add:
        for answer in answers:
            told = answer.as_json(form, every)
            told.pop("probabilities")
            add(told)
            yield answer


@contextmanager
def _csv(path: Path, form: Form, every: bool) -> Iterator[Add]:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns(form, every))
        writer.writeheader()
        yield writer.writerow


@contextmanager
def _jsonl(path: Path, form: Form, every: bool) -> Iterator[Add]:
    with path.open("w", encoding="utf-8") as file:
        yield lambda row: file.write(json.dumps(row) + "\n")


@contextmanager
def _parquet(path: Path, form: Form, every: bool) -> Iterator[Add]:
    import pyarrow as pa
    from pyarrow import parquet

    one = pa.int8() if form.classes == TEN else pa.string()
    types = [pa.string(), one, pa.float32(), one, pa.string(), *([pa.int32()] * len(BOX) if every else [])]
    schema = pa.schema(list(zip(columns(form, every), types, strict=True)))
    rows: list[dict[str, Any]] = []
    with parquet.ParquetWriter(path, schema) as writer:

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(rows, schema))
            rows.clear()

        def add(row: dict[str, Any]) -> None:
            rows.append(row)
            if len(rows) == ROW_GROUP:
                flush()

        yield add
        flush()


WRITERS: dict[str, Writer] = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}
