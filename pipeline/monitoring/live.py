"""What was the champion asked, and what did it answer? An append-only store of the images seen in use, in SQLite.

A row an image: its features, the answer and confidence, who gave it, what the challenger would have said, and, where
that is allowed, the image. Corrections by people stand in a table of their own and become a labelled batch. The file
has a limit of which corrections may take half, so that neither table is emptied for the other's sake: the oldest rows
of what was seen go, and corrections that went into a batch; those that wait for one stay, and more are refused. SQLite
rather than Parquet because rows come a few at a time, are looked up by their id and are read by another process at the
same moment; see benchmarks/serving.py for what it costs.
"""

from __future__ import annotations

import math
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pipeline.base import clock, files, places
from pipeline.base.errors import BadInput
from pipeline.base.form import DIGITS, Form
from pipeline.data import kinds
from pipeline.data.splits import Split

if TYPE_CHECKING:  # the service writes; only the monitor reads tables
    import pandas as pd

WAIT_SECONDS = 10.0  # for another process's write
SPARED = 0.1  # share of the rows that goes when the file is full
CORRECTIONS = 0.5  # share of the file that they may take
CORRECTION_BYTES = 1_400  # of one at most, with its image and its place in the indexes: three a page
MOST_NAMED = 64  # characters of who corrected
_BEFORE, _AFTER = ("id", "at", "model", "version"), ("answer", "confidence", "challenger", "shadow", "image")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS seen (
    number INTEGER PRIMARY KEY, id TEXT, at TEXT, model TEXT, version TEXT,
    answer INTEGER, confidence REAL, challenger TEXT, shadow INTEGER, image BLOB);
CREATE INDEX IF NOT EXISTS seen_id ON seen (id);
CREATE TABLE IF NOT EXISTS corrections (
    id TEXT PRIMARY KEY, at TEXT, model TEXT, version TEXT, answer INTEGER, label INTEGER, by TEXT, image BLOB,
    batch TEXT);
CREATE INDEX IF NOT EXISTS corrections_waiting ON corrections (id) WHERE batch IS NULL;
"""


class Seen(NamedTuple):
    """Images that one version answered: all of a length, ``images`` uint8 (N, *shape)."""

    ids: list[str]
    at: str
    model: str
    version: str
    images: np.ndarray
    answers: np.ndarray
    confidences: np.ndarray
    challenger: str | None = None
    shadows: np.ndarray | None = None
    """the challenger's answers"""


class InBatch(BadInput):
    """The image is in a batch already, under another label."""


class Full(BadInput):
    """So many corrections wait that there is no room for another one."""


