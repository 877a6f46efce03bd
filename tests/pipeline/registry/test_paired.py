import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, multinomial

from pipeline.registry import paired

COUNTS = st.integers(0, 30)
IMAGES = 357


def test_without_a_disagreement_it_is_the_rule_of_three():
    assert paired.most_lost(0, 0, 10_000, 0.05) == pytest.approx(1 - 0.05**1e-4, abs=1e-6)
    assert paired.flawless(10_000, 0.05) == pytest.approx(paired.most_lost(0, 0, 10_000, 0.05), abs=1e-6)


def test_where_all_disagreements_are_lost_it_is_the_exact_binomial_limit():
    exact = binomtest(7, IMAGES, alternative="less").proportion_ci(0.99, method="exact").high
    assert paired.most_lost(7, 0, IMAGES, 0.01) == pytest.approx(exact, abs=1e-6)


@given(COUNTS, COUNTS)
def test_at_no_loss_it_is_mcnemar_s_exact_test(lost: int, gained: int):
    exact = binom.cdf(lost, lost + gained, 0.5)
    assert paired.p_value(lost, gained, IMAGES, 0.0) == pytest.approx(exact, abs=1e-9)


@given(COUNTS, COUNTS, st.sampled_from([0.05, 0.0025, 1e-6]))
def test_the_limits_hold_the_estimate_and_mirror_one_another(lost: int, gained: int, risk: float):
    low, high = (limit(lost, gained, IMAGES, risk) for limit in (paired.least_lost, paired.most_lost))
    assert -1 <= low < (lost - gained) / IMAGES < high <= 1
    assert paired.least_lost(gained, lost, IMAGES, risk) == pytest.approx(-high)


@given(COUNTS, COUNTS)
def test_a_loss_more_never_helps(lost: int, gained: int):
    assert paired.most_lost(lost + 1, gained, IMAGES, 0.01) > paired.most_lost(lost, gained, IMAGES, 0.01)
    assert paired.most_lost(lost, gained + 1, IMAGES, 0.01) <= paired.most_lost(lost, gained, IMAGES, 0.01) + 1e-6


@pytest.mark.parametrize("risk", [0.05, 0.0025])
@pytest.mark.parametrize(("lose", "gain"), [(0.5, 0), (1, 1), (3, 0), (3, 2), (8, 4), (12, 0)])
def test_the_true_loss_is_above_the_limit_no_more_often_than_the_risk(lose: float, gain: float, risk: float):
    """By enumeration of all counts that happen, of which ``lose`` and ``gain`` are expected."""
    rates = (lose / IMAGES, gain / IMAGES)
    counts = [(x, y) for x in range(40) for y in range(25)]
    likely = multinomial.pmf([(x, y, IMAGES - x - y) for x, y in counts], IMAGES, [*rates, 1 - sum(rates)])
    missed = [paired.p_value(x, y, IMAGES, rates[0] - rates[1]) <= risk for x, y in counts]
    assert np.dot(likely, missed) <= risk
