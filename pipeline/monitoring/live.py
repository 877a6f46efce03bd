"""What was the champion asked, and what did it answer? An append-only store of the images seen in use, in SQLite.

A row an image: its features, the answer and confidence, who gave it, what the challenger would have said, and, where
that is allowed, the image. Corrections by people stand in a table of their own and become a labelled batch. The file
has a limit of which corrections may take half, so that neither table is emptied for the other's sake: the oldest rows
of what was seen go, and corrections that went into a batch; those that wait for one stay, and more are refused. SQLite
rather than Parquet because rows come a few at a time, are looked up by their id and are read by another process at the
same moment; `python -m benchmarks.serving` measures what it costs.
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
MOST_NAMED = 64  # characters of who corrected
NONE = ""  # the class of what a person says shows none of them: it is kept, and never trained on
_BEFORE, _AFTER = ("id", "at", "model", "version"), ("answer", "confidence", "challenger", "shadow", "image")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS seen (
    number INTEGER PRIMARY KEY, id TEXT, at TEXT, model TEXT, version TEXT,
    answer INTEGER, confidence REAL, challenger TEXT, shadow INTEGER, image BLOB);
CREATE INDEX IF NOT EXISTS seen_id ON seen (id);
CREATE TABLE IF NOT EXISTS corrections (
    id TEXT PRIMARY KEY, at TEXT, model TEXT, version TEXT, answer INTEGER, class TEXT, kind TEXT, pixels TEXT,
    by TEXT, image BLOB, bytes INTEGER, batch TEXT);
"""
_INDEX = "CREATE INDEX IF NOT EXISTS corrections_bytes ON corrections (id, bytes) WHERE batch IS NULL"
# Earlier releases kept the index of a class: of a digit that is its name, of others nobody knows any more.
_NAMED = (
    "DROP INDEX IF EXISTS corrections_waiting",
    *(f"ALTER TABLE corrections ADD COLUMN {of}" for of in ("class TEXT", "kind TEXT", "pixels TEXT", "bytes INTEGER")),
    "UPDATE corrections SET class = label, kind = 'digits', pixels = '28×28' WHERE length(image) = 784",
    "UPDATE corrections SET bytes = room(image, coalesce(class, ''))",
)


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
        if not _columns(connection).issuperset(wanted) or "class" not in _columns(connection, "corrections"):
            _bring_up_to_date(connection, wanted)
        with connection:
            yield connection


def _columns(connection: sqlite3.Connection, table: str = "seen") -> set[str]:
    return {name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")}


def _bring_up_to_date(connection: sqlite3.Connection, wanted: Iterable[str]) -> None:
    """Make the tables; in a store of earlier features, or of another kind's, the columns that it lacks, empty in the
    rows that are there."""
    connection.executescript(_SCHEMA)
    connection.execute("BEGIN IMMEDIATE")  # another process may be at the same
    there = _columns(connection)
    for name in wanted:
        if name not in there:
            connection.execute(f"ALTER TABLE seen ADD COLUMN {name} REAL")
    connection.create_function("room", 2, _room, deterministic=True)
    for statement in _NAMED if "class" not in _columns(connection, "corrections") else ():
        connection.execute(statement)
    connection.execute(_INDEX)
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
    newest = "SELECT id, sum(bytes) OVER (ORDER BY batch IS NULL DESC, at DESC, id) AS taken FROM corrections"
    connection.execute(
        f"DELETE FROM corrections WHERE id IN (SELECT id FROM ({newest}) WHERE taken > ?)",  # noqa: S608
        (CORRECTIONS * max_bytes,),
    )


def _room(image: bytes, name: str) -> int:
    """Bytes that a correction takes at most, with its place in the indexes: small ones stand three a page, and a large
    one begins and ends on pages of its own."""
    content = len(image) + len(name.encode())
    return content + 615 + (0 if content < 850 else 4096)


def _used(connection: sqlite3.Connection) -> int:
    """Bytes of the file that hold something."""
    names = ("page_count", "freelist_count", "page_size")
    pages, free, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names)
    return int((pages - free) * size)


