"""How are labelled images read from files? IDX, npz, CSV, and folders of pictures.

Every decoder ends in :func:`check`, so that what leaves here is uint8, 28×28, labelled 0 to 9, whole; whatever is
not raises :class:`BadInput` with a line that names the file. What a file declares is held against
:mod:`pipeline.data.datasets.bounds` before it is decoded.
"""

import hashlib
import io
import itertools
import math
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from tqdm import tqdm

from pipeline.base import files
from pipeline.base.errors import BadInput
from pipeline.base.params import Ingest
from pipeline.data import splits
from pipeline.data.datasets import bounds
from pipeline.data.datasets.bounds import Bounds, brief
from pipeline.data.splits import Split
from pipeline.digits import framing
from pipeline.digits.image import CLASSES, SIDE

IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
PIXELS = [f"pixel{i}" for i in range(SIDE * SIDE)]
FINDINGS = 20  # that are told one by one
CHUNK = 4096  # rows or images looked at in one go
MNIST_RIM = 64  # grey level: an image's rim that is darker on average is paper of MNIST's polarity


class Loaded(NamedTuple):
    name: str
    source: str
    """A local folder, a package, or the mirrors' URLs."""
    train: Split
    test: Split
    files: dict[str, str]
    """File name → SHA-256 of its decompressed content."""


# --- What every decoder ends in -------------------------------------------------------------------------------------


def check(images: np.ndarray, labels: np.ndarray, where: str) -> Split:
    """Images (N, 28, 28) and labels (N,) of any numeric dtype as uint8, lossless; :class:`BadInput` names ``where``."""
    if images.ndim != 3 or images.shape[1:] != (SIDE, SIDE):
        raise BadInput(f"{where}: the images' shape is {images.shape}: (N, {SIDE}, {SIDE}) is needed")
    if labels.ndim != 1:
        raise BadInput(f"{where}: the labels' shape is {labels.shape}: (N,) is needed, one digit an image")
    if len(images) != len(labels):
        raise BadInput(f"{where}: {len(images)} images but {len(labels)} labels: each image needs one label")
    if not len(images):
        raise BadInput(f"{where}: holds no images: give at least one")
    if images.dtype.kind == "f" and images.max() <= 1:
        raise BadInput(f"{where}: the images lie in [0, 1]: images must be 0–255, so multiply them by 255 and round")
    return Split(
        _as_bytes(images, 255, f"{where}: images must be whole numbers 0–255"),
        _as_bytes(labels, CLASSES - 1, f"{where}: labels must be whole numbers 0–9"),
    )


def _as_bytes(array: np.ndarray, highest: int, demand: str) -> np.ndarray:
    """``array`` as uint8 if nothing is lost by it, else :class:`BadInput`: ``demand`` and the first offender."""
    if array.dtype.kind not in "uif":
        raise BadInput(f"{demand}, but these are of type {array.dtype}: convert them")
    for start in range(0, len(array), CHUNK):
        values = array[start : start + CHUNK]
        offends = _offends(values, highest)
        if offends.any():
            at = np.argwhere(offends)[0]
            raise BadInput(
                f"{demand}, but number {start + at[0]} (from 0) holds {values[tuple(at)]}: mend or remove it"
            )
    return array.astype(np.uint8, copy=False)


def _offends(values: np.ndarray, highest: int | np.ndarray) -> np.ndarray:
    """Which values are not whole numbers from 0 to ``highest``; NaN compares false, so it offends too."""
    return ~((values >= 0) & (values <= highest) & (values == np.floor(values)))


def with_test(train: Split, test: Split | None, share: float, where: str) -> tuple[Split, Split]:
    """The two splits; without a test split, ``share`` of train is held out by the hash of each image (0: none)."""
    if test is not None:
        return train, test
    if not share:
        return train, Split(train.images[:0], train.labels[:0])
    held_out = splits.held_out(splits.content_hashes(train.images), share, "test")
    if held_out.all() or not held_out.any():
        raise BadInput(f"{where}: {len(train.labels)} images are too few to hold a test split out of: add images")
    return Split(train.images[~held_out], train.labels[~held_out]), Split(
        train.images[held_out], train.labels[held_out]
    )


