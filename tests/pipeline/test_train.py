"""Does the stage refuse a training that came to nothing, and leave none of its files?"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from workspace import ROOT

from pipeline import train
from pipeline.base import params as params_file
from pipeline.base import places
from pipeline.base.errors import BadInput
from pipeline.base.params import Augment
from pipeline.data import splits
from pipeline.data.splits import Split


def test_a_training_that_diverges_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name, count in {"train": 100, "val": 40}.items():
        images, labels = rng.integers(0, 256, (count, 28, 28), np.uint8), rng.integers(0, 10, count).astype(np.uint8)
        splits.save(places.PROCESSED / name, Split(images, labels))
    shipped = params_file.load(ROOT / "params.yaml")
    wild = shipped.recipes["fast"].model_copy(
        update={"epochs": 2, "min_steps_per_epoch": 4, "learning_rate": 1e30, "schedule": "constant"}
    )
    params = shipped.model_copy(update={"recipes": {**shipped.recipes, "fast": wild}})
    monkeypatch.setattr(params_file, "load", lambda: params)
    with pytest.raises(BadInput, match=r"training diverged: lower the learning_rate of recipe fast"):
        train.main()
    assert not places.KERAS.exists() and not places.ONNX.exists()


def test_the_history_is_on_the_disk_after_each_epoch_and_holds_no_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As who watches a training needs it, by DVC's extension of VS Code or `dvc plots show`."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    split = Split(rng.integers(0, 256, (100, 28, 28), np.uint8), rng.integers(0, 10, 100).astype(np.uint8))
    recipe = params_file.load(ROOT / "params.yaml").recipes["fast"]
    recipe = recipe.model_copy(update={"epochs": 2, "min_steps_per_epoch": 1, "members": 2, "augment": Augment()})
    seen = []

    def looked_at(rows: pd.DataFrame) -> None:
        train.save(rows)
        seen.append(pd.read_csv(places.HISTORY))

    _, history = train.fitting.fit_all(split, split, recipe, 3, after_epoch=looked_at)
    assert [len(rows) for rows in seen] == [1, 2, 3, 4]
    pd.testing.assert_frame_equal(seen[-1], history.drop(columns=["kept", "seconds"]))
