"""How are labelled images read from a CSV file? A line an image, a column a pixel, in chunks; and the label beside.

Labels are read as text, and what they are is decided once the whole file is read: numbers where all are.
"""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.base import files
from pipeline.base.errors import BadInput, brief, printable
from pipeline.base.form import DIGITS
from pipeline.data.datasets import bounds
from pipeline.data.datasets.decoders import Arrays, Loaded, Source, formed, local, offending, one_file, with_test

SAID = 100  # characters of a cell
CHUNK = 4096  # lines in memory before they are images
_NUMBERED = re.compile(r"pixel(\d+)")


def load_csv(source: Source) -> Loaded:
    """train.csv with a header ``label,pixel0,pixel1…`` (or from pixel1), then a line an image, colours side by side:
    Kaggle's Digit Recognizer, or of any size that ``images`` in params.yaml says."""
    path = one_file(local(source.ingest, "csv"), "train.csv")
    (whole,), form = formed([read(path, source)], source)
    train, test = with_test(whole, None, source.ingest.test_share, str(path))
    return Loaded("csv", "local folder", train, test, {path.name: files.sha256_file(path)}, form)


def read(path: Path, source: Source) -> Arrays:
    """All images of a CSV file; :class:`BadInput` names the line and column of the first wrong cell."""
    import pandas as pd

    shape, allowed = source.images.shape, bounds.of(source.ingest)
    pixels, labels = [np.empty((0, math.prod(shape)), np.uint8)], [np.empty(0, str)]
    with bounds.opened(path, allowed) as file:
        bounds.check_lines(file, allowed, str(path), math.prod(shape))
        file.seek(0)
        try:  # no filter for missing values, no skipping of blank lines: a wrong cell is found where it stands
            for table in pd.read_csv(
                file,
                chunksize=CHUNK,
                dtype={"label": str},
                na_filter=False,
                skip_blank_lines=False,
                compression=None,
            ):
                pixels.append(_pixels(table, sum(map(len, labels)), path, source))
                labels.append(table["label"].to_numpy().astype(str))
        except (ValueError, OverflowError) as error:  # pandas' own are ValueErrors: no header, too many cells, not text
            raise BadInput(f"{path}: is not a CSV file of label,pixel0… ({brief(error)}): mend it") from None
    named = np.concatenate(labels)
    numbers = _numeric(named)
    labelled = named if np.isnan(numbers).any() else numbers
    return Arrays(np.concatenate(pixels).reshape(-1, *shape), labelled, str(path))


def _pixels(table: Any, before: int, path: Path, source: Source) -> np.ndarray:
    """A pandas table's pixels, uint8 (rows, values), and where labels can be digits alone, a look at these too;
    ``before`` rows of the file stood above it."""
    columns = _columns(table, before, path, source)
    checked = table[["label", *columns]] if _of_digits(source) else table[columns]
    text = [column for column, kind in checked.dtypes.items() if kind.kind not in "uif"]
    numbers = checked.assign(**{column: _numeric(checked[column]) for column in text})
    values = numbers.to_numpy(np.float64) if text else numbers.to_numpy()
    offends = offending(values, np.array([9 if column == "label" else 255 for column in checked.columns]))
    if offends.any():
        row, column = np.argwhere(offends)[0]
        needed = "whole numbers 0–9" if _of_digits(source) else "names or whole numbers"
        cell = printable(str(checked.iloc[row, column]))[:SAID]
        raise BadInput(
            f"{path}: line {before + row + 2}: {checked.columns[column]} is '{cell}': labels must be {needed} and "
            "pixels 0–255"
        )
    return values[:, -len(columns) :].astype(np.uint8)


def _columns(table: Any, before: int, path: Path, source: Source) -> list[str]:
    """The names of the pixels' columns, in their order."""
    import pandas as pd

    first = 0 if "pixel0" in table.columns or "pixel1" not in table.columns else 1
    columns = [f"pixel{first + at}" for at in range(math.prod(source.images.shape))]
    missing = [column for column in ("label", *columns) if column not in table.columns]
    if missing:
        raise BadInput(
            f"{path}: lacks {len(missing)} columns, the first is {missing[0]}: label,{columns[0]}…{columns[-1]} are "
            "needed"
        )
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes surplus cells for row names
        raise BadInput(f"{path}: line {before + 2} has more cells than the header: mend it")
    more = sum(_NUMBERED.fullmatch(str(name)) is not None for name in table.columns) - len(columns)
    if more and source.images.kind != "digits":
        raise BadInput(f"{path}: has {more} more pixels than images in params.yaml say: set height, width and channels")
    return columns


def _numeric(column: Any) -> np.ndarray:
    """Its numbers, NaN where there is none."""
    import pandas as pd

    numbers: np.ndarray = np.asarray(pd.to_numeric(column, errors="coerce"))
    return numbers


def _of_digits(source: Source) -> bool:
    """Whether labels are the ten digits and nothing else."""
    names = source.known or source.images.classes or DIGITS.classes
    return source.images.kind == "digits" and tuple(names) == DIGITS.classes
