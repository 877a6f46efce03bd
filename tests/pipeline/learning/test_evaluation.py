import numpy as np
import pandas as pd
import pytest
from examples import answers
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, log_loss, precision_score, recall_score
from workspace import ROOT

from pipeline.data import splits, suspected_labels
from pipeline.digits import features
from pipeline.learning import evaluation

PARAMS = ROOT / "params.yaml"

# Three images, hand-made: a sure 0 that is right, a 1 taken for a 7, a 2 that is right with little confidence.
LABELS = np.array([0, 1, 2], np.uint8)
PROBABILITIES = np.zeros((3, 10), np.float32)
PROBABILITIES[0, 0] = 1
PROBABILITIES[1, [1, 7]] = 0.25, 0.75
PROBABILITIES[2, [2, 3]] = 0.5, 0.3
PROBABILITIES[2, 8] = 0.2


@pytest.mark.parametrize(("count", "each"), [(1000, 100), (500, 50), (1900, 190), (5000, 190)])
def test_a_sample_is_spread_over_a_split_whatever_its_order(count: int, each: int):
    labels = np.repeat(np.arange(10, dtype=np.uint8), 190)
    test = splits.Split(np.broadcast_to(labels[:, None, None], (1900, 28, 28)), labels)
    images, sampled = test.spread(count)
    np.testing.assert_allclose(np.bincount(sampled), each, atol=1)
    np.testing.assert_array_equal(images[:, 0, 0], sampled)


def test_overall_by_hand():
    found = evaluation.overall(LABELS, PROBABILITIES)
    assert found["errors"] == 1
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["loss"] == pytest.approx((0 + np.log(4) + np.log(2)) / 3, abs=1e-6)


def test_overall_and_per_class_agree_with_scikit_learn():
    labels, probabilities = answers(0, 2000)
    predicted = probabilities.argmax(axis=1)
    found = evaluation.overall(labels, probabilities)
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    assert found["loss"] == pytest.approx(log_loss(labels, probabilities))
    table = evaluation.per_class(labels, predicted).set_index("digit")
    for digit in range(10):
        row, is_it, said = table.loc[digit], labels == digit, predicted == digit
        assert row["accuracy"] == pytest.approx(accuracy_score(is_it, said))
        assert row["precision"] == pytest.approx(precision_score(is_it, said))
        assert row["recall"] == pytest.approx(recall_score(is_it, said))
        assert row["f1"] == pytest.approx(f1_score(is_it, said))
        assert row["support"] == is_it.sum()


def test_a_class_that_is_never_found_has_recall_nought_without_a_warning(recwarn):
    table = evaluation.per_class(LABELS, PROBABILITIES.argmax(axis=1)).set_index("digit")
    assert table.loc[1, "recall"] == 0 and table.loc[1, "precision"] == 0 and table.loc[7, "precision"] == 0
    assert not recwarn.list


@given(st.integers(0, 2**32), st.integers(1, 300), st.floats(0, 6))
def test_the_tables_agree_with_each_other(seed: int, n: int, sharpness: float):
    labels, probabilities = answers(seed, n, sharpness)
    matrix = evaluation.confusion(labels, probabilities.argmax(axis=1))
    errors = evaluation.overall(labels, probabilities)["errors"]
    assert matrix.sum() == n and matrix.sum() - matrix.trace() == errors
    np.testing.assert_array_equal(matrix.sum(axis=1), np.bincount(labels, minlength=10))
    assert evaluation.confused_pairs(matrix)["count"].sum() == errors
    missed = evaluation.mistakes(labels, probabilities)
    assert len(missed) == errors and (missed["true"] != missed["predicted"]).all()
    assert missed["confidence"].is_monotonic_decreasing
    suspected = suspected_labels.find(labels, probabilities)
    assert set(suspected["index"]) <= set(missed["index"])
    reliability = evaluation.calibration(labels, probabilities, 15)
    assert reliability["n"].sum() == n
    assert 0 <= evaluation.calibration_error(reliability) <= 1


@given(st.integers(1, 20_000), st.data())
def test_the_accuracy_lies_inside_its_interval(n: int, data: st.DataObject):
    right = data.draw(st.integers(0, n))
    low, high = evaluation.accuracy_interval(right, n)
    assert 0 <= low <= right / n <= high <= 1
    assert low < high


