"""What does each image look like in numbers? Tables that are made once and read by every stage and room.

A row an image, in the split's order: ``hash`` (of its content, uint64), ``label``, ``minimum`` and ``maximum`` (grey
levels), and the FEATURES of its kind (:mod:`pipeline.data.kinds`). A split of several shards has a table for each.
"""

from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from pipeline.base import cluster, files, places
from pipeline.base.errors import BadInput
from pipeline.base.stored import Images
from pipeline.data import kinds, splits
from pipeline.data.splits import CHUNK, Part, Split

if TYPE_CHECKING:
    from pyarrow.dataset import Dataset

VERSION_KEY, ORIGIN_KEY = "digits.features", "digits.origin"  # in a Parquet file's metadata
LIBRARIES = ("numpy", "opencv-python-headless")  # that the numbers come from
OURS = ("hash", "label", "minimum", "maximum")  # the other columns are the FEATURES
SPLITS = ("train", "test", "recent")  # of data/raw
# In data/features: of each split, how many tables it has, where one has several. Readers of a folder of Parquet files
# pass by what begins so.
INDEX = "_tables.json"
SAMPLED = 100_000  # rows that stand for a split where a distribution is asked for


class Piece(NamedTuple):
    """A shard, or all of a split that is in one."""

    split: str
    part: Part
    kind: str
    origin: str
    """what its table comes from; empty of what was not digested"""

    @property
    def file(self) -> str:
        """The name of its table."""
        return _file(self.split, self.part.number, self.part.of)


def describe(split: Split, kind: str = "digits") -> pd.DataFrame:
    """The table of a split."""
    rows = pd.DataFrame(
        {
            "hash": splits.content_hashes(split.images),
            "label": np.asarray(split.labels).astype(np.uint16),
            "minimum": _reduced(split.images, np.min),
            "maximum": _reduced(split.images, np.max),
        }
    )
    return rows.join(measured(split.images, kind))


def pieces(kind: str) -> list[Piece]:
    """All that data/raw holds."""
    made_by = "".join([cluster.code(), kind, *map(metadata.version, LIBRARIES)])
    return [
        Piece(name, part, kind, files.sha256_text(made_by + part.shard.sha256) if part.shard else "")
        for name in SPLITS
        for part in splits.parts(places.RAW / name)
    ]


def describe_shard(piece: Piece, folder: Path) -> None:
    """Leave a shard's table in a folder."""
    table = describe(splits.load_shard(places.RAW / piece.split, piece.part), piece.kind)
    write(folder / piece.file, table, piece.kind, piece.origin)


def finish(folder: Path, described: Sequence[Piece]) -> None:
    """List how many tables each split has, if one has several."""
    counts = {piece.split: piece.part.of for piece in described}
    if max(counts.values()) > 1:
        files.write_json(folder / INDEX, counts)


def columns(kind: str) -> tuple[str, ...]:
    """Those of a table of images of that kind."""
    return (*OURS, *kinds.features(kind).FEATURES)


def measured(images: Images, kind: str) -> pd.DataFrame:
    """The FEATURES of each image: a float64 frame of N rows."""
    features = kinds.features(kind)
    return pd.DataFrame(features.measure(images), columns=list(features.FEATURES))


def _reduced(images: Images, reduce: Callable[..., Any]) -> np.ndarray:
    """``reduce`` over each image's pixels, read in chunks: uint8 (N,)."""
    within = tuple(range(1, images.ndim))
    parts = [reduce(images[start : start + CHUNK], axis=within) for start in range(0, len(images), CHUNK)]
    return np.concatenate(parts) if parts else np.empty(0, np.uint8)


def _file(name: str, number: int = 0, of: int = 1) -> str:
    return f"{name}.parquet" if of == 1 else f"{name}-{number:05}.parquet"


def save(name: str, table: pd.DataFrame, kind: str = "digits") -> None:
    """Leave the table of a split in data/features."""
    write(places.FEATURES / _file(name), table, kind)


def tables(name: str, workspace: Path = Path()) -> list[Path]:
    """The tables of the split ``name``, in its order; :class:`BadInput` if one is missing."""
    folder = workspace / places.FEATURES
    listed = folder / INDEX
    try:
        count = int(files.read_json(listed)[name]) if listed.is_file() else 1
    except (ValueError, TypeError, KeyError):
        raise BadInput(f"{listed} is no list of tables: remove {folder} and run `dvc repro`") from None
    found = [folder / _file(name, number, count) for number in range(count)]
    for path in found:
        if not path.is_file():
            raise BadInput(f"there is no {path}: run `dvc repro`")
    return found


def load(name: str, workspace: Path = Path(), columns: Sequence[str] | None = None) -> pd.DataFrame:
    """The rows of the split ``name``, with these columns or all; :class:`BadInput` if there is no table of it."""
    table = _dataset(name, workspace).to_table(columns)
    rows: pd.DataFrame = table.to_pandas(split_blocks=True, self_destruct=True)  # one copy at a time in memory
    return rows


def sample(name: str, workspace: Path = Path()) -> pd.DataFrame:
    """The rows of a split, or of a large one those SAMPLED with the lowest hashes, which are no more alike than any."""
    hashes = load(name, workspace, ["hash"])["hash"].to_numpy()
    if len(hashes) <= SAMPLED:
        return load(name, workspace)
    chosen = np.sort(np.argsort(hashes, kind="stable")[:SAMPLED])
    rows: pd.DataFrame = _dataset(name, workspace).take(chosen).to_pandas()
    return rows


def of_images(images: Images, name: str) -> pd.DataFrame:
    """The FEATURES of images of the split ``name``, found by their content: a row an image, in their order.

    KeyError if one does not stand there.
    """
    from pyarrow import compute

    hashes = splits.content_hashes(images)
    there = _dataset(name, Path()).to_table(filter=compute.field("hash").isin(np.unique(hashes))).to_pandas()
    known = there.drop_duplicates("hash").set_index("hash").drop(columns=list(OURS[1:]))
    return known.loc[hashes].reset_index(drop=True)


def _dataset(name: str, workspace: Path) -> "Dataset":
    from pyarrow import dataset

    return dataset.dataset([str(path) for path in tables(name, workspace)], format="parquet")


def write(path: Path, table: pd.DataFrame, kind: str = "digits", origin: str = "") -> None:
    """Write a table as Parquet, with the version of the features in it, and what it comes from."""
    import pyarrow
    from pyarrow import parquet

    columns = pyarrow.Table.from_pandas(table, preserve_index=False)
    told = {VERSION_KEY: str(kinds.features(kind).VERSION), **({ORIGIN_KEY: origin} if origin else {})}
    with files.atomic(path) as part:
        parquet.write_table(columns.replace_schema_metadata({**(columns.schema.metadata or {}), **told}), part)


def origin(path: Path) -> str | None:
    """What the table at ``path`` comes from; None if there is none, or it does not say."""
    import pyarrow
    from pyarrow import parquet

    try:
        told = parquet.read_schema(path).metadata or {}
    except (OSError, pyarrow.ArrowInvalid):
        return None
    return told[ORIGIN_KEY.encode()].decode() if ORIGIN_KEY.encode() in told else None
