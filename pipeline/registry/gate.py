"""Is the challenger better than the champion? Rules in, verdict out; no files, no MLflow.

Both models answer the same test images, and the same recent ones: what is held out of newly accepted batches. Floors
come first (accuracy, the worst class's recall, size, latency, the gap between train and test); then
McNemar's exact test on the images where just one of the two is right says better, worse or indistinguishable, and a
difference that another seed might make as well counts as none.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest

from pipeline.base.params import Gate
from pipeline.digits.image import CLASSES
from pipeline.registry.records import Check, Comparison, Outcome, Verdict


class Candidate(NamedTuple):
    """What the gate needs to know of a model."""

    predicted: np.ndarray
    """its answers on the test split: integer (N,)"""
    size_mb: float
    latency_ms: float
    gap: float
    """its accuracy on train less that on test, as measured when it was registered"""
    recent: np.ndarray
    """its answers on the images held out of the accepted batches: integer (M,), which may be empty"""


def decide(
    labels: np.ndarray,
    recent: np.ndarray,
    challenger: Candidate,
    champion: Candidate | None,
    rules: Gate,
    margin: float = 0.0,
) -> Verdict:
    """The verdict on a challenger; a first model (``champion`` None) has to pass the floors alone.

    ``labels`` integer (N,) of the test split and ``recent`` integer (M,) of what is held out of the batches, which
    both candidates answer. Of fewer than ``min_recent_images`` recent images nothing is concluded. ``margin`` is by how
    much the accuracy of two fits may differ by their seed alone.
    """
    recent_counts = len(recent) >= rules.min_recent_images
    checks = floors(labels, challenger, rules) + ([_recent_floor(recent, challenger, rules)] if recent_counts else [])
    on_test = on_recent = None
    if champion:
        on_test = compare(labels, challenger.predicted, champion.predicted, rules.significance, margin)
    if champion and recent_counts:
        on_recent = compare(recent, challenger.recent, champion.recent, rules.significance, margin)
    failed = [f"{check.name} is {check.value:.4g}, allowed {check.limit:.4g}" for check in checks if not check.passed]
    if failed:
        promote, reason = False, "; ".join(failed)
    elif on_test is None:
        promote, reason = True, "the first model, and every floor is passed"
    else:
        promote, reason = _against_champion(on_test, on_recent, rules)
    return Verdict(
        promote=promote,
        reason=reason,
        checks=tuple(checks),
        comparison=on_test,
        recent=on_recent,
        rules=rules.model_dump(),
    )


def floors(labels: np.ndarray, candidate: Candidate, rules: Gate) -> list[Check]:
    """The checks a model must pass whoever it stands against."""
    right = candidate.predicted == labels
    recalls = [float(right[labels == digit].mean()) for digit in range(CLASSES) if (labels == digit).any()]
    worst = int(np.argmin(recalls))
    at_least = [("accuracy", float(right.mean()), rules.min_accuracy)]
    at_least.append((f"recall of class {worst}, the lowest", recalls[worst], rules.min_recall))
    at_most = [("size in MB", candidate.size_mb, rules.max_size_mb)]
    at_most.append(("latency in ms", candidate.latency_ms, rules.max_latency_ms))
    at_most.append(("gap between train and test accuracy", candidate.gap, rules.max_gap))
    return [
        *(_check(name, value, limit, value >= limit) for name, value, limit in at_least),
        *(_check(name, value, limit, value <= limit) for name, value, limit in at_most),
    ]


def _check(name: str, value: float, limit: float, passed: bool) -> Check:
    return Check(name=name, value=float(value), limit=limit, passed=bool(passed))


def _recent_floor(recent: np.ndarray, candidate: Candidate, rules: Gate) -> Check:
    accuracy = float((candidate.recent == recent).mean())
    limit = rules.min_recent_accuracy
    return _check("accuracy on recent images", accuracy, limit, accuracy >= limit)


def compare(
    labels: np.ndarray, challenger: np.ndarray, champion: np.ndarray, significance: float, margin: float = 0.0
) -> Comparison:
    """McNemar's exact, two-sided test on the images where exactly one of the two predictions is right. A difference in
    accuracy within ``margin`` is none, however many images show it."""
    challenger_right, champion_right = challenger == labels, champion == labels
    gained = int((challenger_right & ~champion_right).sum())
    lost = int((champion_right & ~challenger_right).sum())
    p_value = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    outcome: Outcome = "indistinguishable"
    if p_value < significance and abs(gained - lost) > margin * len(labels):
        outcome = "better" if gained > lost else "worse"
    return Comparison(
        champion_accuracy=float(champion_right.mean()),
        only_challenger_right=gained,
        only_champion_right=lost,
        p_value=p_value,
        margin=margin,
        outcome=outcome,
    )


def _against_champion(on_test: Comparison, on_recent: Comparison | None, rules: Gate) -> tuple[bool, str]:
    """Worse on either set of images is refused; better on one of them and worse on none is promoted."""
    evidence = _evidence(on_test, "on test") + (f"; {_evidence(on_recent, 'on recent images')}" if on_recent else "")
    outcomes = {comparison.outcome for comparison in (on_test, on_recent) if comparison}
    if "worse" in outcomes or "better" in outcomes:
        return "worse" not in outcomes, evidence
    rule = f"gate.when_indistinguishable is {rules.when_indistinguishable}"
    return rules.when_indistinguishable == "promote", f"{evidence}; {rule}"


def _evidence(comparison: Comparison, where: str) -> str:
    return (
        f"{comparison.outcome} {where}: alone right on {comparison.only_challenger_right}, the champion alone on "
        f"{comparison.only_champion_right}, p = {comparison.p_value:.3g}"
        + (f", the seed's own noise {comparison.margin:.2%}" if comparison.margin else "")
    )
