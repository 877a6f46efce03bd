"""Does the stage stop on what is critical, go on after warnings, and leave its reports either way?"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from workspace import ROOT

from pipeline.base import files, places
from pipeline.base import params as params_file
from pipeline.data import descriptions
from pipeline.data.datasets import catalogue
from pipeline.data.splits import Split

PARAMS = params_file.load(ROOT / "params.yaml").model_copy(update={"dataset": "digits"})


@pytest.fixture
def copies() -> tuple[Split, Split]:
    """Clean splits, to be spoilt."""
    loaded = catalogue.load(PARAMS)
    return Split(*map(np.copy, loaded.train)), Split(*map(np.copy, loaded.test))


def run_stage(folder: Path, train: Split, test: Split) -> subprocess.CompletedProcess[str]:
    (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    tables = {name: descriptions.describe(split) for name, split in {"train": train, "test": test}.items()}
    for name, table in tables.items():
        descriptions.write(folder / places.FEATURES / f"{name}.parquet", table)
    command = [sys.executable, "-m", "pipeline.validate"]
    return subprocess.run(command, cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)


def test_the_stage_stops_on_critical_findings_and_leaves_its_reports(copies: tuple[Split, Split], tmp_path: Path):
    train, _ = copies
    train.images[:] = 255 - train.images
    train.images[:40], train.labels[:40] = train.images[40:80], train.labels[40:80]
    done = run_stage(tmp_path, *copies)
    lines = done.stderr.splitlines()
    assert done.returncode == 2 and len(lines) >= 3
    assert all(line.startswith("error: validate: train: ") for line in lines)
    assert "warning: validate: train: few exact duplicates" in done.stdout
    report = files.read_json(tmp_path / places.VALIDATION)
    assert not report["success"] and report["duplicates"] == {"train": 40, "test": 0, "test_in_train": 0}
    assert (tmp_path / places.DATA_DOCS / "index.html").is_file()


def test_the_stage_goes_on_after_warnings(copies: tuple[Split, Split], tmp_path: Path):
    train, test = copies
    test.images[0], test.labels[0] = train.images[0], train.labels[0]
    done = run_stage(tmp_path, *copies)
    assert done.returncode == 0 and not done.stderr
    assert "warning: validate: test: no test image in train" in done.stdout and "27 checks, warnings: 1;" in done.stdout
    assert files.read_json(tmp_path / places.VALIDATION)["duplicates"] == {"train": 0, "test": 0, "test_in_train": 1}
    assert [path.name for path in (tmp_path / "reports").iterdir() if "." not in path.name] == ["validation"]
