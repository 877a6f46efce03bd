from dataclasses import replace

import numpy as np
import pytest

from pipeline.base import params as params_file
from pipeline.base.params import Allowed, Gate
from pipeline.registry import gate, paired
from pipeline.registry.alpha_spending import Ledger
from pipeline.registry.gate import Candidate, Former, Judged
from pipeline.registry.records import Budget, Verdict

RULES = Gate(
    risk=0.05,
    max_loss={"other": 0.02},
    max_loss_recent={"other": 0.1},
    look_share=0.05,
    approval="gate",
    approval_hours=24.0,
    min_accuracy=0.9,
    min_recall=0.8,
    max_gap=0.05,
    max_refused=0.03,
    min_non_digits_refused=0.5,
    min_recent_accuracy=0.9,
    min_recent_images=50,
    max_size_mb=1.0,
    max_latency_ms=10.0,
    max_latency_ratio=3.0,
    max_trigger_success=0.05,
)
ALLOWED = Allowed(0.02, 0.1)
LABELS = np.tile(np.arange(10, dtype=np.uint8), 100)
JUDGED = Judged(LABELS, 0, np.zeros(1000, bool))


def wrong_on(wrong: range | list[int], judged: Judged = JUDGED) -> np.ndarray:
    answers = judged.labels.copy()
    answers[list(wrong)] = (answers[list(wrong)] + 1) % 10
    return answers


def candidate(wrong: range | list[int] = range(0), **more: float) -> Candidate:
    """A model that is wrong on exactly the images of those indices."""
    facts = {"size_mb": 0.2, "latency_ms": 1.0, "latency_ratio": None, "gap": 0.0}
    return Candidate("2", wrong_on(wrong), **{**facts, **more})  # type: ignore[arg-type]


def former(wrong: range | list[int], version: str = "1") -> Former:
    return Former(version, wrong_on(wrong))


def budget(looks: int = 1, images: int = 1000, max_loss: float = ALLOWED.loss) -> Budget:
    ledger = Ledger()
    for number in range(looks):
        ledger = ledger.spend("these", str(number), images, images if number == 0 else 0, RULES.look_share)
    return ledger.budget(ledger.looks[-1], RULES, max_loss)


def decide(challenger: Candidate, *formers: Former, rules: Gate = RULES, looks: int = 1) -> Verdict:
    return gate.decide(JUDGED, challenger, formers, rules, ALLOWED, budget(looks))


def test_a_first_model_passes_on_the_floors_alone():
    verdict = decide(candidate(range(50)))
    assert verdict.promote and verdict.comparison is None
    assert {check.name: check.value for check in verdict.checks}["accuracy"] == 0.95


@pytest.mark.parametrize(
    ("challenger", "words"),
    [
        (candidate(range(150)), "accuracy is 0.85, allowed 0.9"),
        (candidate(list(range(3, 300, 10))), "recall of class 3, the lowest is 0.7, allowed 0.8"),
        (candidate(size_mb=1.5), "size in MB is 1.5"),
        (candidate(latency_ms=11), "latency in ms is 11"),
        (candidate(latency_ratio=3.5), "latency as a multiple of the champion's is 3.5, allowed 3"),
        (candidate(gap=0.06), "gap between train and test accuracy is 0.06, allowed 0.05"),
    ],
)
def test_a_model_below_a_floor_is_refused_whoever_it_stands_against(challenger: Candidate, words: str):
    for formers in ([], [former(range(500))]):
        verdict = decide(challenger, *formers)
        assert not verdict.promote and not verdict.kept and words in verdict.reason


def test_only_what_another_try_may_find_otherwise_may_pass():
    good = former(range(10))
    assert decide(candidate(latency_ratio=3.5), good).may_pass
    assert not decide(candidate(latency_ratio=3.5, gap=0.06), good).may_pass
    assert not decide(candidate(range(60), latency_ratio=3.5), good).may_pass


def test_a_better_challenger_is_promoted_and_a_worse_one_refused():
    better, worse = decide(candidate(range(10)), former(range(40))), decide(candidate(range(40)), former(range(10)))
    assert better.promote and "at least" in better.reason and "more accurate than version 1" in better.reason
    assert not worse.promote and not worse.kept and "version 2 is less accurate than version 1" in worse.reason


def test_what_cannot_be_told_keeps_the_champion_and_says_what_would_tell():
    verdict = decide(candidate(range(30)), former(range(30, 60)))
    assert not verdict.promote and verdict.kept
    assert verdict.more_images and f"about {verdict.more_images:,} more held-out images would tell" in verdict.reason
    comparison = verdict.comparison
    assert comparison and comparison.outcome == "cannot be told" and comparison.most_loss > ALLOWED.loss
    grown = 1 + verdict.more_images / 1000
    risk = RULES.risk * RULES.look_share
    assert paired.most_lost(round(30 * grown), round(30 * grown), round(1000 * grown), risk) <= ALLOWED.loss + 1e-3


def test_a_challenger_that_loses_as_it_may_not_is_not_told_to_wait_for_images():
    verdict = decide(candidate(range(95)), former(range(95, 170)))
    assert verdict.kept and verdict.more_images is None
    assert "it loses too many for more images to help" in verdict.reason


def test_every_one_that_served_counts_not_the_last_alone():
    """Each a little worse than the one before: against the last one alone they would go down for ever."""
    steps = [former(range(6 * number), str(number)) for number in range(4)]
    assert decide(candidate(range(24)), steps[-1]).promote
    verdict = decide(candidate(range(24)), *steps)
    assert not verdict.promote and verdict.comparison and verdict.comparison.champion == "0"
    assert [one.version for one in verdict.champions] == ["0", "1", "2", "3"]


