import re
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance
from workspace import ROOT

from pipeline.base import files, places
from pipeline.base import params as params_file
from pipeline.base.errors import BadInput
from pipeline.data import comparison, splits
from pipeline.data.datasets import decoders
from pipeline.data.splits import Split
from pipeline.digits.features import FEATURES

PARAMS = params_file.load(ROOT / "params.yaml").model_copy(update={"dataset": "digits"})


@pytest.fixture(scope="module")
def train() -> Split:
    return decoders.load(PARAMS).train


@pytest.fixture(scope="module")
def halves(train: Split) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = comparison.rows(train)
    return rows[::2].reset_index(drop=True), rows[1::2].reset_index(drop=True)


def verdict(reference: pd.DataFrame, images: np.ndarray, labels: np.ndarray) -> dict:
    return comparison.compare(reference, comparison.rows(Split(images, labels)), PARAMS.drift)[0]


def test_two_halves_of_one_population_are_alike(halves: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path):
    summary, snapshot = comparison.compare(*halves, PARAMS.drift)
    assert summary["verdict"] == "alike"
    assert {column["name"] for column in summary["columns"]} == {*FEATURES, "label"}
    assert (summary["reference_rows"], summary["current_rows"]) == (720, 720)

    reference, current = halves
    distances = {column["name"]: column["distance"] for column in summary["columns"]}
    for name in ("mean", "slant", "stroke_width"):
        expected = wasserstein_distance(reference[name], current[name]) / reference[name].std()
        assert distances[name] == pytest.approx(expected, rel=0.01)
    shares = [frame["label"].value_counts(normalize=True).sort_index() for frame in halves]
    assert distances["label"] == pytest.approx(jensenshannon(*shares, base=np.e), rel=0.01)

    snapshot.save_html(str(tmp_path / "drift.html"))
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
    assert columns <= {column["name"] for column in summary["columns"] if column["drifted"]}
    assert summary["verdict"] == "drift" or change is shifted  # two columns alone are below the share


def test_other_labels_drift_in_the_label(train: Split, halves):
    summary = verdict(halves[0], train.images[1::2], np.minimum(train.labels[1::2], 4))
    assert next(c["name"] for c in summary["columns"] if c["drifted"]) == "label"


@pytest.mark.parametrize(("share", "expected"), [(0.0, "drift"), (1.0, "alike")])
def test_the_verdict_hangs_on_the_share_in_params(halves, train: Split, share: float, expected: str):
    rules = PARAMS.drift.model_copy(update={"max_drifted_share": share})
    current = comparison.rows(Split(shifted(train.images[1::2]), train.labels[1::2]))
    assert comparison.compare(halves[0], current, rules)[0]["verdict"] == expected


@pytest.fixture
def workspace(train: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the halves of one population as train and test, entered."""
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    for start, name in enumerate(("train", "test")):
        splits.save(tmp_path / places.RAW / name, Split(train.images[start::2], train.labels[start::2]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_stage_goes_on_after_drift_with_a_warning(workspace: Path, capsys: pytest.CaptureFixture[str]):
    half = splits.load(places.RAW / "test")
    splits.save(places.RAW / "test", Split(inverted(np.array(half.images)), np.array(half.labels)))
    comparison.main()
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("warning: drift: train and test are not alike; largest distance ")
    assert files.read_json(comparison.REPORT)["verdict"] == "drift"
    assert comparison.PAGE.stat().st_size < 6_000_000


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda s: Split((s.images / 255).astype(np.float32), s.labels), "test: pixels are float32"),
        (lambda s: Split(s.images[:, 1:], s.labels), r"test: the images' shape is \(720, 27, 28\)"),
        (lambda s: Split(s.images, s.labels[:-1]), r"test: 720 images but \(719,\) labels"),
        (lambda s: Split(s.images[:0], s.labels[:0]), "test: there are no images"),
    ],
)
def test_the_stage_stops_on_bad_arrays(workspace: Path, change, line: str):
    half = Split(*map(np.array, splits.load(places.RAW / "test")))
    splits.save(places.RAW / "test", change(half))
    with pytest.raises(BadInput, match=f"^drift: {line}"):
        comparison.main()
    assert not comparison.REPORT.exists() and not comparison.PAGE.exists()
