"""The monitor on a trained model: no alarm on images like those it learnt from, one under each corruption."""

import numpy as np
import pytest
from answers import Answers
from workspace import ROOT, Workspace

from pipeline.base import params as params_file
from pipeline.data import comparison, splits
from pipeline.digits import corruptions, features
from pipeline.monitoring import monitor

RULES = params_file.load(ROOT / "params.yaml").monitor
IMAGES = 300  # of a window


@pytest.fixture(scope="module")
def parts(demo: Workspace) -> dict[str, np.ndarray]:
    return {name: np.asarray(splits.load(demo.folder / "data/processed" / name).images) for name in ("val", "test")}


def look(answers: Answers, reference: np.ndarray, images: np.ndarray) -> str:
    rows = (comparison.answered(features.describe(part), answers(part)) for part in (reference, images))
    return monitor.compare(*rows, RULES)[0].verdict


@pytest.mark.parametrize("seed", range(3))
def test_clean_windows_are_alike(answers: Answers, parts: dict[str, np.ndarray], seed: int):
    drawn = np.random.default_rng(seed).choice(len(parts["test"]), IMAGES)
    assert look(answers, parts["val"], parts["test"][drawn]) == "alike"


@pytest.mark.parametrize("name", corruptions.CORRUPTIONS)
def test_each_corruption_is_drift(answers: Answers, parts: dict[str, np.ndarray], name: str):
    rng = np.random.default_rng(0)
    drawn = parts["test"][rng.choice(len(parts["test"]), IMAGES)]
    assert look(answers, parts["val"], corruptions.CORRUPTIONS[name](drawn, rng, 1.0)) == "drift"
