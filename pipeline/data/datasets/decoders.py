"""Named datasets: where do their bytes come from, how are they verified and decoded?

Every decoder ends in :func:`check`, so that what leaves here is uint8, 28×28, labelled 0 to 9, whole; whatever is
not raises :class:`BadInput` with a line that names the file.
"""

import gzip
import hashlib
import io
import math
import os
import random
import struct
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import requests
from tqdm import tqdm

from pipeline.base import files
from pipeline.base.errors import BadInput, TemporaryFault
from pipeline.base.params import Ingest, Params
from pipeline.data import splits
from pipeline.data.splits import SIDE, Split
from pipeline.digits import framing

DOWNLOAD = Path("data/download")

MNIST = {  # SHA-256 of each file's decompressed content
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
MIRRORS = (  # a folder with the four files as .gz, or Keras' .npz of the same arrays
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
)
IN_NPZ = dict(zip(MNIST, ("x_train", "y_train", "x_test", "y_test"), strict=True))
BACKOFF_SECONDS = 0.5  # before a mirror's second try, doubled before each later one
MAX_BODY = 100_000_000  # bytes; the largest true file is a tenth of it, and a lying mirror may never end

KAGGLE_IMAGES, KAGGLE_TEST_SHARE = 42_000, 0.1  # 4,200 are held out in the write-ups; about as many by their hashes
KAGGLE_SEED = 42

PIXELS = [f"pixel{i}" for i in range(SIDE * SIDE)]
CHUNK = 4096  # rows or images looked at in one go
PICTURES = (".png", ".jpg", ".jpeg")
MNIST_RIM = 64  # grey level: an image's rim that is darker on average is paper of MNIST's polarity


class Loaded(NamedTuple):
    name: str
    source: str
    """A local folder, a package, or the mirrors' URLs."""
    train: Split
    test: Split
    files: dict[str, str]
    """File name → SHA-256 of its decompressed content."""


def load(params: Params) -> Loaded:
    """Read, verify and decode the data set that ``params`` names; :class:`BadInput` if any of it is not whole."""
    return DATASETS[params.dataset](params.ingest)


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
        _as_bytes(labels, splits.CLASSES - 1, f"{where}: labels must be whole numbers 0–9"),
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


def _with_test(train: Split, test: Split | None, share: float, where: str) -> tuple[Split, Split]:
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


def _local(ingest: Ingest, dataset: str) -> Path:
    path = Path(ingest.local_dir).expanduser()
    if not ingest.local_dir or not path.exists():
        raise BadInput(
            f"params.yaml: ingest.local_dir is '{ingest.local_dir}', but nothing is there: put the {dataset} data set "
            "there, or name the folder that holds it"
        )
    return path


def _one_file(path: Path, pattern: str) -> Path:
    """``path`` itself if it is a file, else the one file in it that matches ``pattern``."""
    if path.is_file():
        return path
    found = sorted(path.glob(pattern))
    if len(found) != 1:
        raise BadInput(f"{path}: holds {len(found)} files {pattern}: name the one to read in ingest.local_dir")
    return found[0]


def _brief(error: BaseException) -> str:
    """An error of a library as a part of one line."""
    return " ".join(str(error).split()) or type(error).__name__


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


def gunzip(data: bytes, where: str) -> bytes:
    """``data`` decompressed if it is gzip, else as it is; :class:`BadInput` if the gzip is broken or cut short."""
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(f"{where}: the gzip is broken or cut short ({_brief(error)}): fetch the file again") from None


def _read_idx_files(folder: Path) -> dict[str, bytes]:
    """The decompressed contents of those of MNIST's four files that lie in ``folder``, plain or .gz, by their names."""
    paths = {name: path for name in MNIST for path in (folder / f"{name}.gz", folder / name) if path.is_file()}
    return {name: gunzip(path.read_bytes(), str(path)) for name, path in paths.items()}


def _decode_idx_files(contents: dict[str, bytes], folder: str, names: list[str]) -> Split:
    """The split that an images and a labels file make."""
    images_name, labels_name = names
    for name in names:
        if name not in contents:
            raise BadInput(f"{folder}: there is no {name} or {name}.gz: put it there")
    images = decode_idx(contents[images_name], 3, f"{folder}/{images_name}")
    labels = decode_idx(contents[labels_name], 1, f"{folder}/{labels_name}")
    return check(images, labels, f"{folder}/{images_name} and {labels_name}")


def _digests(contents: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def load_idx(ingest: Ingest) -> Loaded:
    """A folder with MNIST's file names; both t10k files may be missing."""
    folder = _local(ingest, "idx")
    contents = _read_idx_files(folder)
    names = list(MNIST)
    train = _decode_idx_files(contents, str(folder), names[:2])
    test = _decode_idx_files(contents, str(folder), names[2:]) if contents.keys() & set(names[2:]) else None
    return Loaded("idx", "local folder", *_with_test(train, test, ingest.test_share, str(folder)), _digests(contents))


# --- MNIST ----------------------------------------------------------------------------------------------------------


def load_mnist(ingest: Ingest) -> Loaded:
    """From the folder MNIST_DIR, else ingest.local_dir if it holds the files, else the mirrors; the digests decide."""
    folder, source = os.environ.get("MNIST_DIR") or ingest.local_dir, "local folder"
    contents = _read_idx_files(Path(folder).expanduser())
    if not contents and os.environ.get("MNIST_DIR"):
        raise BadInput(f"MNIST_DIR is {folder}, which holds none of MNIST's files: correct or unset it")
    if not contents:
        folder = str(DOWNLOAD)
        contents, source = _download(ingest)
    names = list(MNIST)
    train, test = (_decode_idx_files(contents, folder, pair) for pair in (names[:2], names[2:]))
    return Loaded("mnist", source, train, test, _verified(contents, folder))


def _verified(contents: dict[str, bytes], where: str) -> dict[str, str]:
    """The contents' digests; :class:`BadInput` if one is not MNIST's."""
    digests = _digests(contents)
    for name, digest in digests.items():
        if digest != MNIST[name]:
            raise BadInput(
                f"{where}/{name}: its content is not MNIST's (SHA-256 {digest[:12]}…, not {MNIST[name][:12]}…): "
                "fetch the file again, or set dataset: idx for data of your own"
            )
    return digests


def _download(ingest: Ingest) -> tuple[dict[str, bytes], str]:
    """MNIST's four files, kept ones and downloaded ones, and the mirrors they came from."""
    contents = {name: content for name in MNIST if (content := _kept(name))}
    used = _mirrors_used() if contents else []
    failures = []
    for mirror in MIRRORS:
        try:
            for name, content in _fetch_missing(mirror, MNIST.keys() - contents.keys(), ingest):
                _keep(name, content)
                contents[name] = content
                used = used if mirror in used else [*used, mirror]
                files.write_text(DOWNLOAD / "mirrors.txt", "\n".join(used) + "\n")
        except BadInput as error:
            failures.append(f"{mirror}: {error}")
    if len(contents) < len(MNIST):
        raise TemporaryFault(
            f"no mirror of MNIST gave it ({'; '.join(failures)}): try again later, or set MNIST_DIR to a folder with "
            f"{', '.join(f'{name}.gz' for name in MNIST)}"
        )
    return contents, ", ".join(used) or str(DOWNLOAD)


def _kept(name: str) -> bytes | None:
    """A file of an earlier download, if its content is still what it was."""
    path = DOWNLOAD / name
    content = path.read_bytes() if path.is_file() else b""
    return content if hashlib.sha256(content).hexdigest() == MNIST[name] else None


def _keep(name: str, content: bytes) -> None:
    with files.atomic(DOWNLOAD / name) as part:
        part.write_bytes(content)


def _mirrors_used() -> list[str]:
    path = DOWNLOAD / "mirrors.txt"
    return path.read_text(encoding="utf-8").split() if path.is_file() else []


def _fetch_missing(mirror: str, names: set[str], ingest: Ingest) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file in ``names``, in MNIST's order, as they arrive from ``mirror``."""
    if names and mirror.endswith(".npz"):
        contents = _fetch_patiently(mirror, ingest)
        yield from ((name, contents[name]) for name in MNIST if name in names)
    else:
        for name in (name for name in MNIST if name in names):
            yield from _fetch_patiently(f"{mirror}{name}.gz", ingest).items()


def _fetch_patiently(url: str, ingest: Ingest) -> dict[str, bytes]:
    """:func:`_fetch`, tried ingest.attempts times; then :class:`BadInput` with the last reason, in a few words."""
    reason = ""
    for attempt in range(ingest.attempts):
        if attempt:  # jitter keeps many machines from coming back in step
            time.sleep(BACKOFF_SECONDS * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))  # noqa: S311
        try:
            return _fetch(url, ingest.timeout_seconds)
        except requests.HTTPError as error:
            reason = f"HTTP {error.response.status_code}"
        except requests.RequestException as error:
            # A stall within the body reaches us as a bare ConnectionError that only its text tells from a refusal.
            stalled = isinstance(error, requests.Timeout) or "timed out" in str(error)
            broken = isinstance(error, requests.exceptions.ChunkedEncodingError)
            reason = (
                f"silent for {ingest.timeout_seconds:g} s" if stalled else "cut short" if broken else "no connection"
            )
        except BadInput as error:
            reason = str(error)
    raise BadInput(reason)


def _fetch(url: str, timeout: float) -> dict[str, bytes]:
    """The IDX contents that ``url`` holds, by their names; :class:`BadInput` if a digest is not MNIST's."""
    body = _get(url, timeout)
    name = url.rsplit("/", 1)[1]
    if url.endswith(".npz"):
        arrays = _read_npz(io.BytesIO(body), name)
        contents = {idx: encode_idx(arrays[key]) for idx, key in IN_NPZ.items() if key in arrays}
    else:
        contents = {name.removesuffix(".gz"): gunzip(body, name)}
    if any(digest != MNIST[idx] for idx, digest in _digests(contents).items()) or not contents:
        raise BadInput(f"{name} is not MNIST's by its SHA-256")
    return contents


def _get(url: str, timeout: float) -> bytes:
    """The whole body of ``url``; requests' error on a refusal, on ``timeout`` s without a byte, and on a short body."""
    body = bytearray()
    with (
        tqdm(desc=url.rsplit("/", 1)[1], unit="B", unit_scale=True, leave=False, disable=None) as bar,
        # `identity`, or a server may wrap the .gz in gzip once more
        requests.get(url, stream=True, timeout=timeout, headers={"Accept-Encoding": "identity"}) as answer,
    ):
        answer.raise_for_status()
        bar.total = answer.raw.length_remaining
        for chunk in answer.iter_content(1 << 16):
            body += chunk
            bar.update(len(chunk))
            if len(body) > MAX_BODY:
                raise BadInput(f"sends more than {MAX_BODY // 1_000_000} MB")
    return bytes(body)


# --- npz ------------------------------------------------------------------------------------------------------------


def _read_npz(file: Path | BinaryIO, where: str) -> dict[str, np.ndarray]:
    """The arrays of a .npz file by their keys; :class:`BadInput` if it is broken or holds pickled objects."""
    if not zipfile.is_zipfile(file):
        raise BadInput(f"{where}: is not a whole .npz file: write it with numpy.savez")
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files if isinstance(arrays[key], np.ndarray)}
    except Exception as error:  # on a spoilt header numpy lets through whatever its unzipper or tokenizer raise
        raise BadInput(f"{where}: cannot be read ({_brief(error)}): write it with numpy.savez, numbers only") from None


