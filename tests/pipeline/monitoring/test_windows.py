from pathlib import Path

import pytest
from examples import window

from pipeline.base import files, places
from pipeline.monitoring import windows
from pipeline.monitoring.windows import Window

GOOD, BAD = window(False), window(True)


@pytest.mark.parametrize(
    ("records", "alarm"),
    [
        ([], False),
        ([BAD], False),  # one odd window is not drift
        ([BAD, BAD], True),
        ([BAD, GOOD, BAD], True),
        ([BAD, BAD, GOOD], False),  # the latest is good again
        ([BAD, GOOD, GOOD, BAD], False),  # the first is too long ago
        ([GOOD, GOOD, GOOD], False),
    ],
)
def test_the_alarm_wants_two_bad_windows_of_three_and_the_latest(records: list[Window], alarm: bool):
    assert windows.alarmed(records, bad=2, of=3) is alarm


def test_what_other_releases_kept_is_read_and_what_is_none_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    older = window(True).model_dump(exclude={"last_row", "allowed_share"})
    for line in (older, {"at": "2026-01-01"}, {**window(False).model_dump(), "of_later": 1}):
        files.append_json_line(places.home() / places.WINDOWS, line)
    assert [kept.bad for kept in windows.of("digits-cnn")] == [True, False]


def test_the_latest_are_those_of_the_model_oldest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert windows.latest("digits-cnn", 2) == []
    for number in range(9):
        model = "digits-cnn" if number % 2 else "other"
        record = window(False, images=number, model=model).model_dump()
        files.append_json_line(places.home() / places.WINDOWS, record)
    assert [kept.images for kept in windows.latest("digits-cnn", 2)] == [5, 7]
    assert [kept.images for kept in windows.latest("digits-cnn", 60)] == [1, 3, 5, 7]
