import re
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance
from workspace import ROOT

from pipeline.base import params as params_file
from pipeline.data import comparison, descriptions
from pipeline.data.comparison import Compared
from pipeline.data.datasets import catalogue
from pipeline.data.splits import Split
from pipeline.digits.features import FEATURES

PARAMS = params_file.load(ROOT / "params.yaml").model_copy(update={"dataset": "digits"})


@pytest.fixture(scope="module")
def train() -> Split:
    return catalogue.load(PARAMS).train


def rows(split: Split) -> pd.DataFrame:
    return comparison.labelled(descriptions.describe(split))


@pytest.fixture(scope="module")
def halves(train: Split) -> tuple[pd.DataFrame, pd.DataFrame]:
    table = rows(train)
    return table[::2].reset_index(drop=True), table[1::2].reset_index(drop=True)


def verdict(reference: pd.DataFrame, images: np.ndarray, labels: np.ndarray) -> Compared:
    return comparison.compare(reference, rows(Split(images, labels)), PARAMS.drift)[0]


def test_two_halves_of_one_population_are_alike(halves: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path):
    summary, snapshot = comparison.compare(*halves, PARAMS.drift)
    assert summary.verdict == "alike"
    assert {column.name for column in summary.columns} == {*FEATURES, "label"}
    assert (summary.reference_rows, summary.current_rows) == (720, 720)

    reference, current = halves
    distances = {column.name: column.distance for column in summary.columns}
    for name in ("mean", "slant", "stroke_width"):
        expected = wasserstein_distance(reference[name], current[name]) / reference[name].std()
        assert distances[name] == pytest.approx(expected, rel=0.01)
    shares = [frame["label"].value_counts(normalize=True).sort_index() for frame in halves]
    assert distances["label"] == pytest.approx(jensenshannon(*shares, base=np.e), rel=0.01)

    comparison.save_page(snapshot, tmp_path / "drift.html")
    page = (tmp_path / "drift.html").read_text()
    assert not re.search(r"<(?:script|link|img)[^>]+(?:src|href)=.?https?:", page)  # it can be read offline


def shifted(images: np.ndarray) -> np.ndarray:
    return np.roll(images, (2, 2), axis=(1, 2))


def thickened(images: np.ndarray) -> np.ndarray:
    return np.stack([cv2.dilate(image, np.ones((3, 3), np.uint8)) for image in images])


def faded(images: np.ndarray) -> np.ndarray:
    return (images * 0.5).astype(np.uint8)


def inverted(images: np.ndarray) -> np.ndarray:
    return 255 - images


@pytest.mark.parametrize(
    ("change", "columns"),
    [
        (shifted, {"centroid_x", "centroid_y"}),
        (thickened, {"stroke_width", "mean", "ink_share"}),
        (faded, {"mean", "contrast"}),
        (inverted, {"mean", "border_ink", "ink_share"}),
    ],
)
def test_changed_images_drift_in_the_columns_that_tell_of_it(train: Split, halves, change, columns: set[str]):
    summary = verdict(halves[0], change(train.images[1::2]), train.labels[1::2])
    assert columns <= {column.name for column in summary.columns if column.drifted}
    assert summary.verdict == "drift" or change is shifted  # two columns alone are below the share


def test_other_labels_drift_in_the_label(train: Split, halves):
    summary = verdict(halves[0], train.images[1::2], np.minimum(train.labels[1::2], 4))
    assert next(column.name for column in summary.columns if column.drifted) == "label"


@pytest.mark.parametrize(("share", "expected"), [(0.0, "drift"), (1.0, "alike")])
def test_the_verdict_hangs_on_the_share_in_params(halves, train: Split, share: float, expected: str):
    rules = PARAMS.drift.model_copy(update={"max_drifted_share": share})
    current = rows(Split(shifted(train.images[1::2]), train.labels[1::2]))
    assert comparison.compare(halves[0], current, rules)[0].verdict == expected


def test_the_page_of_a_comparison_is_the_same_bytes_twice(halves: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path):
    for name in ("first", "second"):
        comparison.save_page(comparison.compare(*halves, PARAMS.drift)[1], tmp_path / f"{name}.html")
    assert (tmp_path / "first.html").read_bytes() == (tmp_path / "second.html").read_bytes()


def test_a_feature_that_an_older_reference_lacks_is_left_out(halves: tuple[pd.DataFrame, pd.DataFrame]):
    older, current = halves[0].drop(columns="slant"), halves[1].assign(curl=1.0)
    compared, _ = comparison.compare(older, current, PARAMS.drift)
    assert {column.name for column in compared.columns} == {*FEATURES, "label"} - {"slant"}