def correct(
    connection: sqlite3.Connection, seen: Seen, label: int | None, by: str, max_bytes: int, form: Form = DIGITS
) -> None:
    """Keep a person's word on one image, None if it shows none of the classes; a later word on the same image takes
    the place of the earlier one.

    :class:`InBatch` if the image is in a batch with another label: there it can only be mended by a further batch.
    :class:`Full` if a file of ``max_bytes`` has no room for it.
    """
    identity = seen.ids[0]
    name, image = NONE if label is None else form.classes[label], seen.images[0].tobytes()
    row = connection.execute("SELECT batch, class FROM corrections WHERE id = ? AND batch IS NOT NULL", (identity,))
    if filed := row.fetchone():
        if filed[1] != name:
            was = filed[1] or "none of the classes"
            raise InBatch(f"{identity} went into batch {filed[0]} as {was}: predict it again, then correct that")
        return
    others = "SELECT count(*), total(bytes) FROM corrections WHERE batch IS NULL AND id != ?"
    count, taken = connection.execute(others, (identity,)).fetchone()
    if taken + _room(image, name) > CORRECTIONS * max_bytes:
        raise Full(f"{count} corrections wait, and there is no room for more: `digits add-batch --corrections` first")
    of_answer = {"id": identity, "at": clock.now(), "model": seen.model, "version": seen.version}
    of_class = {"answer": int(seen.answers[0]), "class": name, "kind": form.kind, "pixels": form.pixels}
    values = of_answer | of_class | {"by": by[:MOST_NAMED], "image": image, "bytes": _room(image, name)}
    marks = ", ".join(f":{column}" for column in values)
    connection.execute(f"INSERT OR REPLACE INTO corrections ({', '.join(values)}) VALUES ({marks})", values)  # noqa: S608


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
    that model, or of any, whose images and classes are of that form."""
    found = connection.execute(
        "SELECT id, class, image FROM corrections WHERE batch IS NULL AND (?1 IS NULL OR model = ?1)"
        " AND kind = ?2 AND pixels = ?3 ORDER BY at, id",
        (model, form.kind, form.pixels),
    )
    label = {name: index for index, name in enumerate(form.classes)}
    rows = [row for row in found if row[1] in label]
    images = np.stack([_image(row[2], form.shape) for row in rows]) if rows else np.empty((0, *form.shape), np.uint8)
    return [row[0] for row in rows], Split(images, np.array([label[row[1]] for row in rows], form.labels))


def none_of_them(connection: sqlite3.Connection, form: Form = DIGITS) -> tuple[list[str], np.ndarray]:
    """The ids and the images of that form of which people say, since the last batch, that they show none of the
    classes: uint8 (N, *shape)."""
    rows = connection.execute(
        "SELECT id, image FROM corrections WHERE batch IS NULL AND class = ? AND kind = ? AND pixels = ?",
        (NONE, form.kind, form.pixels),
    ).fetchall()
    images = [_image(image, form.shape) for _, image in rows]
    return [row[0] for row in rows], np.stack(images) if images else np.empty((0, *form.shape), np.uint8)


def people(connection: sqlite3.Connection, ids: Sequence[str]) -> list[str]:
    """Who made each of these corrections."""
    by = dict(connection.execute("SELECT id, by FROM corrections").fetchall())
    return [by[identity] or "" for identity in ids]


def filed_by_person(connection: sqlite3.Connection) -> Counter[str]:
    """How many corrections of each person went into batches."""
    return Counter(
        by or ""
        for (by,) in connection.execute(
            "SELECT by FROM corrections WHERE batch IS NOT NULL AND class IS NOT ?", (NONE,)
        )
    )


def file_under(connection: sqlite3.Connection, ids: Sequence[str], classes: Iterable[str], batch: str) -> None:
    """Note that these corrections, to classes of these names, went into that batch; one that was changed since waits
    for the next."""
    connection.executemany(
        "UPDATE corrections SET batch = ? WHERE id = ? AND class = ? AND batch IS NULL",
        [(batch, identity, name) for identity, name in zip(ids, classes, strict=True)],
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


def waiting(model: str, version: str, after: int, most: int, path: Path | None = None) -> int:
    """How many images the version answered after row ``after``; no more than ``most`` are counted. The store is looked
    at alone, and not waited for: sqlite3.Error if it is busy."""
    path = path or places.home() / places.SEEN
    if not path.is_file():
        return 0
    with closing(_read_only(path, wait=0.0)) as connection:
        newest = connection.execute("SELECT max(number) FROM seen").fetchone()[0] or 0
        after = after if after <= newest else 0  # as for a window
        query = "SELECT 1 FROM seen WHERE model = ? AND version = ? AND number > ? ORDER BY number DESC LIMIT ?"
        found = connection.execute(f"SELECT count(*) FROM ({query})", (model, version, after, most))  # noqa: S608
        return int(found.fetchone()[0])


def answered_last() -> str | None:
    """The registered model whose answer is the last that is remembered; None if nothing is."""
    path = places.home() / places.SEEN
    if not path.is_file():
        return None
    with closing(_read_only(path, WAIT_SECONDS)) as connection:
        row = connection.execute("SELECT model FROM seen ORDER BY number DESC LIMIT 1").fetchone()
    return row[0] if row else None


def _read_only(path: Path, wait: float) -> sqlite3.Connection:
    """The store as it is: nothing is made or brought up to date."""
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", timeout=wait, uri=True)


def disagreements(connection: sqlite3.Connection, model: str, version: str, challenger: str) -> dict[str, Any]:
    """How often the challenger, answering in shadow, said something else than the champion."""
    compared, differ = connection.execute(
        "SELECT count(*), total(answer != shadow) FROM seen WHERE model = ? AND version = ? AND challenger = ?",
        (model, version, challenger),
    ).fetchone()
    return {"compared": compared, "differ": int(differ)}


def _image(content: bytes, shape: tuple[int, ...]) -> np.ndarray:
    return np.frombuffer(content, np.uint8).reshape(shape)
