"""The whole pipeline in one call: how it ends when a stage does."""

from pathlib import Path

import dvc_project
import pytest

from pipeline import run
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