def load_npz(ingest: Ingest) -> Loaded:
    """One .npz file with x_train, y_train and perhaps x_test, y_test; or with images, labels."""
    path = _one_file(_local(ingest, "npz"), "*.npz")
    arrays = _read_npz(path, str(path))
    pairs = [("images", "labels")] if "images" in arrays else [("x_train", "y_train")]
    if "x_test" in arrays or "y_test" in arrays:
        pairs.append(("x_test", "y_test"))
    missing = [key for pair in pairs for key in pair if key not in arrays]
    if missing:
        raise BadInput(f"{path}: has {sorted(arrays)} but no {', '.join(missing)}: name the arrays so")
    train, *rest = (check(arrays[x], arrays[y], f"{path}: {x}, {y}") for x, y in pairs)
    test = rest[0] if rest else None
    digests = {path.name: files.sha256_file(path)}
    return Loaded("npz", "local folder", *_with_test(train, test, ingest.test_share, str(path)), digests)


# --- CSV ------------------------------------------------------------------------------------------------------------


def load_csv(ingest: Ingest) -> Loaded:
    """Kaggle's Digit Recognizer: train.csv with a header ``label,pixel0…pixel783``, then a line an image."""
    path = _one_file(_local(ingest, "csv"), "train.csv")
    train, test = _with_test(read_csv(path), None, ingest.test_share, str(path))
    return Loaded("csv", "local folder", train, test, {path.name: files.sha256_file(path)})


