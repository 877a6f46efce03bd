"""Is MNIST fetched, verified and kept, and is everything that is not whole refused in one line?"""

import hashlib
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_mnist import (
    ARRAYS,
    CONTENTS,
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    load,
    refusal,
    some_labels,
    write_mnist,
)

from pipeline.base import places
from pipeline.data.datasets import decoders, mnist
from pipeline.data.datasets.decoders import Loaded


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test in a workspace of its own, with a small MNIST."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MNIST_DIR", raising=False)
    monkeypatch.setattr(mnist, "DIGESTS", {name: hashlib.sha256(data).hexdigest() for name, data in CONTENTS.items()})
    monkeypatch.setattr(mnist, "BACKOFF_SECONDS", 0.001)


def assert_is_small_mnist(loaded: Loaded) -> None:
    arrays = (loaded.train.images, loaded.train.labels, loaded.test.images, loaded.test.labels)
    for got, expected in zip(arrays, ARRAYS.values(), strict=True):
        assert got.dtype == np.uint8
        np.testing.assert_array_equal(got, expected)
    assert loaded.files == mnist.DIGESTS


# --- MNIST from a folder --------------------------------------------------------------------------------------------


def test_mnist_comes_from_mnist_dir_before_local_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNIST_DIR", str(write_mnist(tmp_path / "mnist")))
    loaded = load("mnist", tmp_path / "other")
    assert_is_small_mnist(loaded)
    assert loaded.source == "local folder"


def test_mnist_folder_may_hold_plain_files(tmp_path: Path) -> None:
    for name, content in CONTENTS.items():
        (tmp_path / name).write_bytes(content)
    assert_is_small_mnist(load("mnist", tmp_path))


def test_mnist_folder_with_other_content_is_refused(tmp_path: Path) -> None:
    labels = decoders.encode_idx(some_labels(50)[::-1])
    folder = write_mnist(tmp_path / "mnist", CONTENTS | {TRAIN_LABELS: labels})
    message = refusal("mnist", folder)
    assert TRAIN_LABELS in message
    assert "SHA-256" in message


def test_mnist_dir_without_mnist_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path / "mnist")
    for folder in ("/nowhere", str(tmp_path)):
        monkeypatch.setenv("MNIST_DIR", folder)
        assert f"MNIST_DIR is {folder}," in refusal("mnist", tmp_path / "mnist")


def test_half_of_mnist_is_refused(tmp_path: Path) -> None:
    write_mnist(tmp_path, {TRAIN_IMAGES: CONTENTS[TRAIN_IMAGES]})
    assert f"{tmp_path}: there is no {TRAIN_LABELS}" in refusal("mnist", tmp_path)


# --- MNIST from the mirrors -----------------------------------------------------------------------------------------


@pytest.fixture
def use(mirrors: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make MIRRORS of behaviours of the local server; ``refuses`` is a port on which nobody listens."""
    write_mnist(mirrors.folder)
    write_mnist(mirrors.folder / "lies", {name: content[::-1] for name, content in CONTENTS.items()})
    lies: dict[str, Any] = dict.fromkeys(mnist.IN_NPZ.values(), ARRAYS[TEST_LABELS])
    np.savez(mirrors.folder / "lies" / "mnist.npz", **lies)

    def use(*behaviours: str) -> list[str]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            refusing = f"http://127.0.0.1:{free.getsockname()[1]}/"
        urls = [refusing if each == "refuses" else mirrors.url(*each.split()) for each in behaviours]
        monkeypatch.setattr(mnist, "MIRRORS", tuple(urls))
        return urls

    use.requests = mirrors.requests  # type: ignore[attr-defined]
    return use


@pytest.mark.parametrize("mirror", ["good", "good mnist.npz", "recovers", "recovers mnist.npz"])
def test_mnist_is_downloaded_and_kept(use: Any, mirror: str) -> None:
    urls = use(mirror)
    loaded = load("mnist")
    assert_is_small_mnist(loaded)
    assert loaded.source == urls[0]
    requests = use.requests.total()
    assert load("mnist").source == loaded.source
    assert use.requests.total() == requests, "the second time nothing is downloaded"


@pytest.mark.parametrize("bad", ["fails", "stalls", "truncates", "hides-length", "lies", "lies mnist.npz", "refuses"])
def test_a_bad_mirror_is_tried_again_then_left_for_the_next(use: Any, bad: str) -> None:
    urls = use(bad, "good")
    loaded = load("mnist", attempts=3)
    assert_is_small_mnist(loaded)
    assert loaded.source == urls[1]
    tries = [count for path, count in use.requests.items() if not path.startswith("/good")]
    assert tries == ([] if bad == "refuses" else [3])


def test_all_mirrors_down_is_one_line_that_names_each_and_what_to_do(use: Any, tmp_path: Path) -> None:
    urls = use("fails", "stalls", "truncates", "lies", "refuses", "truncates mnist.npz")
    message = refusal("mnist")
    for url, reason in zip(
        urls, ["HTTP 500", "silent for 0.2 s", "cut short", "SHA-256", "no connection", "cut short"], strict=True
    ):
        assert f"{url}: " in message
        assert reason in message.split(f"{url}: ")[1].split(";")[0]
    assert "MNIST_DIR" in message
    assert list(tmp_path.glob("data/download/*")) == []


def test_a_spoilt_kept_file_is_downloaded_again(use: Any) -> None:
    use("good")
    load("mnist")
    kept = places.DOWNLOAD / TEST_IMAGES
    kept.write_bytes(kept.read_bytes()[:-1])
    use.requests.clear()
    assert_is_small_mnist(load("mnist"))
    assert [path.rsplit("/", 1)[1] for path in use.requests] == [f"{TEST_IMAGES}.gz"]


def test_what_one_mirror_gave_is_not_asked_of_the_next(use: Any, mirrors: Any) -> None:
    urls = use("good", "good mnist.npz")
    (mirrors.folder / f"{TEST_LABELS}.gz").write_bytes(b"gone")
    loaded = load("mnist", attempts=1)
    assert_is_small_mnist(loaded)
    assert loaded.source == ", ".join(urls)


def test_a_body_that_never_ends_is_given_up(use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    use("good")
    monkeypatch.setattr(mnist, "MAX_BODY", 1000)
    assert "more than" in refusal("mnist")
