from pathlib import Path

import pytest

from pipeline.base import files, places
from serving import trend

RECORD = {
    "at": "2026-01-01T00:00:00+00:00",
    "model": "m",
    "version": "1",
    "images": 300,
    "last_row": 300,
    "bad": True,
    "drifted_share": 0.5,
    "columns": {"border_ink": 2000.0, "slant": 0.1},
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_without_a_window_it_says_how_one_comes_about():
    assert "No window was compared yet" in trend.page("m")


@pytest.mark.parametrize("more", [{"allowed_share": 0.1}, {}], ids=["with its limit", "of a time when it was not kept"])
def test_a_window_is_a_dot_and_a_row(more: dict):
    files.append_json_line(places.home() / places.WINDOWS, {**RECORD, **more})
    page = trend.page("m")
    assert page.count("<circle") == 1 and page.count('class="limit"') == len(more)
    assert "50% of the columns differ" in page and "over 10 standard deviations" in page.replace("\n", " ")
