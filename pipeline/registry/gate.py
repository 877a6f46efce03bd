"""May the challenger become champion? Rules in, verdict out; no files, no MLflow.

Floors come first: accuracy, the worst class's recall, accuracy on recent images, size, latency, the gap between train
and test. Then the question is not whether a difference was found, as finding none shows nothing, but by how much the
challenger could be worse, at the very most (:mod:`pipeline.registry.paired`): than each model that ever served, on all
held-out images, and on the recent ones among them. Within what `gate.max_loss` allows it is promoted; shown to be worse
it is refused; else the champion is kept, and the verdict says how many more images would tell. Comparing with all that
served, and not with the last of them alone, is what keeps many small losses from adding up (J. Feng, S. Emerson and
N. Simon, "Approval policies for modifications to machine learning-based software as a medical device: a study of
bio-creep", Biometrics 77, 2021).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from pipeline.base.form import TEN
from pipeline.base.params import Allowed, Gate
from pipeline.registry import alpha_spending, paired, wording
from pipeline.registry.records import Budget, Check, Comparison, Standing, Told, Verdict


class Judged(NamedTuple):
    """The images that models answer for the gate, test first and then what is held out of the batches."""

    labels: np.ndarray
    """integer (N,)"""
    recent: int
    """so many of them, the last ones, are held out of the batches"""
    fresh: np.ndarray
    """those that no look has seen before: bool (N,)"""
    classes: Sequence[str] = TEN
    """the labels' names"""


class Candidate(NamedTuple):
    """What the gate needs to know of a challenger."""

    version: str
    predicted: np.ndarray
    """its answers: integer (N,)"""
    size_mb: float
    latency_ms: float
    latency_ratio: float | None
    """to that of the champion in use, measured in turns with it; None where there is none"""
    gap: float
    """its accuracy on train less that on test, as measured when it was registered"""
    refused: float | None = None
    """the share of test digits, and of what is none, that it refused then; None before models could"""
    non_digits_refused: float | None = None


class Former(NamedTuple):
    """One that is champion, or was."""

    version: str
    predicted: np.ndarray
    """integer (N,)"""


def outcome(lost: int, gained: int, images: int, max_loss: float, risk: float) -> Told:
    """What the disagreements of a challenger (it alone wrong: ``lost``) with one that served come to.

    Each of the two answers that are none of ignorance is wrong with a probability of ``risk`` at most.
    """
    if paired.p_value(lost, gained, images, max_loss) <= risk:
        return "no worse"
    return "worse" if paired.p_value(gained, lost, images, 0.0) <= risk else "cannot be told"


def decide(
    judged: Judged,
    challenger: Candidate,
    formers: Sequence[Former],
    rules: Gate,
    allowed: Allowed,
    budget: Budget,
    stated_before: float | None = None,
) -> Verdict:
    """The verdict on a challenger; a first model (no ``formers``) has to pass the floors alone.

    ``formers`` are all that served, the champion in use last. Of fewer than ``min_recent_images`` recent images alone
    nothing is concluded. ``stated_before`` is :func:`stated` of the latest promotion.
    """
    checks = floors(judged, challenger, rules)
    failed = [check for check in checks if not check.passed]
    concluded = judged.recent if judged.recent >= rules.min_recent_images else 0
    overall = [beside(judged.labels, challenger, one, allowed.loss) for one in formers]
    lately = [beside(judged.labels[-concluded:], challenger, one, allowed.recent) for one in formers if concluded]
    outcomes = {one.outcome(budget.risk) for one in (*overall, *lately)}
    kept = not failed and "cannot be told" in outcomes and "worse" not in outcomes
    hardest, hardest_lately = (_hardest(pairs, budget.risk) for pairs in (overall, lately))
    more = images_that_tell([one for one in (hardest, hardest_lately) if one], budget, rules) if kept else None
    words = wording.of_floors(failed) or wording.of_bounds(challenger.version, hardest, hardest_lately, budget, more)
    more_is_told = kept and budget.refill is not None  # by the reason
    return Verdict(
        promote=not failed and outcomes <= {"no worse"},
        kept=kept,
        may_pass=bool(failed) and all(check.may_pass for check in failed) and outcomes <= {"no worse"},
        reason=words,
        checks=tuple(checks),
        comparison=hardest,
        recent=hardest_lately,
        accuracy=float((challenger.predicted == judged.labels).mean()),
        champions=tuple(Standing(version=one.version, accuracy=one.champion_accuracy) for one in overall),
        more_images=more,
        budget=budget,
        stated_accuracy=stated(judged, challenger.predicted, stated_before),
        notes=tuple((wording.of_ledger if more_is_told else wording.of_budget)(budget)),
        rules=as_judged(rules, allowed),
    )


def as_judged(rules: Gate, allowed: Allowed) -> dict[str, Any]:
    """The rules as a verdict holds them: with the losses of its data set."""
    return {**rules.model_dump(), "max_loss": allowed.loss, "max_loss_recent": allowed.recent}