def read_csv(path: Path) -> Split:
    """All images of a CSV file, read in chunks; :class:`BadInput` names the line and column of the first wrong cell."""
    import pandas as pd

    chunks: list[np.ndarray] = []
    try:  # no filter for missing values and no skipping of blank lines, so that a wrong cell is found where it stands
        with pd.read_csv(path, chunksize=CHUNK, na_filter=False, skip_blank_lines=False, compression=None) as reader:
            for table in reader:
                chunks.append(_csv_values(table, sum(len(chunk) for chunk in chunks), path))
    except (ValueError, OverflowError) as error:  # pandas' own are ValueErrors: no header, too many cells, not text
        raise BadInput(f"{path}: is not a CSV file of label,pixel0…pixel783 ({_brief(error)}): mend it") from None
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
    offends = _offends(values, np.array([splits.CLASSES - 1] + [255] * len(PIXELS)))
    if offends.any():
        row, column = np.argwhere(offends)[0]
        raise BadInput(
            f"{path}: line {before + row + 2}: {columns[column]} is '{table.iloc[row, column]}': "
            "labels must be whole numbers 0–9 and pixels 0–255"
        )
    return values.astype(np.uint8)


def load_kaggle(ingest: Ingest) -> Loaded:
    """Kaggle's 42,000 labelled images, a tenth held out; where train.csv is not at hand, as many of MNIST's stand in.

    Kaggle drew its images from all 70,000 of MNIST by a key of its own. The stand-in is drawn from the 60,000 training
    images with a fixed seed, and the source says so.
    """
    path = Path(ingest.local_dir).expanduser() / "train.csv"
    if path.is_file():
        images, source, digests = read_csv(path), "local folder", {path.name: files.sha256_file(path)}
    else:
        mnist = load_mnist(ingest)
        chosen = np.sort(np.random.default_rng(KAGGLE_SEED).permutation(len(mnist.train.labels))[:KAGGLE_IMAGES])
        images = Split(mnist.train.images[chosen], mnist.train.labels[chosen])
        source, digests = f"{KAGGLE_IMAGES:,} of MNIST's training images, {mnist.source}", mnist.files
    train, test = _with_test(images, None, KAGGLE_TEST_SHARE, source)
    return Loaded("kaggle", source, train, test, digests)