def local(ingest: Ingest, dataset: str) -> Path:
    """Where the workspace's own data set lies; :class:`BadInput` if nothing is there."""
    path = Path(ingest.local_dir).expanduser()
    if not ingest.local_dir or not path.exists():
        raise BadInput(
            f"params.yaml: ingest.local_dir is '{ingest.local_dir}', but nothing is there: put the {dataset} data set "
            "there, or name the folder that holds it"
        )
    return path


def one_file(path: Path, pattern: str) -> Path:
    """``path`` itself if it is a file, else the one file in it that matches ``pattern``."""
    if not path.is_dir():
        return path
    found = sorted(path.glob(pattern))
    if len(found) != 1:
        raise BadInput(f"{path}: holds {len(found)} files {pattern}: name the one to read in ingest.local_dir")
    return found[0]


# --- IDX ------------------------------------------------------------------------------------------------------------


def encode_idx(array: np.ndarray) -> bytes:
    """A uint8 array as IDX: two zeros, type 8 (byte), the number of dimensions, each as big-endian uint32, the values.

    Source: http://yann.lecun.com/exdb/mnist/, "the IDX file format".
    """
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def decode_idx(data: bytes, ndim: int, where: str) -> np.ndarray:
    """Decompressed IDX bytes → uint8 array of ``ndim`` dimensions, read-only; else :class:`BadInput`."""
    magic = bytes((0, 0, 8, ndim))
    if data[:4] != magic:
        raise BadInput(f"{where}: the IDX magic number is {data[:4].hex()}, not {magic.hex()}: not this kind of file")
    header = 4 + 4 * ndim
    if len(data) < header:
        raise BadInput(f"{where}: ends within its IDX header: fetch the file again")
    shape = struct.unpack_from(f">{ndim}I", data, 4)
    if math.prod(shape) == 0:
        raise BadInput(f"{where}: is empty: its IDX header says {shape}")
    if len(data) != header + math.prod(shape):
        raise BadInput(
            f"{where}: its IDX header says {shape}, {header + math.prod(shape)} bytes, but there are {len(data)}: "
            "fetch the file again"
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def read_idx_files(folder: Path, allowed: Bounds) -> dict[str, bytes]:
    """The decompressed contents of those of MNIST's four files that lie in ``folder``, plain or .gz, by their names."""
    paths = {name: path for name in IDX_FILES for path in (folder / f"{name}.gz", folder / name) if path.exists()}
    contents, left = {}, allowed.bytes
    for name, path in paths.items():
        contents[name] = bounds.gunzip(bounds.content(path, allowed), str(path), left)
        left -= len(contents[name])
        bounds.check_idx(contents[name][:16], allowed, str(path))
    return contents


def decode_idx_files(contents: dict[str, bytes], folder: str, names: list[str]) -> Split:
    """The split that an images and a labels file make."""
    images_name, labels_name = names
    for name in names:
        if name not in contents:
            raise BadInput(f"{folder}: there is no {name} or {name}.gz: put it there")
    images = decode_idx(contents[images_name], 3, f"{folder}/{images_name}")
    labels = decode_idx(contents[labels_name], 1, f"{folder}/{labels_name}")
    return check(images, labels, f"{folder}/{images_name} and {labels_name}")


def digests(contents: dict[str, bytes]) -> dict[str, str]:
    """SHA-256 of each content."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def load_idx(ingest: Ingest) -> Loaded:
    """A folder with MNIST's file names; both t10k files may be missing."""
    folder = local(ingest, "idx")
    contents = read_idx_files(folder, bounds.of(ingest))
    names = list(IDX_FILES)
    train = decode_idx_files(contents, str(folder), names[:2])
    test = decode_idx_files(contents, str(folder), names[2:]) if contents.keys() & set(names[2:]) else None
    return Loaded("idx", "local folder", *with_test(train, test, ingest.test_share, str(folder)), digests(contents))


# --- npz ------------------------------------------------------------------------------------------------------------


def read_npz(file: BinaryIO, where: str, allowed: Bounds) -> dict[str, np.ndarray]:
    """The arrays of a .npz file by their keys; :class:`BadInput` if it is broken, too large or holds pickles."""
    if not zipfile.is_zipfile(file):
        raise BadInput(f"{where}: is not a whole .npz file: write it with numpy.savez")
    try:
        bounds.check_npz(file, allowed, where)
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files if isinstance(arrays[key], np.ndarray)}
    except (BadInput, MemoryError):
        raise
    except Exception as error:  # on a spoilt header numpy lets through whatever its unzipper or tokenizer raise
        raise BadInput(f"{where}: cannot be read ({brief(error)}): write it with numpy.savez, numbers only") from None


