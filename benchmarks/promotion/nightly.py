"""A year of nightly challengers on one test set: does the champion ever fall below the best so far by more than is
allowed? And is one that is better promoted in time?"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from benchmarks.promotion.policies import FLOOR, Ours, Policy
from benchmarks.promotion.population import USUAL, HeldOut, accuracy, grown, held_out, mistakes
from pipeline.base.params import Gate

IMAGES = 10_000
NIGHTS = 365
TRIES = 10  # of whoever sends the one that looks best

Challenger = Callable[[np.random.Generator, int, np.ndarray], np.ndarray]
"""(the random numbers, the night, by how much each run's champion is worse than the usual) → that of the challengers"""


class Scenario(NamedTuple):
    name: str
    challenger: Challenger
    tries: int = 1
    """models measured a night, of which the best on the test set is the one that counts"""


SCENARIOS = (
    Scenario("equal", lambda rng, night, champion: np.zeros_like(champion)),
    Scenario("each 0.02 points worse", lambda rng, night, champion: champion + 2e-4),
    Scenario("seed noise of 0.03", lambda rng, night, champion: rng.normal(0, 3e-4, champion.shape)),
    Scenario("a bad one a week", lambda rng, night, champion: np.full_like(champion, 5e-3 if night % 7 == 0 else 0.0)),
    Scenario("better by luck", lambda rng, night, champion: np.full_like(champion, 2.5e-3), tries=TRIES),
)


class Year(NamedTuple):
    """What became of the champions of all runs."""

    policy: str
    fell: float
    """share of the runs in which the champion ever was below the best so far by more than is allowed"""
    loss: float
    """mean, at the end, below the best so far"""
    promoted: float
    """share of the challengers"""
    to_the_floor: float | None
    """median nights until the champion's true accuracy is at the floor; None if most never get there"""
    path: list[float]
    """the mean true accuracy of the champion, by night"""


def year(scenario: Scenario, policy: Policy, runs: int, max_loss: float, rng: np.random.Generator) -> Year:
    sets = held_out(rng, runs, IMAGES)
    champion = np.zeros(runs)  # by how much its error rate is above the usual
    policy.judge(sets, mistakes(rng, sets, champion))
    best, fell, count, floor = champion.copy(), np.zeros(runs, bool), 0, np.full(runs, np.inf)
    path = [1 - USUAL]
    for night in tqdm(range(1, NIGHTS + 1), f"{scenario.name}, {policy.name}", disable=None, leave=False):
        worse = scenario.challenger(rng, night, champion)
        promoted = policy.judge(sets, _chosen(rng, sets, worse, scenario.tries, policy))
        champion = np.where(promoted, worse, champion)
        best = np.minimum(best, champion)
        fell |= champion - best > max_loss + 1e-9
        floor = np.where((1 - USUAL - champion <= FLOOR + 1e-9) & np.isinf(floor), night, floor)
        count += int(promoted.sum())
        path.append(float(1 - USUAL - champion.mean()))
    median = float(np.median(floor))
    ended = None if np.isinf(median) else median
    loss = float((champion - best).mean())
    return Year(policy.name, float(fell.mean()), loss, count / (runs * NIGHTS), ended, path)


def _chosen(rng: np.random.Generator, sets: HeldOut, worse: np.ndarray, tries: int, policy: Policy) -> np.ndarray:
    """The mistakes of the best of so many tries, each of which our ledger counts."""
    chosen = mistakes(rng, sets, worse)
    for _ in range(tries - 1):
        if isinstance(policy, Ours):
            policy.pay(sets.images, 0)
        other = mistakes(rng, sets, worse)
        better = accuracy(sets, other) > accuracy(sets, chosen)
        chosen = np.where(better[:, None], other, chosen)
    return chosen


def nights_until_promoted(
    rules: Gate, max_loss: float, better: float, images: int, nightly: int, runs: int, rng: np.random.Generator
) -> np.ndarray:
    """After how many nights one that is truly better is promoted, with so many images more each night: float (runs,),
    infinite where it is not within 30. Each night another such challenger is trained and looked at."""
    policy, sets = Ours(rules, max_loss), held_out(rng, runs, images)
    policy.judge(sets, first := mistakes(rng, sets, np.zeros(runs)), images)
    found = np.full(runs, np.inf)
    for night in range(1, 31):
        sets = grown(rng, sets, nightly)
        late = mistakes(rng, sets, np.zeros(runs))
        late[:, : first.shape[1]] = first
        first, policy.served = late, [np.packbits(late, axis=1)]
        policy.count = np.ones(runs, int)
        risk = policy.pay(sets.images, nightly)
        promoted = policy.no_worse(sets.images, mistakes(rng, sets, np.full(runs, -better)), risk)
        found[promoted & np.isinf(found)] = night
    return found
