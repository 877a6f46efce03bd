import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from workspace import ROOT

from pipeline.base import files, params, places
from pipeline.digits import features
from pipeline.monitoring import live
from pipeline.monitoring.live import Seen
from serving import monitor_page

RULES = params.load(ROOT / "params.yaml").monitor

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


def page(champion: str | None = "1") -> str:
    return " ".join(monitor_page.page("m", champion, RULES).split())


def test_without_a_window_it_says_so_and_how_far_the_next_one_is():
    assert "No window was compared yet" in page() and "0 of 100 images so far" in page()
    assert "There is no champion to compare with yet" in page(champion=None)


@pytest.mark.parametrize(("count", "words"), [(5, "5 of 100 images so far"), (101, "has its 100 images")])
def test_the_images_that_came_in_since_the_last_window_are_counted(count: int, words: str):
    images = np.zeros((count, 28, 28), np.uint8)
    answers = np.zeros(count, int)
    seen = Seen([str(number) for number in range(count)], "2026-01-01", "m", "1", images, answers, answers + 0.9)
    with live.store() as store:
        live.write(store, [seen], features.measure(images), keep_images=False)
    assert words in page()
    files.append_json_line(places.home() / places.WINDOWS, {**RECORD, "last_row": count})
    assert "0 of 100 images so far" in page()


def test_a_store_that_is_busy_holds_no_page_up():
    with live.store() as store:
        store.execute("PRAGMA journal_mode=DELETE")
    with closing(sqlite3.connect(places.home() / places.SEEN)) as busy:
        busy.execute("BEGIN EXCLUSIVE")
        assert "cannot be counted now: the store is busy" in page()


@pytest.mark.parametrize("more", [{"allowed_share": 0.1}, {}], ids=["with its limit", "of a time when it was not kept"])
def test_a_window_is_a_dot_and_a_row_with_a_date_that_a_person_reads(more: dict):
    files.append_json_line(places.home() / places.WINDOWS, {**RECORD, **more})
    assert page().count("<circle") == 1 and page().count('class="limit"') == len(more)
    assert "50% of the columns differ" in page() and "over 10 standard deviations" in page()
    assert '<time datetime="2026-01-01T00:00:00+00:00">1 Jan 2026, 00:00 UTC</time>' in page()


def test_the_words_are_explained_with_the_rules_that_hold():
    for word in ("Window", "Reference", "Column", "Drift"):
        assert f"<dt>{word}</dt>" in page()
    assert "more than 10% of the columns" in page() and "2 of the last 3" in page()


def test_of_many_windows_the_latest_are_shown():
    for number in range(monitor_page.SHOWN + 5):
        files.append_json_line(places.home() / places.WINDOWS, {**RECORD, "images": 1000 + number})
    assert page().count("<circle") == monitor_page.SHOWN and "1,064 images until" in page() and "1,004" not in page()
