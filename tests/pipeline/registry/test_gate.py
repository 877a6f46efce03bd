import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from pipeline.base.params import Gate
from pipeline.registry import gate
from pipeline.registry.gate import Candidate

RULES = Gate(
    min_accuracy=0.9,
    min_recall=0.8,
    significance=0.05,
    when_indistinguishable="keep",
    max_size_mb=1.0,
    max_latency_ms=10.0,
    max_gap=0.05,
    min_recent_accuracy=0.9,
    min_recent_images=50,
)
NONE = np.empty(0, np.uint8)
LABELS = np.tile(np.arange(10, dtype=np.uint8), 100)


def candidate(
    wrong: range | list[int] = range(0), size_mb: float = 0.2, latency_ms: float = 1.0, gap: float = 0
) -> Candidate:
    """A model that is wrong on exactly the images of those indices."""
    predicted = LABELS.copy()
    predicted[list(wrong)] = (predicted[list(wrong)] + 1) % 10
    return Candidate(predicted, size_mb, latency_ms, gap, NONE)


def test_a_first_model_passes_on_the_floors_alone():
    verdict = gate.decide(LABELS, NONE, candidate(range(50)), None, RULES)
    assert verdict.promote and verdict.comparison is None
    assert {check.name: check.value for check in verdict.checks}["accuracy"] == 0.95


@pytest.mark.parametrize(
    ("challenger", "words"),
    [
        (candidate(range(150)), "accuracy is 0.85, allowed 0.9"),
        (candidate(list(range(3, 300, 10))), "recall of class 3, the lowest is 0.7, allowed 0.8"),
        (candidate(size_mb=1.5), "size in MB is 1.5"),
        (candidate(latency_ms=11), "latency in ms is 11"),
        (candidate(gap=0.06), "gap between train and test accuracy is 0.06, allowed 0.05"),
    ],
)
def test_a_model_below_a_floor_is_refused_whoever_it_stands_against(challenger: Candidate, words: str):
    for champion in (None, candidate(range(500))):
        verdict = gate.decide(LABELS, NONE, challenger, champion, RULES)
        assert not verdict.promote and words in verdict.reason


def test_a_better_challenger_is_promoted_and_a_worse_one_refused():
    good, bad = candidate(range(10)), candidate(range(40))
    better, worse = gate.decide(LABELS, NONE, good, bad, RULES), gate.decide(LABELS, NONE, bad, good, RULES)
    assert better.promote and better.comparison and better.comparison.outcome == "better"
    assert not worse.promote and worse.comparison and worse.comparison.outcome == "worse"


@pytest.mark.parametrize("rule", ["promote", "keep"])
def test_what_happens_to_indistinguishable_models_is_a_rule(rule: str):
    rules = RULES.model_copy(update={"when_indistinguishable": rule})
    verdict = gate.decide(LABELS, NONE, candidate(range(20)), candidate(range(18, 40)), rules)
    assert verdict.comparison and verdict.comparison.outcome == "indistinguishable"
    assert verdict.promote is (rule == "promote")


def test_the_p_value_is_the_exact_binomial_one():
    comparison = gate.compare(LABELS, candidate(range(3)).predicted, candidate(range(2, 14)).predicted, 0.05)
    assert (comparison.only_challenger_right, comparison.only_champion_right) == (11, 2)
    assert comparison.p_value == pytest.approx(2 * binom.cdf(2, 13, 0.5))


@given(st.sets(st.integers(0, 999), max_size=90), st.sets(st.integers(0, 999), max_size=90))
def test_swapping_the_two_models_swaps_the_outcome(one: set[int], other: set[int]):
    forth = gate.compare(LABELS, candidate(sorted(one)).predicted, candidate(sorted(other)).predicted, 0.05)
    back = gate.compare(LABELS, candidate(sorted(other)).predicted, candidate(sorted(one)).predicted, 0.05)
    swapped = {"better": "worse", "worse": "better", "indistinguishable": "indistinguishable"}
    assert back.outcome == swapped[forth.outcome] and back.p_value == pytest.approx(forth.p_value)


def test_a_difference_that_another_seed_might_make_is_none():
    good, bad = candidate(range(10)), candidate(range(40))  # 3 points apart
    beyond, within = (gate.decide(LABELS, NONE, bad, good, RULES, margin) for margin in (0.029, 0.031))
    assert beyond.comparison and beyond.comparison.outcome == "worse"
    assert within.comparison and within.comparison.outcome == "indistinguishable"
    assert "the seed's own noise 3.10%" in within.reason


RECENT = np.tile(np.arange(10, dtype=np.uint8), 10)


def on_recent(wrong_on_test: int, wrong_on_recent: int) -> Candidate:
    """Wrong on the first images of the test split and on the first recent ones."""
    answers = RECENT.copy()
    answers[:wrong_on_recent] = (answers[:wrong_on_recent] + 1) % 10
    return candidate(range(wrong_on_test))._replace(recent=answers)


@pytest.mark.parametrize(
    ("challenger", "champion", "promote"),
    [
        (on_recent(20, 0), on_recent(20, 9), True),  # as good on test, better on recent
        (on_recent(20, 9), on_recent(20, 0), False),  # as good on test, worse on recent
        (on_recent(0, 9), on_recent(30, 0), False),  # better on test does not make up for worse on recent
        (on_recent(30, 0), on_recent(0, 9), False),  # nor the other way round
        (on_recent(20, 5), on_recent(20, 5), False),  # indistinguishable on both, and the rule is keep
        (on_recent(0, 11), None, False),  # below the floor on recent images
    ],
)
def test_recent_images_count_as_the_test_split_does(challenger: Candidate, champion: Candidate | None, promote: bool):
    verdict = gate.decide(LABELS, RECENT, challenger, champion, RULES)
    assert verdict.promote is promote
    assert (verdict.recent is not None) == (champion is not None)


def test_few_recent_images_conclude_nothing():
    rules = RULES.model_copy(update={"min_recent_images": 101})
    verdict = gate.decide(LABELS, RECENT, on_recent(0, 50), on_recent(30, 0), rules)
    assert verdict.promote and verdict.recent is None