def test_the_interval_is_as_wide_as_theory_says():
    low, high = evaluation.accuracy_interval(9_000, 10_000)
    deviation = np.sqrt(0.9 * 0.1 / 10_000)
    assert low == pytest.approx(0.9 - 1.96 * deviation, abs=2e-4)
    assert high == pytest.approx(0.9 + 1.96 * deviation, abs=2e-4)


def test_a_perfect_score_still_has_an_interval():
    """Wilson's limit for no error in n samples is n / (n + z²), z = 1.96."""
    low, high = evaluation.accuracy_interval(360, 360)
    assert high == 1 and low == pytest.approx(360 / (360 + 1.96**2), rel=1e-4)


def test_confused_pairs_by_hand():
    matrix = np.diag(np.full(10, 8))
    matrix[4, 9], matrix[9, 4], matrix[3, 5] = 2, 1, 2
    matrix[3, 3] = 18
    table = evaluation.confused_pairs(matrix)
    assert table[["true", "predicted", "count"]].to_numpy().tolist() == [[4, 9, 2], [3, 5, 2], [9, 4, 1]]
    np.testing.assert_allclose(table["share"], [0.2, 0.1, 1 / 9])


def test_mistakes_by_hand():
    table = evaluation.mistakes(LABELS, PROBABILITIES)
    assert table.to_dict("records") == [{"index": 1, "true": 1, "predicted": 7, "confidence": 0.75}]


def test_a_model_that_is_as_right_as_it_says_has_no_calibration_error():
    rng = np.random.default_rng(3)
    n = 200_000
    confidence = rng.uniform(0.5, 1, n)
    probabilities = np.repeat(((1 - confidence) / 9)[:, None], 10, axis=1)
    probabilities[:, 4] = confidence
    labels = np.where(rng.uniform(size=n) < confidence, 4, 5).astype(np.uint8)
    assert evaluation.calibration_error(evaluation.calibration(labels, probabilities, 15)) < 0.005


def test_the_calibration_error_of_an_overconfident_model_is_its_excess():
    probabilities = np.full((1000, 10), 0.05 / 9)
    probabilities[:, 0] = 0.95
    labels = np.where(np.arange(1000) < 700, 0, 1).astype(np.uint8)
    table = evaluation.calibration(labels, probabilities, 10)
    assert table[["low", "high", "n"]].to_numpy().tolist() == [[0.9, 1.0, 1000]]
    assert evaluation.calibration_error(table) == pytest.approx(0.25)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    probabilities = np.zeros((2, 10))
    probabilities[:, 0], probabilities[0, 1] = 1, 0.5
    probabilities[0, 0] = 0.5
    table = evaluation.calibration(np.zeros(2, np.uint8), probabilities, 2)
    assert table[["low", "high", "n"]].to_numpy().tolist() == [[0.0, 0.5, 1], [0.5, 1.0, 1]]


def described(n: int) -> pd.DataFrame:
    frame = pd.DataFrame({name: np.random.default_rng(4).permutation(n) for name in features.FEATURES}, dtype=float)
    return frame.assign(slant=np.arange(n) - n / 2)


def test_a_slice_that_the_model_fails_on_comes_first():
    n = 1000
    right = np.ones(n, bool)
    right[:50] = False  # the most left-slanted half of the tail
    table = evaluation.slices(described(n), right)
    assert list(table.columns) == ["slice", "feature", "edge", "n", "errors", "accuracy", "low", "high"]
    assert table.loc[0, ["slice", "n", "errors", "accuracy"]].tolist() == ["slanted left", 100, 50, 0.5]
    assert table.loc[0, "low"] == pytest.approx(0.4038, abs=1e-4)  # Wilson's interval for 50 of 100
    assert table.loc[0, "high"] == pytest.approx(0.5962, abs=1e-4)
    assert set(table["slice"]) == {name for name, _, _ in features.SLICES}


def test_a_feature_that_does_not_vary_gives_no_slice():
    table = evaluation.slices(described(200).assign(stroke_width=2.0), np.ones(200, bool))
    assert "stroke_width" not in set(table["feature"]) and len(table) == len(features.SLICES) - 2