def test_the_words_are_of_the_one_that_the_challenger_is_shown_to_be_worse_than():
    """Though it is less surely no worse than the other."""
    wide = Judged(np.zeros(10_000, np.uint8), 0, np.zeros(10_000, bool))

    def wrong_on_these(*spans: range) -> np.ndarray:
        answers = wide.labels.copy()
        answers[[place for span in spans for place in span]] = 1
        return answers

    first, second = range(104), range(200, 201)  # on which the formers alone are wrong
    challenger = candidate()._replace(predicted=wrong_on_these(range(300, 420)))
    formers = [
        Former("1", wrong_on_these(first)),  # it loses 120, gains 104
        Former("2", wrong_on_these(second, range(314, 420))),  # it loses 14, gains 1
    ]
    allowed, paid = Allowed(0.002, 0.1), budget(1, 10_000, 0.002)
    verdict = gate.decide(wide, challenger, formers, RULES, allowed, paid)
    assert paid.risk == pytest.approx(0.0025) and not verdict.promote and not verdict.kept
    assert verdict.comparison and (verdict.comparison.champion, verdict.comparison.outcome) == ("2", "worse")
    assert "is less accurate than version 2" in verdict.reason


def test_each_look_leaves_less_to_conclude_with():
    challenger, champion = candidate(range(3)), former(range(3, 6))
    assert decide(challenger, champion).promote
    worn = decide(challenger, champion, looks=300)
    assert worn.kept and worn.budget and worn.budget.worn_out and worn.budget.refill
    assert f"300 looks have worn these images out: with {worn.budget.refill} fresh held-out ones" in worn.reason


def test_too_few_images_to_tell_anything_say_how_many_are_needed():
    few, right, paid = Judged(LABELS[:100], 0, np.ones(100, bool)), LABELS[:100], budget(1, 100)
    perfect = Candidate("2", right, 0.1, 1.0, None, 0.0)
    verdict = gate.decide(few, perfect, [Former("1", right)], RULES, ALLOWED, paid)
    assert verdict.kept and verdict.budget and verdict.budget.refill
    _, said, enough = verdict.reason.partition("these images are too few: ")
    assert said and enough.startswith(f"{verdict.budget.refill:,} more would be enough, or a gate.max_loss of 0.")
    assert verdict.notes == (), "the reason says it"
    first = gate.decide(few, perfect, [], RULES, ALLOWED, paid)
    assert first.promote  # by the floors alone
    assert [note.partition("is worse: ")[2] for note in first.notes] == [enough]
    bad = Former("1", np.where(np.arange(100) < 12, (right + 1) % 10, right))
    assert gate.decide(few, perfect, [bad], RULES, ALLOWED, paid).promote  # what is really better still shows


RECENT = Judged(np.concatenate([LABELS, LABELS[:100]]), 100, np.zeros(1100, bool))


@pytest.mark.parametrize(
    ("on_test", "on_recent", "champion_on_recent", "promote"),
    [
        (20, 0, 9, True),  # as good on test, better on recent
        (20, 5, 0, False),  # as good on all, and on recent images too many may be lost
        (20, 11, None, False),  # below the floor on recent images
        (20, 9, None, True),
    ],
)
def test_recent_images_count_of_their_own(on_test: int, on_recent: int, champion_on_recent: int | None, promote: bool):
    def answers(wrong: int, recent: int) -> np.ndarray:
        return wrong_on([*range(wrong), *range(1000, 1000 + recent)], RECENT)

    challenger = candidate()._replace(predicted=answers(on_test, on_recent))
    formers = [] if champion_on_recent is None else [Former("1", answers(on_test, champion_on_recent))]
    verdict = gate.decide(RECENT, challenger, formers, RULES, ALLOWED, budget(1, 1100))
    assert verdict.promote is promote
    assert (verdict.recent is not None) == (champion_on_recent is not None)
    few = RULES.model_copy(update={"min_recent_images": 101})
    assert gate.decide(RECENT, challenger, formers, few, ALLOWED, budget(1, 1100)).recent is None


def test_a_stated_figure_rises_on_fresh_images_alone():
    perfect, half = LABELS, wrong_on(range(500))
    assert gate.stated(JUDGED, half, None) == 0.5
    assert gate.stated(JUDGED, perfect, 0.9) == 0.9
    assert gate.stated(JUDGED, half, 0.9) == 0.5
    fresh = JUDGED._replace(fresh=np.arange(1000) < 250)
    assert gate.stated(fresh, perfect, 0.9) == pytest.approx(0.75 * 0.9 + 0.25)
    assert gate.stated(JUDGED._replace(fresh=np.ones(1000, bool)), perfect, 0.9) == 1.0


def test_357_images_are_enough_for_the_shipped_params_and_say_what_they_allow():
    shipped = params_file.load().gate
    allowed = shipped.allowed("digits")
    assert paired.flawless(357, shipped.risk * shipped.look_share) == pytest.approx(0.0166, abs=1e-4)
    assert gate.outcome(1, 1, 357, allowed.loss, shipped.risk * shipped.look_share) == "no worse"
    assert shipped.allowed("mnist").loss == shipped.max_loss["other"] == 0.002
    own = shipped.model_copy(update={"max_loss": {**shipped.max_loss, "folder": 0.01}})
    assert own.allowed("animals", "folder").loss == 0.01, "of a data set with a name its files' form may be named"


def test_a_spent_look_is_worth_what_is_written():
    spent = replace(Ledger(), left=0.5).spend("these", "m", 1000, 100, 0.05)
    assert spent.looks[-1].spent == pytest.approx(0.05 * 0.6) and spent.left == pytest.approx(0.95 * 0.6)
