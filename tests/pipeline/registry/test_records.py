"""What an older release wrote down is read."""

import json
from pathlib import Path

import pytest
from workspace import ROOT

from pipeline.base import places
from pipeline.registry import reproduction
from pipeline.registry.records import Event

# As the first release wrote it: no margin, no recent images.
OLDER = {
    "at": "2026-01-01T00:00:00+00:00",
    "event": "promoted",
    "version": "2",
    "previous": "1",
    "by": "ann",
    "verdict": {
        "promote": True,
        "reason": "better",
        "checks": [{"name": "accuracy", "value": 0.99, "limit": 0.98, "passed": True}],
        "comparison": {
            "champion_accuracy": 0.98,
            "only_challenger_right": 9,
            "only_champion_right": 1,
            "p_value": 0.02,
            "outcome": "better",
        },
    },
}


def test_an_older_event_is_read_and_says_no_more_than_it_said():
    event = Event.model_validate_json(json.dumps(OLDER))
    assert event.verdict and event.verdict.recent is None and event.verdict.comparison
    assert event.verdict.comparison.champion is None and event.verdict.budget is None
    assert event.as_json() == OLDER


def test_the_params_of_an_older_commit_need_not_fit_today_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/incoming").mkdir(parents=True)
    (tmp_path / "data/incoming/mine.csv").write_text("label\n")
    place = tmp_path / "again"
    place.mkdir()
    recorded = (ROOT / places.PARAMS).read_text().replace("\nevaluate:\n", "\nevaluate:\n  bootstrap: 1000\n")
    (place / places.PARAMS).write_text(recorded)
    reproduction._put_data({"batches": []}, place)
    assert (place / "data/incoming/mine.csv").is_file()
