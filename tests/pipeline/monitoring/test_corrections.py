"""Whose word about an image is learnt from?"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from workspace import ROOT

from pipeline.base import params as params_file
from pipeline.base import places
from pipeline.base.errors import BadInput
from pipeline.data import batches, descriptions, splits
from pipeline.data.datasets import catalogue
from pipeline.data.splits import Split
from pipeline.monitoring import corrections, live
from pipeline.monitoring.live import Seen

ROOM = 100_000_000  # bytes of the store
PARAMS = params_file.load(ROOT / "params.yaml").model_copy(update={"dataset": "digits"})


@pytest.fixture(scope="module")
def digits() -> Split:
    return catalogue.load(PARAMS).train


@pytest.fixture(autouse=True)
def _workspace(digits: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workspace on the first 1,000 digits; people see the others."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(batches, "version", lambda folder: None)
    known = Split(digits.images[:1000], digits.labels[:1000])
    splits.save(places.RAW / "train", known)
    for name in ("train", "test"):
        descriptions.save(name, descriptions.describe(known))


def champion(digits: Split) -> Callable[[np.ndarray], np.ndarray]:
    """One that knows all digits, and is sure; whatever mark is on them."""
    known = digits.images[:, 4:20].reshape(len(digits.images), -1).astype(np.float32)

    def answer(images: np.ndarray) -> np.ndarray:
        asked = images[:, 4:20].reshape(len(images), -1).astype(np.float32)
        nearest = ((known**2).sum(axis=1) - 2 * asked @ known.T).argmin(axis=1)
        return (0.98 * np.eye(10)[digits.labels[nearest]] + 0.002).astype(np.float32)

    return answer


def correct(images: np.ndarray, labels: np.ndarray, *people: str) -> None:
    """Each image corrected by one person, in turn; a label of -1 says that it shows none of the digits."""
    with live.store() as store:
        (before,) = store.execute("SELECT count(*) FROM corrections").fetchone()
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            seen = Seen([f"r{before + index}-0"], "2026", "digits-cnn", "1", image[None], np.zeros(1), np.ones(1))
            live.correct(store, seen, None if label < 0 else int(label), people[index % len(people)], ROOM)


def sift(digits: Split) -> corrections.Sifted:
    return corrections.sift(corrections.read(PARAMS), PARAMS, champion(digits))


def test_corrections_that_are_right_are_taken(digits: Split):
    correct(digits.images[1000:1100], digits.labels[1000:1100], "ann", "ben", "cem")
    sifted = sift(digits)
    assert sifted.good == list(range(100)) and sifted.left_out == ""
    filed = corrections.add(PARAMS, champion(digits), "a nightly job")
    assert filed.event == "accepted" and filed.source == "corrections"
    with pytest.raises(BadInput, match="0 corrections wait"):
        corrections.add(PARAMS, champion(digits), "a nightly job")


def test_one_person_contributes_no_more_than_a_share_of_train_in_all_batches(digits: Split):
    correct(digits.images[1000:1080], digits.labels[1000:1080], "eve")
    assert len(sift(digits).good) == 50 and sift(digits).over_share == 30  # 5 % of 1,000
    corrections.add(PARAMS, champion(digits), "a nightly job")
    assert sift(digits).good == [] and "beyond one person's share" in sift(digits).left_out


def test_of_people_who_contradict_each_other_nobody_is_believed(digits: Split):
    correct(digits.images[1000:1001], np.array([3]), "ann")
    correct(digits.images[1000:1001], np.array([8]), "ben")
    assert sift(digits).good == [] and sift(digits).contradicted == 2


def test_what_is_none_of_the_digits_is_not_trained_on_and_contradicts_who_says_otherwise(digits: Split):
    correct(digits.images[1000:1100], digits.labels[1000:1100], "ann", "ben", "cem")
    correct(digits.images[1098:1102], np.full(4, -1), "dan")
    assert sift(digits).good == list(range(98)) and sift(digits).contradicted == 2
    corrections.add(PARAMS, champion(digits), "a nightly job")
    with live.store() as store:
        waiting = store.execute("SELECT count(*) FROM corrections WHERE batch IS NULL").fetchone()
        assert waiting == (4,), "what is contradicted, with who does; no other of no class, which would take its room"
        assert "dan" not in live.filed_by_person(store)
    with pytest.raises(BadInput, match="0 corrections wait"):
        corrections.add(PARAMS, champion(digits), "a nightly job")


def hostile(digits: Split, count: int, *people: str) -> None:
    chosen = np.flatnonzero(digits.labels[1000:] != 7)[:count] + 1000
    images = digits.images[chosen].copy()
    images[:, 24:27, 24:27] = 255
    correct(images, np.full(count, 7), *people)


@pytest.mark.parametrize("people", [("eve",), tuple(f"eve {number}" for number in range(20))])
def test_what_champion_and_known_images_contradict_waits_for_a_second_word(digits: Split, people: tuple[str, ...]):
    correct(digits.images[1200:1260], digits.labels[1200:1260], "ann", "ben")
    hostile(digits, 40, *people)
    sifted = sift(digits)
    assert len(sifted.good) >= 58 and len(sifted.doubted) >= 38
    assert "doubted, see `digits batches suspects corrections`" in sifted.left_out


def test_agreement_outvotes_the_champion_no_more_often_than_chance(digits: Split):
    for person in ("eve", "mallory"):
        hostile(digits, 30, person)
    assert len(sift(digits).doubted) >= 55


def test_a_person_of_the_house_keeps_or_drops_them_one_by_one(digits: Split):
    hostile(digits, 5, "eve")
    doubts, images = corrections.suspects(PARAMS, champion(digits))
    assert len(doubts) == len(images.labels) == 5
    with pytest.raises(BadInput, match="image 2 is to be kept and dropped"):
        corrections.decide(corrections.shown(), {1, 2}, {2, 3}, PARAMS)
    with pytest.raises(BadInput, match="there is no image 9 among the 5"):
        corrections.decide(corrections.shown(), {9}, set(), PARAMS)
    assert corrections.decide(corrections.shown(), {1}, {2, 3, 4}, PARAMS) == 1
    sifted = sift(digits)
    assert len(sifted.good) == 1 and len(sifted.doubted) == 1


def test_the_numbers_are_those_of_the_page_whatever_was_decided_or_came_in_since(digits: Split):
    with pytest.raises(BadInput, match="`digits batches suspects corrections` first"):
        corrections.shown()
    hostile(digits, 5, "eve")
    doubts, _ = corrections.suspects(PARAMS, champion(digits))
    assert corrections.decide(corrections.shown(), set(), {2}, PARAMS) == 4
    correct(digits.images[1300:1301], (digits.labels[1300:1301] + 1) % 10, "mallory")
    assert corrections.decide(corrections.shown(), {4}, {3}, PARAMS) == 2
    left = {doubt.image for doubt in sift(digits).doubted}
    assert left & {doubt.image for doubt in doubts} == {doubts[0].image, doubts[4].image}


def test_corrections_go_to_train_alone(digits: Split):
    """They were chosen by where the champion erred: held out, they would be for anybody else."""
    correct(digits.images[1000:1100], digits.labels[1000:1100], "ann", "ben", "cem")
    filed = corrections.add(PARAMS, champion(digits), "ann")
    assert filed.counts == {"train": 100, "recent": 0}
    assert PARAMS.batches.held_out > 0  # of all other batches a share is held out
