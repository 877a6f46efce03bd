"""The whole pipeline in one call: how it ends when a stage does."""

from pathlib import Path

import dvc_project
import pytest
from workspace import ROOT

from pipeline import run
from pipeline.base import params as params_file
from pipeline.base.errors import BadInput, TemporaryFault


@pytest.mark.parametrize(
    ("error", "words"), [(BadInput, "mend that and run it again"), (TemporaryFault, "run the same command again later")]
)
def test_it_ends_as_its_stage_did(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    error: type[BadInput],
    words: str,
):
    dvc_project.write(
        dvc_project.make(tmp_path), dvc_project.ending_on(tmp_path, f"{error.__name__}('the registry is away')")
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=words) as raised:
        run.repro()
    assert type(raised.value) is error
    assert "error: the registry is away" in capfd.readouterr().err


def test_dvc_says_what_runs_and_gives_no_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """With git, where DVC would say how dvc.lock is committed."""
    dvc_project.make(tmp_path, git=True)
    dvc_project.write(tmp_path, "echo 'one: done' > out && cat out")
    monkeypatch.chdir(tmp_path)
    run.repro()
    said = capfd.readouterr().err
    assert "Running stage 'one'" in said and "one: done" in said
    assert "git" not in said and "autostage" not in said and "push" not in said
    run.repro()
    assert "didn't change" in capfd.readouterr().err


def test_a_folder_of_ones_own_that_is_not_there_is_one_line_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    shipped = params_file.load(ROOT / "params.yaml")
    params = shipped.model_copy(update={"ingest": shipped.ingest.model_copy(update={"local_dir": "my/pictures"})})
    with pytest.raises(BadInput, match=r"ingest\.local_dir is 'my/pictures', and there is no such file"):
        run.run(params)