@contextmanager
def store(path: Path | None = None, kind: str = DIGITS.kind) -> Iterator[sqlite3.Connection]:
    """The store, made if it is not there, with columns for the FEATURES of images of that kind; what is done in the
    block is committed whole, or not at all."""
    path = path or places.home() / places.SEEN
    files.private_file(path)  # what people draw and who they are is nobody else's business; SQLite's files follow it
    with closing(sqlite3.connect(path, timeout=WAIT_SECONDS)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        wanted = kinds.features(kind).FEATURES
        if not _columns(connection).issuperset(wanted):
            _bring_up_to_date(connection, wanted)
        with connection:
            yield connection


def _columns(connection: sqlite3.Connection) -> set[str]:
    return {name for _, name, *_ in connection.execute("PRAGMA table_info(seen)")}


def _bring_up_to_date(connection: sqlite3.Connection, wanted: Iterable[str]) -> None:
    """Make the tables; in a store of earlier features, or of another kind's, the columns that it lacks, empty in the
    rows that are there."""
    connection.executescript(_SCHEMA)
    connection.execute("BEGIN IMMEDIATE")  # another process may be at the same
    there = _columns(connection)
    for name in wanted:
        if name not in there:
            connection.execute(f"ALTER TABLE seen ADD COLUMN {name} REAL")
    connection.commit()


def write(
    connection: sqlite3.Connection,
    seen: Sequence[Seen],
    measured: np.ndarray,
    keep_images: bool,
    kind: str = DIGITS.kind,
) -> None:
    """Append the rows; ``measured`` float64 (N, features) are the FEATURES of all their images."""
    columns = (*_BEFORE, *kinds.features(kind).FEATURES, *_AFTER)
    values = measured.tolist()
    rows, row = [], 0
    for part in seen:
        shadows = [None] * len(part.ids) if part.shadows is None else part.shadows.tolist()
        for index, identity in enumerate(part.ids):
            image = part.images[index].tobytes() if keep_images else None
            found = (int(part.answers[index]), float(part.confidences[index]), part.challenger, shadows[index], image)
            rows.append((identity, part.at, part.model, part.version, *values[row], *found))
            row += 1
    marks = ", ".join("?" * len(columns))
    connection.executemany(f"INSERT INTO seen ({', '.join(columns)}) VALUES ({marks})", rows)  # noqa: S608


def spare(connection: sqlite3.Connection, max_bytes: int) -> None:
    """Let the oldest rows go if the file is larger than that; SQLite uses their room again."""
    if _used(connection) > max_bytes:
        _spare_corrections(connection, max_bytes)
    while _used(connection) > max_bytes:
        first, last = connection.execute("SELECT min(number), max(number) FROM seen").fetchone()
        if first is None:
            return
        connection.execute("DELETE FROM seen WHERE number <= ?", (first + int(SPARED * (last - first)),))


def _spare_corrections(connection: sqlite3.Connection, max_bytes: int) -> None:
    """Let the oldest beyond their share go, first of all those that are in a batch. There are others to go, or longer
    names, only where the limit was lowered, or an older release kept them."""
    connection.execute("UPDATE corrections SET by = substr(by, 1, ?1) WHERE length(by) > ?1", (MOST_NAMED,))
    (count,) = connection.execute("SELECT count(*) FROM corrections").fetchone()
    oldest = "SELECT id FROM corrections ORDER BY batch IS NULL, at LIMIT ?"
    too_many = max(count - most_corrections(max_bytes), 0)
    connection.execute(f"DELETE FROM corrections WHERE id IN ({oldest})", (too_many,))  # noqa: S608


def most_corrections(max_bytes: int) -> int:
    """So many a file of that limit may hold."""
    return int(CORRECTIONS * max_bytes / CORRECTION_BYTES)


def _used(connection: sqlite3.Connection) -> int:
    """Bytes of the file that hold something."""
    names = ("page_count", "freelist_count", "page_size")
    pages, free, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names)
    return int((pages - free) * size)


def correct(
    connection: sqlite3.Connection, seen: Seen, label: int, by: str, max_bytes: int, form: Form = DIGITS
) -> None:
    """Keep a person's word on one image; a later word on the same image takes the place of the earlier one.

    :class:`InBatch` if the image is in a batch with another label: there it can only be mended by a further batch.
    :class:`Full` if a file of ``max_bytes`` has no room for it.
    """
    identity = seen.ids[0]
    row = connection.execute("SELECT batch, label FROM corrections WHERE id = ? AND batch IS NOT NULL", (identity,))
    if filed := row.fetchone():
        if filed[1] != label:
            raise InBatch(
                f"{identity} went into batch {filed[0]} as {form.a(filed[1])}: predict it again, then correct that"
            )
        return
    others = connection.execute("SELECT count(*) FROM corrections WHERE batch IS NULL AND id != ?", (identity,))
    if (count := others.fetchone()[0]) >= most_corrections(max_bytes):
        raise Full(f"{count} corrections wait, and there is no room for more: `digits add-batch --corrections` first")
    connection.execute(
        "INSERT OR REPLACE INTO corrections VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)",
        (
            *(identity, clock.now(), seen.model, seen.version),
            *(int(seen.answers[0]), label, by[:MOST_NAMED], seen.images[0].tobytes()),
        ),
    )


