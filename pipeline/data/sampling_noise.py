"""How far apart do two samples of one population lie, by chance alone?

A permutation test (Fisher 1935): the rows of both tables are dealt out anew, again and again, and each column's
distance is measured every time. What is dealt out is whole rows, so that columns which go together stay together.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.spatial.distance import jensenshannon

DEALS = 400
SHARE = 0.99  # of the deals whose distance is not above what is returned
ROWS = 4_000  # of a table that are dealt out; of more, the distance shrinks as the root of their number
LEAST_SPREAD = 0.001  # by which Evidently divides at least

Distance = Callable[[np.ndarray], float]
"""of the rows that are in the first table, bool (N,), from the others"""


def by_chance(reference: pd.DataFrame, current: pd.DataFrame, seed: int = 0) -> dict[str, float]:
    """For each column that both have, the distance that two samples of these sizes stay below in SHARE of the cases.

    Distances are those of :func:`pipeline.data.comparison.compare`. The same tables give the same numbers.
    """
    sizes = len(reference), len(current)
    reference, current = (table.iloc[:: -(-len(table) // ROWS)] for table in (reference, current))
    together = pd.concat([reference, current], ignore_index=True)
    measures = {str(name): distance(together[name]) for name in reference if name in current}
    first, rng = np.arange(len(together)) < len(reference), np.random.default_rng(seed)
    deals = [rng.permutation(first) for _ in range(DEALS)]
    shrunk = (_noise(*sizes) / _noise(len(reference), len(current))) ** 0.5
    return {
        name: float(np.quantile([measure(deal) for deal in deals], SHARE) * shrunk)
        for name, measure in measures.items()
    }


def distance(values: pd.Series) -> Distance:
    """How the values of the first table, among these of both, lie from the others."""
    return _wasserstein(values.to_numpy()) if pd.api.types.is_numeric_dtype(values) else _jensen_shannon(values)


def _noise(first: int, second: int) -> float:
    """What the variance of the difference of two means is proportional to."""
    return 1 / first + 1 / second


def _wasserstein(values: np.ndarray) -> Distance:
    """In standard deviations of the first table: the area between the two distribution functions."""
    order = np.argsort(values, kind="stable")
    ordered = values[order].astype(np.float64)
    gaps = np.diff(ordered)

    def measure(first: np.ndarray) -> float:
        inside = first[order]
        count = int(inside.sum())
        apart = np.cumsum(np.where(inside, 1 / count, -1 / (len(inside) - count)))[:-1]
        return float(np.abs(apart) @ gaps) / max(float(ordered[inside].std()), LEAST_SPREAD)

    return measure


def _jensen_shannon(values: pd.Series) -> Distance:
    codes, names = pd.factorize(values)

    def measure(first: np.ndarray) -> float:
        shares = (np.bincount(codes[rows], minlength=len(names)) / rows.sum() for rows in (first, ~first))
        return float(jensenshannon(*shares))

    return measure