def load_npz(ingest: Ingest) -> Loaded:
    """One .npz file with x_train, y_train and perhaps x_test, y_test; or with images, labels."""
    path = one_file(local(ingest, "npz"), "*.npz")
    with bounds.opened(path, bounds.of(ingest)) as file:
        arrays = read_npz(file, str(path), bounds.of(ingest))
    pairs = [("images", "labels")] if "images" in arrays else [("x_train", "y_train")]
    if "x_test" in arrays or "y_test" in arrays:
        pairs.append(("x_test", "y_test"))
    missing = [key for pair in pairs for key in pair if key not in arrays]
    if missing:
        raise BadInput(f"{path}: has {sorted(arrays)} but no {', '.join(missing)}: name the arrays so")
    train, *rest = (check(arrays[x], arrays[y], f"{path}: {x}, {y}") for x, y in pairs)
    test = rest[0] if rest else None
    read = {path.name: files.sha256_file(path)}
    return Loaded("npz", "local folder", *with_test(train, test, ingest.test_share, str(path)), read)


# --- CSV ------------------------------------------------------------------------------------------------------------


def load_csv(ingest: Ingest) -> Loaded:
    """Kaggle's Digit Recognizer: train.csv with a header ``label,pixel0…pixel783``, then a line an image."""
    path = one_file(local(ingest, "csv"), "train.csv")
    train, test = with_test(read_csv(path, bounds.of(ingest)), None, ingest.test_share, str(path))
    return Loaded("csv", "local folder", train, test, {path.name: files.sha256_file(path)})


def read_csv(path: Path, allowed: Bounds) -> Split:
    """All images of a CSV file, read in chunks; :class:`BadInput` names the line and column of the first wrong cell."""
    import pandas as pd

    chunks: list[np.ndarray] = []
    with bounds.opened(path, allowed) as file:
        bounds.check_lines(file, allowed, str(path))
        file.seek(0)
        try:  # no filter for missing values, no skipping of blank lines: a wrong cell is found where it stands
            for table in pd.read_csv(file, chunksize=CHUNK, na_filter=False, skip_blank_lines=False, compression=None):
                chunks.append(_csv_values(table, sum(len(chunk) for chunk in chunks), path))
        except (ValueError, OverflowError) as error:  # pandas' own are ValueErrors: no header, too many cells, not text
            raise BadInput(f"{path}: is not a CSV file of label,pixel0…pixel783 ({brief(error)}): mend it") from None
    values = np.concatenate(chunks) if chunks else np.empty((0, 1 + len(PIXELS)), np.uint8)
    return check(values[:, 1:].reshape(-1, SIDE, SIDE), values[:, 0], str(path))


def _csv_values(table: Any, before: int, path: Path) -> np.ndarray:
    """A pandas table as uint8 (rows, 785), label first; ``before`` rows of the file stood above it."""
    import pandas as pd

    columns = ["label", *PIXELS]
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise BadInput(
            f"{path}: lacks {len(missing)} columns, the first is {missing[0]}: label,pixel0…pixel783 are needed"
        )
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes surplus cells for row names
        raise BadInput(f"{path}: line {before + 2} has more cells than the header: mend it")
    table = table[columns]
    text = [column for column, kind in table.dtypes.items() if kind.kind not in "uif"]
    numbers = table.assign(**{column: pd.to_numeric(table[column], errors="coerce") for column in text})
    values = numbers.to_numpy(np.float64) if text else numbers.to_numpy()
    offends = _offends(values, np.array([CLASSES - 1] + [255] * len(PIXELS)))
    if offends.any():
        row, column = np.argwhere(offends)[0]
        raise BadInput(
            f"{path}: line {before + row + 2}: {columns[column]} is '{table.iloc[row, column]}': "
            "labels must be whole numbers 0–9 and pixels 0–255"
        )
    return values.astype(np.uint8)


