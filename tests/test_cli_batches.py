"""The commands of batches: what they print of what their rooms found."""

from pathlib import Path

import numpy as np
import pytest

import cli
from pipeline.base import places
from pipeline.base.form import Form
from pipeline.data import quarantine, splits
from pipeline.data.batches import Doubt, Filed, Finding
from pipeline.data.splits import Split


def test_a_refused_batch_is_shown_by_its_own_classes_whatever_the_workspace_is_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    form = Form("plain", (16, 16), ("cat", "dog", "emu"))
    filed = Filed(
        event="quarantined",
        at="2026-01-01T00:00:00+00:00",
        by="ann",
        source="animals.npz",
        batch="animals",
        form=form,
        place=str(tmp_path),
        findings=(Finding(key="labels", message="doubted"),),
        doubts=(Doubt(index=0, image="a", label=2, suggested=1, clear=True),),
    )
    doubted = Split(np.zeros((1, 16, 16), np.uint8), np.array([2], form.labels))
    splits.save(tmp_path / quarantine.SUSPECTS, doubted)
    monkeypatch.setattr(quarantine, "find", lambda name: filed)
    monkeypatch.chdir(tmp_path)  # no workspace, whose classes could stand in for the batch's
    cli.main(["batches", "suspects", "animals"])
    assert "1: labelled emu, read as dog" in capsys.readouterr().out
    assert "emu" in (tmp_path / places.SUSPECTS_PAGE).read_text()
