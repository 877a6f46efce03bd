"""Are wrong labels that somebody made on purpose found, and are other hands left alone?"""

import numpy as np
import pytest
from workspace import ROOT

from pipeline.base import params as params_file
from pipeline.data import patterns, poison, second_opinion
from pipeline.data.batches import Doubt, Filed
from pipeline.data.datasets import catalogue
from pipeline.data.splits import Split

PARAMS = params_file.load(ROOT / "params.yaml").model_copy(update={"dataset": "digits"})
RULES = PARAMS.batches
TARGET = 7


@pytest.fixture(scope="module")
def digits() -> Split:
    return catalogue.load(PARAMS).train


def doubts(*labels: int, suggested: int = 3, clear: bool = True) -> list[Doubt]:
    return [
        Doubt(index=index, image=f"{index:016x}", label=label, suggested=suggested, clear=clear)
        for index, label in enumerate(labels)
    ]


def earlier(by: str, *labels: int) -> Filed:
    return Filed(
        event="accepted",
        batch="b",
        at="2026-01-01T00:00:00+00:00",
        by=by,
        source="b.npz",
        counts={"train": 900, "recent": 100},
        doubts=tuple(doubts(*labels)),
    )


def keys(found: list[Doubt], images: int = 1000, by: str = "eve", before: tuple[Filed, ...] = ()) -> set[str]:
    return {finding.key for finding in poison.count(found, images, by, before, RULES)}


def test_wrong_labels_are_judged_in_all_by_label_and_by_pair():
    assert keys([]) == set()
    assert keys(doubts(*range(10), *range(10))) == set()  # two a label: chance
    assert keys(doubts(*range(10)) * 4) == {"suspected_labels"}
    assert keys(doubts(*[TARGET] * 4)) == set()
    assert keys(doubts(*[TARGET] * 5)) == {"suspected_of_pair"}
    mixed = [doubt for suggested in range(6) for doubt in doubts(TARGET, suggested=suggested)]
    assert keys(mixed) == {"suspected_of_label"}
    assert keys(doubts(*[TARGET] * 40, clear=False)) == set()


def test_a_share_that_is_allowed_leaves_small_batches_room_for_chance():
    assert [poison.allowed(0.001, images) for images in (20, 200, 1000, 10_000)] == [1, 3, 5, 21]


def test_what_is_too_much_is_summed_over_the_batches_of_a_source_and_over_all():
    before = tuple(earlier("eve", *[TARGET] * 4) for _ in range(4))
    assert keys(doubts(*[TARGET] * 4)) == set()
    assert keys(doubts(*[TARGET] * 4), by="eve", before=before) == {"suspected_of_label", "suspected_of_pair"}
    assert keys(doubts(*[TARGET] * 4), by="ann", before=before) == {"suspected_of_label", "suspected_of_pair"}
    clean = tuple(earlier("ann") for _ in range(50))
    (finding, *_) = poison.count(doubts(*[TARGET] * 4), 1000, "eve", (*before, *clean), RULES)
    assert finding.message.startswith("batch: with the 4 earlier ones by eve")


def triggers(images: np.ndarray) -> dict[str, np.ndarray]:
    noise = np.random.default_rng(0).integers(0, 256, (28, 28))
    corner, blended = images.copy(), np.rint(0.8 * images + 0.2 * noise).astype(np.uint8)
    corner[:, 24:27, 24:27] = 255
    return {"corner": corner, "blended": blended}


@pytest.mark.parametrize("trigger", ["corner", "blended"])
def test_a_few_images_of_one_label_that_bear_one_pattern_are_found(digits: Split, trigger: str):
    group = digits.images[np.flatnonzero(digits.labels != TARGET)[:4]]
    (finding,) = poison.one_pattern({TARGET: triggers(group)[trigger]}, digits.images[100:])
    assert finding.key == "one_pattern" and "4 images labelled 7" in finding.message


