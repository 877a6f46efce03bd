"""What does each image look like in numbers? Tables that are made once and read by every stage and room.

A row an image, in the split's order: ``hash`` (of its content, uint64), ``label``, ``minimum`` and ``maximum`` (grey
levels), and the FEATURES of its kind (:mod:`pipeline.data.kinds`).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.base import files, places
from pipeline.base.errors import BadInput
from pipeline.data import kinds, splits
from pipeline.data.splits import Split

CHUNK = 4096  # images at once
VERSION_KEY = "digits.features"  # in a Parquet file's metadata
OURS = ("hash", "label", "minimum", "maximum")  # the other columns are the FEATURES


def describe(split: Split, kind: str = "digits") -> pd.DataFrame:
    """The table of a split."""
    rows = pd.DataFrame(
        {
            "hash": splits.content_hashes(split.images),
            "label": np.asarray(split.labels).astype(np.int64),
            "minimum": _reduced(split.images, np.min),
            "maximum": _reduced(split.images, np.max),
        }
    )
    return rows.join(measured(split.images, kind))


def measured(images: np.ndarray, kind: str) -> pd.DataFrame:
    """The FEATURES of each image: a float64 frame of N rows."""
    features = kinds.features(kind)
    return pd.DataFrame(features.measure(images), columns=list(features.FEATURES))


def _reduced(images: np.ndarray, reduce: Callable[..., Any]) -> np.ndarray:
    """``reduce`` over each image's pixels, read in chunks: int64 (N,)."""
    within = tuple(range(1, images.ndim))
    parts = [reduce(images[start : start + CHUNK], axis=within) for start in range(0, len(images), CHUNK)]
    return np.concatenate(parts).astype(np.int64) if parts else np.empty(0, np.int64)


def save(name: str, table: pd.DataFrame, kind: str = "digits") -> None:
    """Leave the table of the split ``name`` in data/features."""
    write(places.FEATURES / f"{name}.parquet", table, kind)


def load(name: str, workspace: Path = Path()) -> pd.DataFrame:
    """The table of the split ``name``; :class:`BadInput` if it is missing."""
    path = workspace / places.FEATURES / f"{name}.parquet"
    if not path.is_file():
        raise BadInput(f"there is no {path}: run `dvc repro`")
    return pd.read_parquet(path)


def write(path: Path, table: pd.DataFrame, kind: str = "digits") -> None:
    """Write a table as Parquet, with the version of the features in it."""
    import pyarrow
    from pyarrow import parquet

    columns = pyarrow.Table.from_pandas(table, preserve_index=False)
    version = {VERSION_KEY: str(kinds.features(kind).VERSION)}
    with files.atomic(path) as part:
        parquet.write_table(columns.replace_schema_metadata({**(columns.schema.metadata or {}), **version}), part)


def of_images(images: np.ndarray, *tables: pd.DataFrame) -> pd.DataFrame:
    """The FEATURES of images that stand in the tables, found by their content: a row an image, in their order.

    KeyError if one does not stand there.
    """
    known = pd.concat(tables).drop_duplicates("hash").set_index("hash").drop(columns=list(OURS[1:]))
    return known.loc[splits.content_hashes(images)].reset_index(drop=True)
