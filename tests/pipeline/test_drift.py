"""Does the stage warn of drift between train and test, and go on?"""

from pathlib import Path

import numpy as np
import pytest
from workspace import ROOT

from pipeline import drift
from pipeline.base import files, places
from pipeline.base import params as params_file
from pipeline.base.errors import BadInput
from pipeline.data import descriptions
from pipeline.data.datasets import catalogue
from pipeline.data.splits import Split

PARAMS = params_file.load(ROOT / "params.yaml").model_copy(update={"dataset": "digits"})


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the halves of one population described as train and test, the latter inverted."""
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    whole = catalogue.load(PARAMS).train
    descriptions.save("train", descriptions.describe(Split(whole.images[::2], whole.labels[::2])))
    descriptions.save("test", descriptions.describe(Split(255 - np.asarray(whole.images[1::2]), whole.labels[1::2])))


def test_the_stage_goes_on_after_drift_with_a_warning(capsys: pytest.CaptureFixture[str]):
    drift.main()
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("warning: drift: train and test are not alike; largest distance ")
    assert files.read_json(places.DRIFT)["verdict"] == "drift"
    assert places.DRIFT_PAGE.stat().st_size < 6_000_000


def test_without_descriptions_it_says_what_to_run():
    (places.FEATURES / "test.parquet").unlink()
    with pytest.raises(BadInput, match=r"there is no data/features/test.parquet: run `dvc repro`"):
        drift.main()
    assert not places.DRIFT.exists()
