"""By how much may one model be worse than another, at the very most? Bounds from the images on which they disagree.

Two models answer the same ``images``. On ``lost`` of them the one alone is wrong, on ``gained`` the other alone; where
both are right or both wrong nothing is learnt. The loss is the share lost less the share gained: a difference in
accuracy, from -1 to 1.

The method is M. P. Fay and K. Lumbard's, "Confidence intervals for difference in proportions for matched pairs
compatible with exact McNemar's or sign tests", Statistics in Medicine 40, 2021. It melds two exact (Clopper-Pearson)
statements, how often the models disagree and how often a disagreement is lost, as independent beta variables, the upper
ones for the upper limit:

    loss  ≤  D · (2 L - 1),    D ~ Beta(lost + gained + 1, images - lost - gained),    L ~ Beta(lost + 1, gained)

for a loss of 0 or more. One below 0 is a gain of so much, of which the lower statements, D ~ Beta(lost + gained,
images - lost - gained + 1) and, of the share that is gained, G ~ Beta(gained, lost + 1), say how likely it is exceeded.

At a loss of 0 this is McNemar's exact test, and without a disagreement it is the rule of three, 1 - risk^(1/images).
It was chosen because it holds its level at counts near 0, where those by a normal approximation fail and where good
models are, and because it takes a millisecond; `python -m benchmarks.promotion` checks both by enumeration.
"""

import math
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import betaincc, betaln

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(128)
_REACH = 12.0  # standard deviations of L, and of D, that are integrated over: what lies beyond is less than 1e-17,
_TAIL = 40.0  # also of few disagreements, whose distribution is skewed
_MOST = 1.0 - 1e-9
TOLERANCE = 1e-7  # of a bound: a thousandth of what one image in ten thousand is worth


@lru_cache(maxsize=1 << 16)
def p_value(lost: int, gained: int, images: int, loss: float) -> float:
    """How likely such counts, or more favourable ones, are for a model that is worse by ``loss`` or more."""
    if loss >= 0:
        return _beyond(lost, gained, images, loss, upper=True)
    return 1.0 - _beyond(gained, lost, images, -loss, upper=False)


def most_lost(lost: int, gained: int, images: int, risk: float) -> float:
    """The upper limit of the loss: the true one is above it with probability ``risk`` at most."""
    if p_value(lost, gained, images, _MOST) > risk:
        return 1.0
    if p_value(lost, gained, images, -_MOST) <= risk:
        return -1.0
    return float(brentq(lambda loss: p_value(lost, gained, images, loss) - risk, -_MOST, _MOST, xtol=TOLERANCE))


def least_lost(lost: int, gained: int, images: int, risk: float) -> float:
    """The lower limit of the loss: the true one is below it with probability ``risk`` at most."""
    return -most_lost(gained, lost, images, risk)


def _beyond(lost: int, gained: int, images: int, loss: float, upper: bool) -> float:
    """P(D · (2 L - 1) > ``loss``) for a ``loss`` of 0 or more, where D and L are the upper beta variables or, for the
    probability from the other side, the lower ones."""
    disagreed = lost + gained
    of_d = (disagreed + 1, images - disagreed) if upper else (disagreed, images - disagreed + 1)
    of_l = (lost + 1, gained) if upper else (lost, gained + 1)
    if of_l[1] == 0:  # L is 1
        return float(_above(loss, *of_d))
    if of_l[0] == 0:  # L is 0
        return 0.0
    mean = of_l[0] / sum(of_l)
    reach = _REACH * math.sqrt(mean * (1 - mean) / (sum(of_l) + 1))
    most_d = (of_d[0] + _REACH * math.sqrt(of_d[0]) + _TAIL) / images
    low, high = max((1 + loss / min(most_d, 1.0)) / 2, mean - reach), min(1.0, mean + reach)
    if low >= high:  # what L would have to be is out of reach
        return 0.0
    share = (low + high) / 2 + (high - low) / 2 * _NODES
    odds = np.maximum(2 * share - 1, np.finfo(float).tiny)
    density = np.exp((of_l[0] - 1) * np.log(share) + (of_l[1] - 1) * np.log1p(-share) - betaln(*of_l))
    return float((high - low) / 2 * (_WEIGHTS * density * _above(loss / odds, *of_d)).sum())


def _above(threshold: float | np.ndarray, a: int, b: int) -> float | np.ndarray:
    """P(X > threshold) of X ~ Beta(a, b), of which one may be 0: then X is 0 or 1."""
    if b == 0:
        return 1.0 * (np.asarray(threshold) < 1)
    if a == 0:
        return 0.0 * np.asarray(threshold)
    result: float | np.ndarray = betaincc(a, b, np.clip(threshold, 0, 1))
    return result


def flawless(images: int, risk: float) -> float:
    """The smallest loss that so many images can rule out: the limit for a model that loses none and gains none."""
    return 1.0 - risk ** (1.0 / images) if images else 1.0