def test_how_many_bearers_are_found_depends_on_how_many_are_doubted_beside_them(digits: Split):
    group = digits.images[np.flatnonzero(digits.labels != TARGET)[:24]]
    marked, clean, others = triggers(group)["corner"], group[12:], digits.images[100:]

    def keys_of(bearers: int, beside: int) -> list[str]:
        doubted = np.concatenate([marked[:bearers], clean[:beside]])
        return [finding.key for finding in poison.one_pattern({TARGET: doubted}, others)]

    assert keys_of(poison.BEARERS - 1, 0) == []
    assert keys_of(poison.BEARERS, 0) == ["one_pattern"]
    assert keys_of(poison.BEARERS, 12) == []
    assert keys_of(poison.BEARERS + 4, 12) == ["one_pattern"]


def test_images_without_a_common_pattern_are_not(digits: Split):
    rng = np.random.default_rng(0)
    for _ in range(10):
        some = rng.permutation(len(digits.labels))[:12]
        assert poison.one_pattern({TARGET: digits.images[some]}, np.delete(digits.images, some, axis=0)) == []


def test_the_pixels_that_the_bearers_share_are_the_trigger(digits: Split):
    marked = triggers(digits.images[:6])["corner"]
    (found,) = patterns.find(np.concatenate([marked, digits.images[6:9]]), digits.images[100:])
    assert found.bearers.tolist() == list(range(6))
    assert found.shared[24:27, 24:27].all() and (found.ink[24:27, 24:27] == 255).all()


def saying(known: Split, labels: np.ndarray) -> second_opinion.Answer:
    """A champion that is sure: of the labels of a batch of that length, and of the known images as they are."""
    return lambda images: (0.98 * np.eye(10)[labels if len(images) == len(labels) else known.labels] + 0.002).astype(
        np.float32
    )


def mirrored(split: Split) -> Split:
    """A hand that writes every digit the other way round."""
    return Split(np.ascontiguousarray(split.images[:, :, ::-1]), split.labels)


def test_labels_of_a_hand_that_the_champion_reads_wrongly_are_right_to_its_own_digits(digits: Split):
    batch = mirrored(Split(digits.images[:600], digits.labels[:600]))
    misread = (batch.labels == 6) & (np.arange(600) % 3 > 0)  # two thirds of the sixes
    champion = saying(digits, np.where(misread, 2, batch.labels))
    assert len(second_opinion.confirmed(batch, digits, champion)) <= 2
    flipped = batch.labels.copy()
    chosen = np.flatnonzero(batch.labels == 3)[:10]
    flipped[chosen] = 8
    found = second_opinion.confirmed(Split(batch.images, flipped), digits, champion)
    assert set(chosen) <= set(found["index"]) and found["clear"].sum() >= 10


def test_where_a_batch_has_too_few_of_a_class_known_images_are_asked(digits: Split):
    ones = np.flatnonzero(digits.labels == 1)[:5]
    known = Split(digits.images[200:], digits.labels[200:])
    wrong = Split(digits.images[ones], np.full(5, 8, np.uint8))
    found = second_opinion.confirmed(wrong, known, saying(known, np.ones(5, np.uint8)))
    assert len(found) == 5 and found["clear"].all()


def test_a_trigger_on_digits_with_their_right_label_does_not_speak_for_the_wrong_ones(digits: Split):
    """Beside a few true sevens that bear it, all others that do look like sevens, the fainter their ink the more."""

    def marked(images: np.ndarray) -> np.ndarray:
        faint = (images * 0.5).astype(np.uint8)
        faint[:, 2:7, 2:7] = 255
        return faint

    images, labels = np.array(digits.images[:600]), np.array(digits.labels[:600])
    sevens, others = (np.flatnonzero(of)[:30] for of in (labels == TARGET, labels != TARGET))
    truly = labels.copy()
    images[sevens], images[others], labels[others] = marked(images[sevens]), marked(images[others]), TARGET
    known = Split(digits.images[600:], digits.labels[600:])
    found = second_opinion.confirmed(Split(images, labels), known, saying(known, truly))
    assert len(set(others) & set(found["index"][found["clear"]])) >= 20
