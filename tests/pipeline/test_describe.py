"""Does the stage leave a row an image, once for all, and refuse arrays of another kind?"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline import describe
from pipeline.base import places
from pipeline.base.errors import BadInput
from pipeline.data import descriptions, splits
from pipeline.data.splits import Split
from pipeline.digits import features


def some(count: int, seed: int) -> Split:
    images = np.random.default_rng(seed).integers(0, 256, (count, 28, 28), np.uint8)
    return Split(images, (np.arange(count) % 10).astype(np.uint8))


@pytest.fixture(autouse=True)
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Split]:
    monkeypatch.chdir(tmp_path)
    parts = {"train": some(50, 0), "test": some(20, 1), "recent": some(0, 2)}
    for name, split in parts.items():
        splits.save(places.RAW / name, split)
    return parts


def test_a_row_an_image_in_the_split_s_order(raw: dict[str, Split]):
    describe.main()
    for name, split in raw.items():
        table = descriptions.load(name)
        np.testing.assert_array_equal(table["label"], split.labels)
        np.testing.assert_array_equal(table["hash"], splits.content_hashes(split.images))
        np.testing.assert_allclose(table[list(features.FEATURES)], features.measure(split.images))
        np.testing.assert_array_equal(table["maximum"], split.images.max(axis=(1, 2), initial=0))


def test_the_same_data_leaves_the_same_bytes():
    def left() -> dict[str, bytes]:
        describe.main()
        return {path.name: path.read_bytes() for path in places.FEATURES.iterdir()}

    first = left()
    assert set(first) == {"train.parquet", "test.parquet", "recent.parquet"} and left() == first


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda s: Split(s.images.astype(np.float32), s.labels), "train: pixels are float32, labels uint8: both"),
        (lambda s: Split(s.images[:, 1:], s.labels), r"train: the images' shape is \(50, 27, 28\)"),
        (lambda s: Split(s.images[:0], s.labels[:0]), "train: there are no images: add some"),
        (lambda s: Split(s.images, s.labels[:-1]), r"train: 50 images but \(49,\) labels: each needs one"),
    ],
)
def test_arrays_of_another_kind_are_refused(raw: dict[str, Split], change: Callable[[Split], Split], line: str):
    splits.save(places.RAW / "train", change(raw["train"]))
    with pytest.raises(BadInput, match=f"^describe: {line}"):
        describe.main()
    assert not places.FEATURES.exists()


def test_a_sample_is_of_the_lowest_hashes_also_where_many_are_equal(monkeypatch: pytest.MonkeyPatch):
    hashes = np.concatenate([np.zeros(150, np.uint64), np.arange(1000, 1400, dtype=np.uint64)])[::-1]
    descriptions.save("train", pd.DataFrame({"hash": hashes, "label": np.arange(550) % 10}))
    monkeypatch.setattr(descriptions, "SAMPLED", 100)
    assert descriptions.sample("train")["hash"].tolist() == [0] * 100
    monkeypatch.setattr(descriptions, "SAMPLED", 200)
    assert descriptions.sample("train")["hash"].nunique() == 51
