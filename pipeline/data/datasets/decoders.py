"""How are labelled images read from files of arrays? IDX and npz; see :mod:`csv_file` and :mod:`labelled_pictures`.

Every decoder ends in :func:`formed`, so that what leaves here is uint8, of one shape, labelled by indexes of the
classes, whole; whatever is not raises :class:`BadInput` with a line that names the file. What a file declares is held
against :mod:`pipeline.data.datasets.bounds` before it is decoded.
"""

import hashlib
import math
import os
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from pipeline.base import files
from pipeline.base.errors import BadInput, brief
from pipeline.base.form import DIGITS, Form
from pipeline.base.params import Images as Wanted
from pipeline.base.params import Ingest
from pipeline.base.stored import Images, InFile, Key
from pipeline.data import classes, splits
from pipeline.data.datasets import bounds
from pipeline.data.datasets.bounds import Bounds
from pipeline.data.splits import Split

IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
EMNIST = "emnist-"  # its files' names begin so, and its images lie on their side
SIDES = (8, 512)  # pixels, the least and the most of an image
SAME = ("st_ino", "st_dev", "st_size", "st_mtime_ns")  # of a file that nobody has touched
CHUNK = 4096  # images looked at in one go


class Source(NamedTuple):
    """What is to be read, and as what."""

    ingest: Ingest
    images: Wanted
    known: tuple[str, ...] | None = None
    """the classes of a data set that is there, of which more comes in"""


class Arrays(NamedTuple):
    """Images and labels as a file has them."""

    images: Images
    labels: np.ndarray
    """numbers or names"""
    where: str


class Loaded(NamedTuple):
    name: str
    source: str
    """A local folder, a package, or the mirrors' URLs."""
    train: Split
    test: Split
    files: dict[str, str]
    """File name → SHA-256 of its decompressed content."""
    form: Form = DIGITS


# --- What every decoder ends in -------------------------------------------------------------------------------------


def formed(parts: Sequence[Arrays], source: Source, names: Sequence[str] | None = None) -> tuple[list[Split], Form]:
    """The parts of one data set as splits, and what their images are. ``names`` are the classes where the files say
    them themselves.

    Images (N, height, width), (N, height, width, 1 or 3) and labels (N,) of any numeric dtype, lossless, or names;
    :class:`BadInput` names the part.
    """
    for part in parts:
        _check_shapes(part, source.images)
    wanted = source.images
    parts = [part._replace(labels=classes.whole(part.labels, part.where)) for part in parts]
    named = classes.of_labels([part.labels for part in parts], wanted, source.known, parts[0].where, names)
    of_numbers = classes.numbered(wanted, source.known, named)
    done = [
        Split(
            _as_bytes(part.images, part.where),
            classes.indexes(part.labels, named, part.where, of_numbers),
        )
        for part in parts
    ]
    shapes = {split.images.shape[1:] for split in done}
    if len(shapes) > 1:
        raise BadInput(f"{parts[0].where}: train and test are of different shapes, {' and '.join(map(str, shapes))}")
    return done, Form(wanted.kind, shapes.pop(), named)


def _check_shapes(part: Arrays, wanted: Wanted) -> None:
    images, labels, where = part
    shape = images.shape[1:]
    of_any = (
        images.ndim in (3, 4) and shape[2:] in ((), (1,), (3,)) and all(SIDES[0] <= n <= SIDES[1] for n in shape[:2])
    )
    if wanted.kind == "digits" and shape not in ((28, 28), (28, 28, 1)):
        raise BadInput(
            f"{where}: the images' shape is {images.shape}: (N, 28, 28) is needed, or images.kind: plain for others"
        )
    if not of_any:
        raise BadInput(
            f"{where}: the images' shape is {images.shape}: (N, height, width) or (N, height, width, 3) is needed, "
            f"{SIDES[0]} to {SIDES[1]} pixels a side"
        )
    if labels.ndim != 1:
        raise BadInput(f"{where}: the labels' shape is {labels.shape}: (N,) is needed, one an image")
    if len(images) != len(labels):
        raise BadInput(f"{where}: {len(images)} images but {len(labels)} labels: each image needs one label")
    if not len(images):
        raise BadInput(f"{where}: holds no images: give at least one")
    if isinstance(images, np.ndarray) and images.dtype.kind == "f" and images.max() <= 1:
        raise BadInput(f"{where}: the images lie in [0, 1]: images must be 0–255, so multiply them by 255 and round")
    if labels.dtype.kind not in "uifU":
        raise BadInput(f"{where}: labels must be whole numbers or names, but these are of type {labels.dtype}")


def check(images: Images, labels: np.ndarray, where: str) -> Split:
    """Digits (N, 28, 28) and labels (N,) of any numeric dtype as uint8, lossless; :class:`BadInput` names ``where``."""
    (split,), _ = formed([Arrays(images, labels, where)], OF_DIGITS)
    return split


