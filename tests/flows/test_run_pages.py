"""What people read in Prefect: each page says one thing, of the right version, and leads on from there."""

from pathlib import Path

import pytest
from checkout import NAME, Checkout
from examples import facts, window

from flows import links, pages
from pipeline.base.params import Monitor
from pipeline.registry.records import Check, Event, Verdict

CHAMPION = facts(accuracy=0.99, accuracy_low=0.98, accuracy_high=1.0)
RULES = Monitor(min_images=100, max_images=1000, max_distance=0.25, max_drifted_share=0.1, bad=2, of=3)


def test_a_retraining_with_nothing_to_do_is_one_line():
    (line,) = pages.nothing(CHAMPION, "schedule: nightly").splitlines()
    assert "schedule: nightly" in line and "Champion stays digits-cnn version 1, test accuracy 99.00%" in line


def test_a_model_that_was_judged_before_changes_nothing_and_the_page_says_nothing_else():
    event = Event(event="unchanged", version="2", reason="version 1 was judged before (it is worse)")
    page = pages.decision(event, CHAMPION, [])
    assert page.startswith("# Version 2 stays champion\n\nVersion 1 was judged before (it is worse).\n")
    assert pages.checks(event) == []


def test_the_gate_s_table_has_a_row_a_rule():
    rule = Check(name="accuracy", value=0.98765, limit=0.9, passed=True)
    verdict = Verdict(promote=True, reason="passed", checks=(rule,), comparison=None)
    rows = pages.checks(Event(event="promoted", version="3", verdict=verdict))
    assert rows == [{"rule": "accuracy", "measured": "0.9877", "limit": "0.9", "verdict": "passed"}]


def test_a_stage_that_was_up_to_date_took_no_time():
    assert pages.stages(["ingest", "train"], {"train": 2.04}) == [
        {"stage": "ingest", "did": "up to date", "seconds": ""},
        {"stage": "train", "did": "ran", "seconds": "2.0"},
    ]


@pytest.mark.parametrize(
    ("bad", "count", "alarm", "words"),
    [
        (False, 1, False, ("# No drift", "0% of the columns", "Bad among the last 3 windows: 1.")),
        (True, 1, False, ("# A bad window, no alarm yet", "50% of the columns", "2 bad ones among the last 3")),
        (True, 2, True, ("# Drift", "50% of the columns", "2 of the last 3 windows are bad")),
    ],
)
def test_the_heading_of_a_window_agrees_with_what_follows(bad: bool, count: int, alarm: bool, words: tuple[str, ...]):
    page = pages.window(window(bad), count, alarm, RULES)
    assert page.startswith(f"{words[0]}\n") and all(word in page for word in words)


def test_links_lead_to_the_version_that_was_decided_on_and_show_no_password(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
):
    checkout.crown()
    number = checkout.register(reads_all=False)
    monkeypatch.delenv("DIGITS_SERVE", raising=False)
    report, run, command = links.of(NAME, number, Path("place"))
    assert "`place/reports/index.html`" in report and "mlflow server --backend-store-uri sqlite:" in run
    assert command == f"**In full**: `digits why {number}`"
    monkeypatch.setenv("DIGITS_SERVE", "https://ann:secret@digits.example/")
    report, _, page, _ = links.of(NAME, number, Path("place"))
    assert f"](https://digits.example/reports/{number}/)" in report and "secret" not in report + page


def test_a_run_in_a_tracking_server_is_a_link_and_a_database_s_password_is_not_shown(monkeypatch: pytest.MonkeyPatch):
    class Client:
        def get_run(self, run: str) -> "Client":
            self.info = self
            return self

        experiment_id, run_id = "7", "abcdef0123456789"

    monkeypatch.setattr(links.versions, "connect", Client)
    monkeypatch.setattr(links.versions, "version", lambda *_: Client())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:secret@mlflow.example:5000")
    run = links.of(NAME, "1", Path())[1]
    assert run == "**MLflow**: [run abcdef01](http://mlflow.example:5000/#/experiments/7/runs/abcdef0123456789)"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://ann:secret@database/mlflow")
    assert "secret" not in links.of(NAME, "1", Path())[1]
