"""A submitter who sees every verdict and figure in full, and chooses each next model to fit the test set.

He changes the answer on one image at a time, among those that models are unsure of, and keeps the change if the
accuracy on the test set went up. On images he cannot see his models are as good as the one he began with: all that he
gains is flattery, and the figure that is stated of what was promoted is too high by just that.
"""

from typing import NamedTuple

import numpy as np

from benchmarks.promotion.policies import FLOOR, Ours
from benchmarks.promotion.population import USUAL, accuracy, held_out, mistakes
from pipeline.base.params import Gate
from pipeline.registry import gate

IMAGES = 10_000


class Flattered(NamedTuple):
    policy: str
    overstated: float
    """mean over the runs, of the accuracy stated of the model in use at the end less its true one"""
    promoted: float
    """mean number of promotions of a run"""


def attack(rules: Gate, max_loss: float, tries: int, runs: int, rng: np.random.Generator) -> list[Flattered]:
    """Of our gate, and of the two rules that go by the figure measured on the test set."""
    sets, flaws = held_out(rng, runs, IMAGES), np.zeros(runs)
    first = mistakes(rng, sets, flaws)
    order = np.argsort(-sets.difficulty * sets.there + rng.random(sets.there.shape) * 1e-3, axis=1)
    others = {name: (first.copy(), np.zeros(runs)) for name in ("fixed floor", "latest >= current")}
    ours = Ours(rules, max_loss)
    ours.judge(sets, first)
    base, measured = first.copy(), accuracy(sets, first)
    stated, count = measured.copy(), np.zeros(runs)
    rows = np.arange(runs)
    for number in range(tries):
        candidate = base.copy()
        place = order[rows, number % order.shape[1]]
        # A wrong answer becomes right if the second guess is, which is every other time; a right one becomes wrong.
        candidate[rows, place] = np.where(base[rows, place], rng.random(runs) < 0.5, sets.there[rows, place])
        figure = accuracy(sets, candidate)
        for name, (champion, promotions) in others.items():
            passes = figure >= (FLOOR if name == "fixed floor" else accuracy(sets, champion))
            champion[passes] = candidate[passes]
            promotions += passes
        promoted = ours.judge(sets, candidate)
        count += promoted
        for row in np.flatnonzero(promoted):
            stated[row] = _stated(candidate[row], stated[row])
        better = figure > measured
        base[better], measured = candidate[better], np.where(better, figure, measured)
    found = [Flattered(ours.name, float((stated - (1 - USUAL)).mean()), float(count.mean()))]
    for name, (champion, promotions) in others.items():
        found.append(Flattered(name, float((accuracy(sets, champion) - (1 - USUAL)).mean()), float(promotions.mean())))
    return found


def _stated(wrong: np.ndarray, before: float) -> float:
    """What the gate states of a model with these mistakes, on images of which none is fresh."""
    labels = np.zeros(IMAGES, np.uint8)
    predicted = np.pad(wrong.astype(np.uint8), (0, IMAGES - len(wrong)))
    return gate.stated(gate.Judged(labels, 0, np.zeros(IMAGES, bool)), predicted, before)
