"""How are more images looked at than memory holds? As an array that is read where it is looked at.

NumPy's memory map of one file would do for that, but for two things: several files are not one array to it, and what
was once read through it counts as this process's memory for as long as it is open.
"""

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

Key = int | np.integer | slice | np.ndarray | list[int] | list[bool]


class Stored:
    """Images that lie somewhere, as uint8 (N, *shape): what is taken out of them, in any of an array's ways along the
    first axis, is an array in memory."""

    dtype = np.dtype(np.uint8)

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Key) -> np.ndarray:
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            return self._range(start, max(start, stop)) if step == 1 else self._rows(np.arange(start, stop, step))
        if isinstance(key, int | np.integer):
            row = int(key) + (len(self) if key < 0 else 0)
            if not 0 <= row < len(self):
                raise IndexError(f"{key} of {len(self)} images")
            image: np.ndarray = self._range(row, row + 1)[0]
            return image
        return self._rows(self._places(key))

    def _places(self, key: np.ndarray | list[int] | list[bool]) -> np.ndarray:
        """The places int64 (M,) from 0 on that a list, an array or a mask means; IndexError as NumPy has it."""
        rows, count = np.asarray(key), len(self)
        if not rows.size and isinstance(key, list):  # of floats, to NumPy
            return np.empty(0, np.int64)
        if rows.dtype == bool and rows.shape == (count,):
            return np.flatnonzero(rows)
        if rows.dtype.kind not in "iu" or rows.ndim != 1:
            raise IndexError(f"{rows.dtype} {rows.shape} is no index of {count} images")
        rows = rows.astype(np.int64)
        if (outside := (rows < -count) | (rows >= count)).any():
            raise IndexError(f"{rows[outside][0]} of {count} images")
        return np.where(rows < 0, rows + count, rows)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)

    def _range(self, start: int, stop: int) -> np.ndarray:
        raise NotImplementedError

    def _rows(self, rows: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class InFile(Stored):
    """The images that fill a file from ``offset`` on: of a .npy or IDX file, which have a header before them. It is
    mapped for as long as a look takes."""

    def __init__(self, file: Path | BinaryIO, shape: tuple[int, ...], offset: int) -> None:
        super().__init__(shape)
        self.file, self.offset = file, offset

    def _range(self, start: int, stop: int) -> np.ndarray:
        return np.array(self._mapped()[start:stop])

    def _rows(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(self._mapped()[rows])

    def _mapped(self) -> np.ndarray:
        if not self.nbytes:
            return np.empty(self.shape, np.uint8)
        return np.memmap(self.file, np.uint8, "r", self.offset, self.shape)


class Collected:
    """Images as they come: in memory if all of them take no more than ``room`` bytes, else in a temporary file (TMPDIR
    says where), which is gone when nobody looks at them any more."""

    def __init__(self, most: int, shape: tuple[int, ...], room: int) -> None:
        self.shape, self.count = shape, 0
        few = most * math.prod(shape) <= room
        self.place: np.ndarray | BinaryIO = (
            np.empty((most, *shape), np.uint8) if few else tempfile.TemporaryFile()  # noqa: SIM115  # the images' own
        )

    def add(self, image: np.ndarray) -> None:
        """uint8 ``shape``"""
        if isinstance(self.place, np.ndarray):
            self.place[self.count] = image
        else:
            self.place.write(np.ascontiguousarray(image).data)
        self.count += 1

    def images(self) -> "Images":
        """Those that came: uint8 (N, *shape)."""
        if isinstance(self.place, np.ndarray):
            return self.place[: self.count]
        self.place.flush()
        return InFile(self.place, (self.count, *self.shape), 0)


class Joined(Stored):
    """Images of several arrays, one after the other."""

    def __init__(self, parts: Sequence["Images"]) -> None:
        super().__init__((sum(map(len, parts)), *parts[0].shape[1:]))
        self.parts = parts
        self.starts = np.cumsum([0, *map(len, parts)])

    def _range(self, start: int, stop: int) -> np.ndarray:
        ends = zip(self.parts, self.starts, self.starts[1:], strict=False)
        found = [
            part[max(start - first, 0) : stop - first] for part, first, last in ends if first < stop and start < last
        ]
        return np.concatenate(found) if found else np.empty((0, *self.shape[1:]), np.uint8)

    def _rows(self, rows: np.ndarray) -> np.ndarray:
        found = np.empty((len(rows), *self.shape[1:]), np.uint8)
        of = np.searchsorted(self.starts, rows, "right") - 1
        for number in np.unique(of):
            here = of == number
            found[here] = self.parts[number][rows[here] - self.starts[number]]
        return found


class Chosen(Stored):
    """Some of other images, by their places int64 (N,) there."""

    def __init__(self, images: Stored, places: np.ndarray) -> None:
        super().__init__((len(places), *images.shape[1:]))
        self.images, self.places = images, places

    def _range(self, start: int, stop: int) -> np.ndarray:
        return self.images[self.places[start:stop]]

    def _rows(self, rows: np.ndarray) -> np.ndarray:
        return self.images[self.places[rows]]


Images = np.ndarray | Stored