# --- A folder of pictures -------------------------------------------------------------------------------------------


def load_folder(ingest: Ingest) -> Loaded:
    """``0/ … 9/`` of PNG or JPEG pictures of any size, perhaps under ``train/`` and ``test/``."""
    folder = _local(ingest, "folder")
    if not folder.is_dir():
        raise BadInput(f"params.yaml: ingest.local_dir is {folder}, a file: name the folder that holds 0/ … 9/")
    has_splits = (folder / "train").is_dir()
    train, digests = _read_pictures(folder, "train/" if has_splits else "")
    test = None
    if has_splits and (folder / "test").is_dir():
        test, test_digests = _read_pictures(folder, "test/")
        digests |= test_digests
    return Loaded("folder", "local folder", *_with_test(train, test, ingest.test_share, str(folder)), digests)


def _read_pictures(folder: Path, below: str) -> tuple[Split, dict[str, str]]:
    """The pictures under ``folder/below``, and one digest a class: over its files' names and their digests."""
    paths = [path for label in _class_folders(folder / below) for path in _pictures_in(label)]
    images = np.empty((len(paths), SIDE, SIDE), np.uint8)
    hashes: dict[str, Any] = {}
    findings = []
    for i, path in enumerate(tqdm(paths, desc=f"ingest {folder / below}", unit=" pictures", disable=None)):
        data = path.read_bytes()
        try:
            images[i] = _frame(data, str(path))
        except BadInput as error:
            findings.append(str(error))
        line = f"{path.name} {hashlib.sha256(data).hexdigest()}\n"
        hashes.setdefault(f"{below}{path.parent.name}", hashlib.sha256()).update(line.encode())
    if findings:
        raise BadInput("\n".join(findings[:20]))
    labels = np.array([int(path.parent.name) for path in paths], np.uint8)
    return check(images, labels, str(folder / below)), {name: sha.hexdigest() for name, sha in hashes.items()}