def _as_bytes(images: Images, where: str) -> Images:
    """Images, grey ones without a last dimension of 1, as uint8 if nothing is lost by it, else :class:`BadInput` with
    the first offender."""
    if not isinstance(images, np.ndarray):
        return images
    array = images[..., 0] if images.ndim == 4 and images.shape[3] == 1 else images
    if array.dtype == np.uint8:
        return array
    demand = f"{where}: images must be whole numbers 0–255"
    if array.dtype.kind not in "uif":
        raise BadInput(f"{demand}, but these are of type {array.dtype}: convert them")
    for start in range(0, len(array), CHUNK):
        values = array[start : start + CHUNK]
        offends = offending(values, 255)
        if offends.any():
            at = np.argwhere(offends)[0]
            raise BadInput(
                f"{demand}, but number {start + at[0]} (from 0) holds {values[tuple(at)]}: mend or remove it"
            )
    return array.astype(np.uint8, copy=False)


def offending(values: np.ndarray, highest: int | np.ndarray) -> np.ndarray:
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
    return train.chosen(~held_out), train.chosen(held_out)


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
    shape, header = _idx_shape(data[: 4 + 4 * ndim], len(data), ndim, where)
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def _idx_shape(header: bytes, size: int, ndim: int, where: str) -> tuple[tuple[int, ...], int]:
    """What the header of a file of so many bytes says, and how long it is itself."""
    magic = bytes((0, 0, 8, ndim))
    if header[:4] != magic:
        raise BadInput(f"{where}: the IDX magic number is {header[:4].hex()}, not {magic.hex()}: not this kind of file")
    length = 4 + 4 * ndim
    if len(header) < length:
        raise BadInput(f"{where}: ends within its IDX header: fetch the file again")
    shape = struct.unpack_from(f">{ndim}I", header, 4)
    if math.prod(shape) == 0:
        raise BadInput(f"{where}: is empty: its IDX header says {shape}")
    if size != length + math.prod(shape):
        raise BadInput(
            f"{where}: its IDX header says {shape}, {length + math.prod(shape)} bytes, but there are {size}: "
            "fetch the file again"
        )
    return shape, length


class Left(NamedTuple):
    """The content of a file that is too large to be read whole."""

    path: Path
    head: bytes
    """as many bytes as a header has"""
    was: os.stat_result
    """the file, when its header was read"""

    def images(self, ndim: int, where: str) -> "AsItWas":
        shape, header = _idx_shape(self.head[: 4 + 4 * ndim], self.was.st_size, ndim, where)
        return AsItWas(self, shape[:3] if shape[3:] == (1,) else shape, header)

    def digest(self) -> str:
        found = files.sha256_file(self.path)
        self.check()
        return found

    def check(self) -> None:
        """:class:`BadInput` if the file is another by now, or was written to."""
        now = self.path.stat() if self.path.exists() else None
        if now is None or any(getattr(now, fact) != getattr(self.was, fact) for fact in SAME):
            raise BadInput(f"{self.path}: was changed while it was read: leave it alone and run this again")


class AsItWas(InFile):
    """The images of a file that is read more than once, and is to be the same each time."""

    def __init__(self, left: Left, shape: tuple[int, ...], offset: int) -> None:
        super().__init__(left.path, shape, offset)
        self.left = left

    def __getitem__(self, key: Key) -> np.ndarray:
        self.left.check()
        found = super().__getitem__(key)
        self.left.check()
        return found


Contents = Mapping[str, bytes | Left]
"""of files, by their names"""


def read_idx_files(folder: Path, allowed: Bounds, names: Sequence[str] = IDX_FILES) -> Contents:
    """The decompressed contents of those of the files that lie in ``folder``, plain or .gz, by their names; that of a
    large plain one is left where it is."""
    paths = {name: path for name in names for path in (folder / f"{name}.gz", folder / name) if path.exists()}
    contents: dict[str, bytes | Left] = {}
    left = allowed.bytes
    for name, path in paths.items():
        content = _large_idx(path, allowed) or bounds.gunzip(bounds.content(path, allowed), str(path), left)
        left -= content.was.st_size if isinstance(content, Left) else len(content)
        if left < 0:
            raise BadInput(f"{folder}: its files have more than {allowed.bytes / 1e6:,.0f} MB: give it in parts")
        bounds.check_idx((content.head if isinstance(content, Left) else content)[:16], allowed, str(path))
        contents[name] = content
    return contents


def _large_idx(path: Path, allowed: Bounds) -> Left | None:
    """A plain file of more images than a shard holds."""
    with bounds.opened(path, allowed) as file:
        was, head = os.fstat(file.fileno()), file.read(20)
    large = was.st_size > splits.SHARD_BYTES and head[:3] == b"\0\0\x08" and head[3] > 2
    return Left(path, head, was) if large else None


