"""Does chance alone raise no alarm, however few the images, and does what has changed raise one?"""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from workspace import ROOT

from pipeline.base import params as params_file
from pipeline.data import comparison, descriptions, sampling_noise
from pipeline.data.datasets import catalogue

PARAMS = params_file.load(ROOT / "params.yaml").model_copy(update={"dataset": "digits"})
SIZES = [(1440, 34), (1440, 357), (10_000, 10_000)]


@pytest.fixture(scope="module")
def population() -> pd.DataFrame:
    """The numbers of the embedded digits, of which samples are drawn with replacement."""
    return comparison.labelled(descriptions.describe(catalogue.load(PARAMS).train))


def drawn(population: pd.DataFrame, rows: int, seed: int) -> pd.DataFrame:
    return population.sample(rows, replace=True, random_state=seed, ignore_index=True)


def drifted(reference: pd.DataFrame, current: pd.DataFrame, allowed: dict[str, float]) -> list[str]:
    """The columns that lie further apart than what is allowed; the distances are those that compare() measures."""
    together = pd.concat([reference, current], ignore_index=True)
    first = np.arange(len(together)) < len(reference)
    most = PARAMS.drift.max_distance
    return [name for name in reference if sampling_noise.distance(together[name])(first) >= most + allowed[name]]


def alarms(found: list[str], of: int) -> bool:
    return len(found) / of > PARAMS.drift.max_drifted_share


def shifted(table: pd.DataFrame, by: float) -> pd.DataFrame:
    """Every number ``by`` standard deviations higher."""
    numbers = table.select_dtypes("number")
    return table.assign(**(numbers + by * numbers.std()))


@pytest.mark.parametrize(("rows", "few"), SIZES, ids=lambda size: f"{size}")
def test_two_samples_of_one_population_raise_no_alarm_and_a_shift_does(population: pd.DataFrame, rows: int, few: int):
    for seed in range(1 if few == 10_000 else 8):
        reference, current = drawn(population, rows, 2 * seed), drawn(population, few, 2 * seed + 1)
        allowed = sampling_noise.by_chance(reference, current)
        assert not alarms(drifted(reference, current, allowed), len(allowed))
        moved = shifted(current, 1.0 if few < 100 else 0.5)
        assert alarms(drifted(reference, moved, sampling_noise.by_chance(reference, moved)), len(allowed))


def test_without_the_allowance_few_images_do_raise_an_alarm(population: pd.DataFrame):
    found = [drifted(drawn(population, 1440, seed), drawn(population, 34, seed + 50), dict.fromkeys(population, 0.0))
             for seed in range(10)]  # fmt: skip
    assert sum(alarms(columns, len(population.columns)) for columns in found) >= 5


def test_the_distances_are_those_of_evidently(population: pd.DataFrame):
    reference, current = drawn(population, 900, 0), shifted(drawn(population, 300, 1), 0.4)
    compared, _ = comparison.compare(reference, current, PARAMS.drift)
    together = pd.concat([reference, current], ignore_index=True)
    first = np.arange(len(together)) < len(reference)
    for column in compared.columns:
        own = sampling_noise.distance(together[column.name])(first)
        assert own == pytest.approx(column.distance, abs=1e-5), column.name


def test_what_chance_brings_is_added_to_the_threshold_of_its_column(population: pd.DataFrame):
    reference, current = drawn(population, 900, 0), shifted(drawn(population, 300, 1), 0.4)
    allowed = {name: 0.7 if name == "slant" else 0.0 for name in population}
    compared, snapshot = comparison.compare(reference, current, PARAMS.drift, allowed)
    columns = {column.name: column for column in compared.columns}
    slant, width = columns["slant"], columns["stroke_width"]
    assert (slant.threshold, slant.by_chance, slant.drifted) == (pytest.approx(0.8), 0.7, False)
    assert (width.threshold, width.by_chance, width.drifted) == (PARAMS.drift.max_distance, 0.0, True)
    (counted,) = [m for m in snapshot.dict()["metrics"] if m["config"]["type"].endswith("DriftedColumnsCount")]
    assert counted["value"]["count"] == sum(column.drifted for column in compared.columns)  # its page says the same


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(2, 60), few=st.integers(1, 60), levels=st.integers(1, 5), seed=st.integers(0, 99))
def test_the_bound_is_a_number_that_repeats_whatever_the_tables(rows: int, few: int, levels: int, seed: int):
    rng = np.random.default_rng(seed)
    tables = [
        pd.DataFrame({"level": rng.integers(0, levels, n).astype(float), "label": rng.integers(0, levels, n)}).astype(
            {"label": str}
        )
        for n in (rows, few)
    ]
    first = sampling_noise.by_chance(*tables, seed)
    assert first == sampling_noise.by_chance(*tables, seed)
    assert all(np.isfinite(value) and value >= 0 for value in first.values())
    assert set(first.values()) == {0.0} or levels > 1


def test_of_more_rows_than_are_dealt_out_the_bound_shrinks_as_their_root(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(0)
    one, other = (pd.DataFrame({"value": rng.normal(size=4000)}) for _ in range(2))
    whole = sampling_noise.by_chance(one, other)["value"]
    monkeypatch.setattr(sampling_noise, "ROWS", 500)
    assert sampling_noise.by_chance(one, other)["value"] == pytest.approx(whole, rel=0.25)