def _class_folders(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    for path in found:
        if path.name not in map(str, range(splits.CLASSES)):
            raise BadInput(f"{path}: is not one of the folders 0 to 9: rename or remove it")
    return found


def _pictures_in(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    for path in found:
        if path.suffix.lower() not in PICTURES:
            raise BadInput(f"{path}: is neither PNG nor JPEG: convert or remove it")
    return found


def _frame(data: bytes, where: str) -> np.ndarray:
    """A picture's bytes → uint8 (28, 28). One that has MNIST's size and dark rim already is taken as it is."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as picture:
            ready = np.asarray(picture) if (picture.size, picture.mode) == ((SIDE, SIDE), "L") else None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        ready = None  # framing says what is wrong with it
    if ready is not None and _rim(ready).mean() < MNIST_RIM:
        return ready
    return framing.frame(io.BytesIO(data), where)


def _rim(image: np.ndarray) -> np.ndarray:
    """The outermost pixels of a 2-D image."""
    return np.concatenate([image[0], image[-1], image[1:-1, 0], image[1:-1, -1]])


# --- scikit-learn's digits ------------------------------------------------------------------------------------------


def load_digits(ingest: Ingest) -> Loaded:
    """The 1,797 real digits inside scikit-learn (UCI Optical Recognition of Handwritten Digits), in MNIST's framing."""
    from sklearn import datasets

    digits = datasets.load_digits()
    images = np.stack([framing.to_mnist(enlarge(image)) for image in digits.images])
    train, test = _with_test(check(images, digits.target, "scikit-learn"), None, ingest.test_share, "scikit-learn")
    packed = resources.files("sklearn.datasets.data").joinpath("digits.csv.gz").read_bytes()
    return Loaded("digits", "scikit-learn", train, test, _digests({"digits.csv": gunzip(packed, "digits.csv.gz")}))


def enlarge(counts: np.ndarray) -> np.ndarray:
    """Ink counts (8, 8) from 0 to 16 → ink uint8 (80, 80) from 0 to 255, with the smooth, sharp edge of a pen's stroke.

    A count is how much of its cell a stroke covers, so the interpolated share is steepened about its middle: the mean
    grey level then is MNIST's (35 and 34) and holes stay open. A rim of paper lets strokes at the edge end round.
    """
    import cv2

    share = cv2.resize(np.pad(counts, 1).astype(np.float32) / 16, (80, 80), interpolation=cv2.INTER_LANCZOS4)
    return (np.clip((share - 0.3) / 0.5, 0, 1) * 255).astype(np.uint8)


DATASETS: dict[str, Callable[[Ingest], Loaded]] = {
    "digits": load_digits,
    "mnist": load_mnist,
    "idx": load_idx,
    "npz": load_npz,
    "csv": load_csv,
    "kaggle": load_kaggle,
    "folder": load_folder,
}
