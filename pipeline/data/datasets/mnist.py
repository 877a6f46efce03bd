"""How does MNIST get here? From a folder or its mirrors, verified by digest; and Kaggle's 42,000 of its images."""

import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import requests
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter
from tqdm import tqdm

from pipeline.base import files, places
from pipeline.base.errors import BadInput, TemporaryFault
from pipeline.base.params import Ingest
from pipeline.data.datasets import bounds, csv_file, decoders
from pipeline.data.datasets.bounds import Bounds
from pipeline.data.datasets.decoders import Contents, Loaded, Source
from pipeline.data.splits import Split

DIGESTS = {  # SHA-256 of each file's decompressed content
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
IN_NPZ = dict(zip(DIGESTS, ("x_train", "y_train", "x_test", "y_test"), strict=True))
BACKOFF_SECONDS = 0.5  # and as much again by chance, before a mirror's second try; doubled before each later one
MAX_BODY = 100_000_000  # bytes; the largest true file is a tenth of it, and a lying mirror may never end
LARGEST = Bounds(images=60_000, bytes=MAX_BODY)  # of what a mirror sends, unpacked

KAGGLE_IMAGES, KAGGLE_TEST_SHARE = 42_000, 0.1  # 4,200 are held out in the write-ups; about as many by their hashes
KAGGLE_SEED = 42


def load_mnist(source: Source) -> Loaded:
    """From the folder MNIST_DIR, else ingest.local_dir if it holds the files, else the mirrors; the digests decide."""
    ingest = source.ingest
    folder, origin = os.environ.get("MNIST_DIR") or ingest.local_dir, "local folder"
    contents: Contents = decoders.read_idx_files(Path(folder).expanduser(), bounds.of(ingest))
    if not contents and os.environ.get("MNIST_DIR"):
        raise BadInput(f"MNIST_DIR is {folder}, which holds none of MNIST's files: correct or unset it")
    if not contents:
        folder = str(places.DOWNLOAD)
        contents, origin = _download(ingest)
    names = list(DIGESTS)
    train, test = (
        decoders.check(*decoders.decode_idx_files(contents, folder, pair)) for pair in (names[:2], names[2:])
    )
    return Loaded("mnist", origin, train, test, _verified(contents, folder))


def _verified(contents: Contents, where: str) -> dict[str, str]:
    """The contents' digests; :class:`BadInput` if one is not MNIST's."""
    digests = decoders.digests(contents)
    for name, digest in digests.items():
        if digest != DIGESTS[name]:
            raise BadInput(
                f"{where}/{name}: its content is not MNIST's (SHA-256 {digest[:12]}…, not {DIGESTS[name][:12]}…): "
                "fetch the file again, or set dataset: idx for data of your own"
            )
    return digests


def _download(ingest: Ingest) -> tuple[dict[str, bytes], str]:
    """MNIST's four files, kept ones and downloaded ones, and the mirrors they came from."""
    contents = {name: content for name in DIGESTS if (content := _kept(name))}
    used = _mirrors_used() if contents else []
    failures = []
    for mirror in MIRRORS:
        try:
            for name, content in _fetch_missing(mirror, DIGESTS.keys() - contents.keys(), ingest):
                _keep(name, content)
                contents[name] = content
                used = used if mirror in used else [*used, mirror]
                files.write_text(places.DOWNLOAD / "mirrors.txt", "\n".join(used) + "\n")
        except BadInput as error:
            failures.append(f"{mirror}: {error}")
    if len(contents) < len(DIGESTS):
        raise TemporaryFault(
            f"no mirror of MNIST gave it ({'; '.join(failures)}): try again later, or set MNIST_DIR to a folder with "
            f"{', '.join(f'{name}.gz' for name in DIGESTS)}"
        )
    return contents, ", ".join(used) or str(places.DOWNLOAD)


def _kept(name: str) -> bytes | None:
    """A file of an earlier download, if its content is still what it was."""
    path = places.DOWNLOAD / name
    content = path.read_bytes() if path.is_file() else b""
    return content if hashlib.sha256(content).hexdigest() == DIGESTS[name] else None


def _keep(name: str, content: bytes) -> None:
    with files.atomic(places.DOWNLOAD / name) as part:
        part.write_bytes(content)


def _mirrors_used() -> list[str]:
    path = places.DOWNLOAD / "mirrors.txt"
    return path.read_text(encoding="utf-8").split() if path.is_file() else []


def _fetch_missing(mirror: str, names: set[str], ingest: Ingest) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file in ``names``, in MNIST's order, as they arrive from ``mirror``."""
    if names and mirror.endswith(".npz"):
        contents = _fetch_patiently(mirror, ingest)
        yield from ((name, contents[name]) for name in DIGESTS if name in names)
    else:
        for name in (name for name in DIGESTS if name in names):
            yield from _fetch_patiently(f"{mirror}{name}.gz", ingest).items()


def _fetch_patiently(url: str, ingest: Ingest) -> dict[str, bytes]:
    """:func:`_fetch`, tried ingest.attempts times; then :class:`BadInput` with the last reason, in a few words."""
    tries = Retrying(
        stop=stop_after_attempt(ingest.attempts),
        wait=wait_exponential_jitter(
            initial=BACKOFF_SECONDS, jitter=BACKOFF_SECONDS
        ),  # so that many do not come in step
        retry=retry_if_exception_type((requests.RequestException, BadInput)),
        reraise=True,
    )
    try:
        return tries(_fetch, url, ingest.timeout_seconds)
    except requests.RequestException as error:
        raise BadInput(_reason(error, ingest.timeout_seconds)) from None


def _reason(error: requests.RequestException, timeout: float) -> str:
    if isinstance(error, requests.HTTPError):
        return f"HTTP {error.response.status_code}"
    # A stall within the body reaches us as a bare ConnectionError that only its text tells from a refusal.
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return f"silent for {timeout:g} s"
    return "cut short" if isinstance(error, requests.exceptions.ChunkedEncodingError) else "no connection"


def _fetch(url: str, timeout: float) -> dict[str, bytes]:
    """The IDX contents that ``url`` holds, by their names; :class:`BadInput` if a digest is not MNIST's."""
    body = _get(url, timeout)
    name = url.rsplit("/", 1)[1]
    if url.endswith(".npz"):
        arrays = decoders.read_npz(io.BytesIO(body), name, LARGEST)
        contents = {idx: decoders.encode_idx(arrays[key]) for idx, key in IN_NPZ.items() if key in arrays}
    else:
        contents = {name.removesuffix(".gz"): bounds.gunzip(body, name, LARGEST.bytes)}
    if any(digest != DIGESTS[idx] for idx, digest in decoders.digests(contents).items()) or not contents:
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


def load_kaggle(source: Source) -> Loaded:
    """Kaggle's 42,000 labelled images, a tenth held out; where train.csv is not at hand, as many of MNIST's stand in.

    Kaggle drew its images from all 70,000 of MNIST by a key of its own. The stand-in is drawn from the 60,000 training
    images with a fixed seed, and the source says so.
    """
    path = Path(source.ingest.local_dir).expanduser() / "train.csv"
    if path.is_file():
        read = csv_file.read(path, source._replace(images=decoders.OF_DIGITS.images))
        images, origin, digests = decoders.check(*read), "local folder", {path.name: files.sha256_file(path)}
    else:
        mnist = load_mnist(source)
        chosen = np.sort(np.random.default_rng(KAGGLE_SEED).permutation(len(mnist.train.labels))[:KAGGLE_IMAGES])
        images = Split(mnist.train.images[chosen], mnist.train.labels[chosen])
        origin, digests = f"{KAGGLE_IMAGES:,} of MNIST's training images, {mnist.source}", mnist.files
    train, test = decoders.with_test(images, None, KAGGLE_TEST_SHARE, origin)
    return Loaded("kaggle", origin, train, test, digests)