def find(connection: sqlite3.Connection, identity: str, shape: tuple[int, ...] = DIGITS.shape) -> Seen | None:
    """The image of that id and shape, if it was kept."""
    row = connection.execute(
        "SELECT at, model, version, answer, confidence, image FROM seen WHERE id = ? AND image IS NOT NULL", (identity,)
    ).fetchone()
    if row is None:
        return None
    at, model, version, answer, confidence, image = row
    if len(image) != math.prod(shape):
        return None
    return Seen([identity], at, model, version, _image(image, shape)[None], np.array([answer]), np.array([confidence]))


def corrections(
    connection: sqlite3.Connection, model: str | None = None, form: Form = DIGITS
) -> tuple[list[str], Split]:
    """The ids and the labelled images of the corrections that are in no batch yet, oldest first: those of answers of
    that model, or of any of its form."""
    rows = connection.execute(
        "SELECT id, label, image FROM corrections WHERE batch IS NULL AND (?1 IS NULL OR model = ?1)"
        " AND length(image) = ?2 AND label < ?3 ORDER BY at, id",
        (model, math.prod(form.shape), len(form.classes)),
    ).fetchall()
    images = np.stack([_image(row[2], form.shape) for row in rows]) if rows else np.empty((0, *form.shape), np.uint8)
    return [row[0] for row in rows], Split(images, np.array([row[1] for row in rows], form.labels))


def people(connection: sqlite3.Connection, ids: Sequence[str]) -> list[str]:
    """Who made each of these corrections."""
    by = dict(connection.execute("SELECT id, by FROM corrections").fetchall())
    return [by[identity] or "" for identity in ids]


def filed_by_person(connection: sqlite3.Connection) -> Counter[str]:
    """How many corrections of each person went into batches."""
    return Counter(by or "" for (by,) in connection.execute("SELECT by FROM corrections WHERE batch IS NOT NULL"))


def file_under(connection: sqlite3.Connection, ids: Sequence[str], labels: Iterable[int], batch: str) -> None:
    """Note that these corrections went into that batch; one that was changed since waits for the next."""
    connection.executemany(
        "UPDATE corrections SET batch = ? WHERE id = ? AND label = ? AND batch IS NULL",
        [(batch, identity, int(label)) for identity, label in zip(ids, labels, strict=True)],
    )


def window(
    connection: sqlite3.Connection, model: str, version: str, after: int, most: int, form: Form = DIGITS
) -> tuple[int, pd.DataFrame]:
    """The last rows, at most ``most``, that the version answered after row ``after``: the number of the last one, and
    the columns that :func:`pipeline.data.comparison.answered` gives. In a store that was begun anew since then, all
    count."""
    import pandas as pd

    newest = connection.execute("SELECT max(number) FROM seen").fetchone()[0] or 0
    after = after if after <= newest else 0
    features = kinds.features(form.kind).FEATURES
    query = f"""SELECT number, {", ".join(features)}, answer, confidence FROM seen
        WHERE model = ? AND version = ? AND number > ? ORDER BY number DESC LIMIT ?"""  # noqa: S608
    frame = pd.read_sql_query(query, connection, params=(model, version, after, most)).iloc[::-1]
    last = int(frame["number"].iloc[-1]) if len(frame) else after
    lacking = [name for name in features if len(frame) and frame[name].isna().all()]  # older rows lack a later feature
    whole = frame.drop(columns=["number", *lacking]).dropna()
    return last, whole.astype({"answer": str}).reset_index(drop=True)


def disagreements(connection: sqlite3.Connection, model: str, version: str, challenger: str) -> dict[str, Any]:
    """How often the challenger, answering in shadow, said something else than the champion."""
    compared, differ = connection.execute(
        "SELECT count(*), total(answer != shadow) FROM seen WHERE model = ? AND version = ? AND challenger = ?",
        (model, version, challenger),
    ).fetchone()
    return {"compared": compared, "differ": int(differ)}


def _image(content: bytes, shape: tuple[int, ...]) -> np.ndarray:
    return np.frombuffer(content, np.uint8).reshape(shape)