def decode_idx_files(contents: Contents, folder: str, names: Sequence[str]) -> Arrays:
    """What an images and a labels file hold; images may have a fourth dimension, of their colours."""
    images_name, labels_name = names
    for name in names:
        if name not in contents:
            raise BadInput(f"{folder}: there is no {name} or {name}.gz: put it there")
    content, where = contents[images_name], f"{folder}/{images_name}"
    ndim = 4 if (content.head if isinstance(content, Left) else content)[3:4] == b"\x04" else 3
    images = content.images(ndim, where) if isinstance(content, Left) else decode_idx(content, ndim, where)
    labels = decode_idx(_whole(contents[labels_name]), 1, f"{folder}/{labels_name}")
    return Arrays(images, labels, f"{folder}/{images_name} and {labels_name}")


def _whole(content: bytes | Left) -> bytes:
    return content.path.read_bytes() if isinstance(content, Left) else content


def digests(contents: Contents) -> dict[str, str]:
    """SHA-256 of each content."""
    return {
        name: content.digest() if isinstance(content, Left) else hashlib.sha256(content).hexdigest()
        for name, content in contents.items()
    }


def load_idx(source: Source) -> Loaded:
    """A folder with MNIST's file names, which Fashion-MNIST has too, or EMNIST's; both test files may be missing."""
    folder, allowed = local(source.ingest, "idx"), bounds.of(source.ingest)
    names = _idx_names(folder)
    contents = read_idx_files(folder, allowed, names)
    parts = [decode_idx_files(contents, str(folder), names[:2])]
    if contents.keys() & set(names[2:]):
        parts.append(decode_idx_files(contents, str(folder), names[2:]))
    mapped = None
    if names[0].startswith(EMNIST):
        parts = [part._replace(images=np.asarray(part.images).swapaxes(1, 2)) for part in parts]
        parts, mapped = _mapped(parts, folder / names[0].replace("train-images-idx3-ubyte", "mapping.txt"), allowed)
    done, form = formed(parts, source, mapped)
    train, test = with_test(done[0], done[1] if done[1:] else None, source.ingest.test_share, str(folder))
    return Loaded("idx", "local folder", train, test, digests(contents), form)


def _idx_names(folder: Path) -> list[str]:
    """The names of the four files, whether they are all there or not."""
    found = {path.name.removesuffix(".gz") for path in folder.glob("*train-images-idx3-ubyte*")}
    if len(found) > 1:
        raise BadInput(f"{folder}: holds {' and '.join(sorted(found))}: leave the files of one data set there")
    first = found.pop() if found else IDX_FILES[0]
    if first == IDX_FILES[0]:
        return list(IDX_FILES)
    before = first.removesuffix(IDX_FILES[0])
    return [f"{before}{name.replace('t10k', 'test')}" for name in IDX_FILES]


def _mapped(parts: Sequence[Arrays], path: Path, allowed: Bounds) -> tuple[list[Arrays], list[str] | None]:
    """The parts with characters as labels, by EMNIST's file of each label's character code, and these in its order."""
    if not path.is_file():
        return list(parts), None
    lines = bounds.content(path, allowed).decode("ascii", "replace").splitlines()
    try:
        characters = {int(line.split()[0]): chr(int(line.split()[1])) for line in lines if line.strip()}
    except (ValueError, IndexError, OverflowError):
        raise BadInput(f"{path}: is not a label and the code of a character a line: fetch it again") from None
    named = []
    for part in parts:
        strange = set(np.unique(part.labels).tolist()) - characters.keys()
        if strange:
            raise BadInput(f"{part.where}: label {min(strange)} has no line in {path}: these do not belong together")
        names = np.array([characters.get(label, "") for label in range(256)])
        named.append(part._replace(labels=names[part.labels]))
    return named, [characters[label] for label in sorted(characters)]


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


def load_npz(source: Source) -> Loaded:
    """One .npz file with x_train, y_train and perhaps x_test, y_test; or with images, labels."""
    ingest = source.ingest
    path = one_file(local(ingest, "npz"), "*.npz")
    with bounds.opened(path, bounds.of(ingest)) as file:
        arrays = read_npz(file, str(path), bounds.of(ingest))
    pairs = [("images", "labels")] if "images" in arrays else [("x_train", "y_train")]
    if "x_test" in arrays or "y_test" in arrays:
        pairs.append(("x_test", "y_test"))
    missing = [key for pair in pairs for key in pair if key not in arrays]
    if missing:
        raise BadInput(f"{path}: has {sorted(arrays)} but no {', '.join(missing)}: name the arrays so")
    parts = [Arrays(arrays[x], arrays[y], f"{path}: {x}, {y}") for x, y in pairs]
    done, form = formed(parts, source)
    train, test = with_test(done[0], done[1] if done[1:] else None, ingest.test_share, str(path))
    return Loaded("npz", "local folder", train, test, {path.name: files.sha256_file(path)}, form)


OF_DIGITS = Source(
    Ingest(
        local_dir="",
        name="",
        test_share=0.0,
        timeout_seconds=1.0,
        attempts=1,
        max_images=1,
        max_mb=1.0,
        max_unreadable=0.0,
    ),
    Wanted(
        kind="digits", height=28, width=28, channels=1, classes=DIGITS.classes, min_of_class=1, leave_out_small=False
    ),
)