# --- A folder of pictures -------------------------------------------------------------------------------------------


def load_folder(ingest: Ingest) -> Loaded:
    """``0/ … 9/`` of PNG or JPEG pictures of any size, perhaps under ``train/`` and ``test/``."""
    folder = local(ingest, "folder")
    if not folder.is_dir():
        raise BadInput(f"params.yaml: ingest.local_dir is {folder}, a file: name the folder that holds 0/ … 9/")
    has_splits = (folder / "train").is_dir()
    train, read = _read_pictures(folder, "train/" if has_splits else "", bounds.of(ingest))
    test = None
    if has_splits and (folder / "test").is_dir():
        test, read_of_test = _read_pictures(folder, "test/", bounds.of(ingest))
        read |= read_of_test
    return Loaded("folder", "local folder", *with_test(train, test, ingest.test_share, str(folder)), read)


def _read_pictures(folder: Path, below: str, allowed: Bounds) -> tuple[Split, dict[str, str]]:
    """The pictures under ``folder/below``, and one digest a class: over its files' names and their digests."""
    paths = [path for label in _class_folders(folder / below) for path in _pictures_in(label, allowed)]
    bounds.counted(len(paths), allowed, str(folder / below))
    images = np.empty((len(paths), SIDE, SIDE), np.uint8)
    hashes: dict[str, Any] = {}
    findings = []
    for i, path in enumerate(tqdm(paths, desc=f"reading {folder / below}", unit=" pictures", disable=None)):
        try:
            data = bounds.content(path, allowed)
            allowed = allowed._replace(bytes=allowed.bytes - len(data))
            images[i] = _frame(data, str(path))
        except BadInput as error:
            findings.append(str(error))
            continue
        line = f"{path.name} {hashlib.sha256(data).hexdigest()}\n"
        hashes.setdefault(f"{below}{path.parent.name}", hashlib.sha256()).update(line.encode())
    if findings:
        raise BadInput("\n".join(shortened(findings)))
    labels = np.array([int(path.parent.name) for path in paths], np.uint8)
    return check(images, labels, str(folder / below)), {name: sha.hexdigest() for name, sha in hashes.items()}


def shortened(findings: list[str]) -> list[str]:
    """The first so many of them, and how many more there are."""
    more = len(findings) - FINDINGS
    return findings if more <= 0 else [*findings[:FINDINGS], f"and {more:,} more"]


def _class_folders(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    for path in found:
        if path.name not in map(str, range(CLASSES)):
            raise BadInput(f"{path}: is not one of the folders 0 to 9: rename or remove it")
    return found


def _pictures_in(folder: Path, allowed: Bounds) -> list[Path]:
    there = (path for path in folder.iterdir() if not path.name.startswith("."))
    found = sorted(itertools.islice(there, allowed.images + 1))  # there may be millions
    for path in found:
        if path.suffix.lower() not in framing.PICTURES:
            raise BadInput(f"{path}: is neither PNG nor JPEG: convert or remove it")
    return found


def _frame(data: bytes, where: str) -> np.ndarray:
    """A picture's bytes → uint8 (28, 28). One that has MNIST's size and dark rim already is taken as it is."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=framing.FORMATS) as picture:
            ready = np.asarray(picture) if (picture.size, picture.mode) == ((SIDE, SIDE), "L") else None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        ready = None  # framing says what is wrong with it
    if ready is not None and _rim(ready).mean() < MNIST_RIM:
        return ready
    return framing.frame(io.BytesIO(data), where)


def _rim(image: np.ndarray) -> np.ndarray:
    """The outermost pixels of a 2-D image."""
    return np.concatenate([image[0], image[-1], image[1:-1, 0], image[1:-1, -1]])


DECODERS: dict[str, Callable[[Ingest], Loaded]] = {
    "idx": load_idx,
    "npz": load_npz,
    "csv": load_csv,
    "folder": load_folder,
}
