"""Is each image of train trained on or validated on, once, and never what is held out?"""

from pathlib import Path

import numpy as np
import pytest

from pipeline.base import places
from pipeline.data import splits, validation_split
from pipeline.data.near_copies import Among
from pipeline.data.splits import Split

VAL_SHARE = 0.2


def sample(count: int, seed: int = 0) -> Split:
    rng = np.random.default_rng(seed)
    return Split(rng.integers(0, 256, (count, 28, 28), dtype=np.uint8), (np.arange(count) % 10).astype(np.uint8))


def test_every_image_of_train_goes_to_train_or_val_once_with_its_label():
    raw = sample(1000)
    train, val, leaked = validation_split.separate(raw, Among(sample(10, seed=1).images), VAL_SHARE)
    assert leaked == 0 and len(train.labels) + len(val.labels) == 1000
    label_of = {image.tobytes(): label for image, label in zip(*raw, strict=True)}
    for split in (train, val):
        assert split.images.dtype == np.uint8
        assert all(label_of.pop(image.tobytes()) == label for image, label in zip(*split, strict=True))
    assert not label_of


def test_what_is_once_held_out_stays_held_out_when_data_is_added():
    small, more = sample(500), sample(1000, seed=3)
    grown = Split(np.concatenate([more.images, small.images]), np.concatenate([more.labels, small.labels]))
    nothing = Among(small.images[:0])
    before = {image.tobytes() for image in validation_split.separate(small, nothing, VAL_SHARE)[1].images}
    after = {image.tobytes() for image in validation_split.separate(grown, nothing, VAL_SHARE)[1].images}
    trained = {image.tobytes() for image in validation_split.separate(grown, nothing, VAL_SHARE)[0].images}
    assert before and before < after and not before & trained


def test_images_that_test_holds_are_dropped_from_train_and_val():
    raw = sample(300)
    train, val, leaked = validation_split.separate(raw, Among(raw.images[:30]), VAL_SHARE)
    kept = {image.tobytes() for split in (train, val) for image in split.images}
    assert leaked == 30 and not kept & {image.tobytes() for image in raw.images[:30]}


def test_a_worker_that_lives_on_keeps_no_file_of_raw_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """On NFS what is open is gone once another machine has written it anew (ESTALE)."""
    monkeypatch.chdir(tmp_path)
    for name in ("test", "recent"):
        splits.save(places.RAW / name, sample(20, seed=1))
    unseen = validation_split._unseen("some")
    assert unseen.has(sample(20, seed=1).images).all()
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()
    splits.save(places.RAW / "test", sample(20, seed=1))
    assert validation_split._unseen("some").has(sample(20, seed=1).images).all()
