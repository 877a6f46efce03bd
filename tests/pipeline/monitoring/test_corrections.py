"""What people corrected in use becomes a batch to train on, and never a judge."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from pipeline.base import params as params_file
from pipeline.base.params import Params
from pipeline.data import batches, intake
from pipeline.data.batches import Filed
from pipeline.data.splits import Split
from pipeline.monitoring import corrections, live


def test_corrections_go_to_train_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """They were chosen by where the champion erred: held out, they would be for anybody else."""
    params = params_file.load()
    corrected = Split(np.random.default_rng(0).integers(0, 256, (60, 28, 28), np.uint8), np.zeros(60, np.uint8))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(live, "store", lambda: nullcontext())
    monkeypatch.setattr(live, "corrections", lambda store: ([str(n) for n in range(60)], corrected))
    monkeypatch.setattr(live, "file_under", lambda *given: None)
    filed = []

    def add(path: Path, params: Params, answer: object, by: str) -> Filed:
        batch = batches.separate("b", corrected, params.batches.held_out)
        filed.append((len(batch.train.labels), len(batch.recent.labels)))
        return Filed(event="accepted", batch="b", at="", by=by, source=path.name)

    monkeypatch.setattr(intake, "add", add)
    corrections.add(params, "ann")
    assert filed == [(60, 0)]
    assert params.batches.held_out > 0  # of all other batches a share is held out