def floors(judged: Judged, candidate: Candidate, rules: Gate) -> list[Check]:
    """The checks a model must pass whoever it stands against."""
    test = slice(0, len(judged.labels) - judged.recent)
    labels, right = judged.labels[test], (candidate.predicted == judged.labels)
    recalls = {int(label): float(right[test][labels == label].mean()) for label in np.unique(labels)}
    worst = min(recalls, key=lambda label: recalls[label])
    checks = [
        _at_least("accuracy", float(right[test].mean()), rules.min_accuracy),
        _at_least(f"recall of class {judged.classes[worst]}, the lowest", recalls[worst], rules.min_recall),
        _at_most("size in MB", candidate.size_mb, rules.max_size_mb),
        _at_most("latency in ms", candidate.latency_ms, rules.max_latency_ms, may_pass=True),
        _at_most("gap between train and test accuracy", candidate.gap, rules.max_gap),
    ]
    if candidate.refused is not None:
        what = "digits" if candidate.non_digits_refused is not None else "images"
        checks.append(_at_most(f"{what} refused", candidate.refused, rules.max_refused))
    if candidate.non_digits_refused is not None:
        checks.append(_at_least("non-digits refused", candidate.non_digits_refused, rules.min_non_digits_refused))
    if candidate.latency_ratio is not None:
        name = "latency as a multiple of the champion's"
        checks.append(_at_most(name, candidate.latency_ratio, rules.max_latency_ratio, may_pass=True))
    if judged.recent >= rules.min_recent_images:
        accuracy = float(right[-judged.recent :].mean())
        checks.append(_at_least("accuracy on recent images", accuracy, rules.min_recent_accuracy))
    return checks


def _at_least(name: str, value: float, limit: float) -> Check:
    return Check(name=name, value=value, limit=limit, passed=value >= limit)


def _at_most(name: str, value: float, limit: float, may_pass: bool = False) -> Check:
    return Check(name=name, value=value, limit=limit, passed=value <= limit, may_pass=may_pass)


class Pair(NamedTuple):
    """How a challenger and one that served differ on the same images."""

    version: str
    """of the one that served"""
    champion_accuracy: float
    accuracy: float
    images: int
    lost: int
    gained: int
    max_loss: float

    def outcome(self, risk: float) -> Told:
        return outcome(self.lost, self.gained, self.images, self.max_loss, risk)

    @property
    def p_value(self) -> float:
        return paired.p_value(self.lost, self.gained, self.images, self.max_loss)


def beside(labels: np.ndarray, challenger: Candidate, former: Former, max_loss: float) -> Pair:
    """On the last images that the two answered, which are those of ``labels``."""
    ours, theirs = (model.predicted[-len(labels) :] == labels for model in (challenger, former))
    lost, gained = int((theirs & ~ours).sum()), int((ours & ~theirs).sum())
    return Pair(former.version, float(theirs.mean()), float(ours.mean()), len(labels), lost, gained, max_loss)


def _hardest(pairs: Sequence[Pair], risk: float) -> Comparison | None:
    """With the one that the challenger is shown to be worse than, else is least surely no worse than, of equals the
    latest: with its limits, which take longer than the question whether they are kept."""
    if not pairs:
        return None
    pair = max(reversed(pairs), key=lambda one: (one.outcome(risk) == "worse", one.p_value, one.lost - one.gained))
    counts = (pair.lost, pair.gained, pair.images)
    return Comparison(
        champion=pair.version,
        champion_accuracy=pair.champion_accuracy,
        accuracy=pair.accuracy,
        images=pair.images,
        only_challenger_right=pair.gained,
        only_champion_right=pair.lost,
        p_value=pair.p_value,
        max_loss=pair.max_loss,
        risk=risk,
        least_loss=paired.least_lost(*counts, risk),
        most_loss=paired.most_lost(*counts, risk),
        outcome=pair.outcome(risk),
    )


def stated(judged: Judged, predicted: np.ndarray, before: float | None) -> float:
    """What may be said of the model's accuracy by somebody who may have chosen it for these very images.

    A figure on images that were looked at before goes down but never up; fresh images count as they are. It is the
    Ladder (A. Blum and M. Hardt, ICML 2015) with steps that nobody can climb: the figures of evaluate and the counts of
    a verdict are known in full, and after a few such looks no step would be safe. ``before`` is what was stated of the
    champion; the first model's figure, which nothing was chosen by, is what it measured.
    """
    right = predicted == judged.labels
    if before is None:
        return float(right.mean())
    share = float(judged.fresh.mean())
    on_fresh = float(right[judged.fresh].mean()) if share else 0.0
    return min(float(right.mean()), (1 - share) * before + share * on_fresh)


def images_that_tell(comparisons: Sequence[Comparison], budget: Budget, rules: Gate) -> int | None:
    """About so many more held-out images, and the comparisons would be decided, if the challenger goes on as it did;
    None if no number would do, as it loses as much as is allowed or more."""
    if any(one.only_champion_right - one.only_challenger_right >= one.max_loss * one.images for one in comparisons):
        return None

    def p_value(one: Comparison, more: int) -> float:
        lost, gained = (
            round(count * (1 + more / one.images)) for count in (one.only_champion_right, one.only_challenger_right)
        )
        return paired.p_value(lost, gained, one.images + more, one.max_loss)

    def tells(more: int) -> bool:
        risk = alpha_spending.risk_after(budget.images, budget.left, more, rules)
        return all(p_value(one, more) <= risk for one in comparisons)

    return alpha_spending.fewest(tells)
