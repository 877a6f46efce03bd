"""What people are told of a verdict: a page that needs no other file, and an alert if the images are worn out."""

from pathlib import Path

import pytest

from pipeline.base import clock, files, places
from pipeline.monitoring import alerts, verdicts
from pipeline.registry.records import Budget, Comparison, Event, Standing, Verdict
from pipeline.reporting import decision
from pipeline.reporting.decision import Decision


def event(worn_out: bool, too_few: bool = False, **more: object) -> Event:
    refill = 900 if worn_out else None
    budget = Budget(
        held_out="a",
        model="b",
        images=1000,
        fresh=0,
        looks=7,
        risk=0.001,
        left=0.2,
        next_risk=0.0005,
        smallest_loss=0.004,
        worn_out=worn_out,
        too_few=too_few,
        refill=refill,
    )
    comparison = Comparison(
        champion="1",
        champion_accuracy=0.99,
        accuracy=0.991,
        images=1000,
        only_challenger_right=2,
        only_champion_right=1,
        p_value=0.001,
        max_loss=0.02,
        risk=0.001,
        least_loss=-0.01,
        most_loss=0.015,
        outcome="no worse",
    )
    facts = {
        "promote": True,
        "reason": "version 2 is at most 1.50 points less accurate than version 1 <b>",
        "checks": (),
        "comparison": comparison,
        "champions": (Standing(version="1", accuracy=0.99),),
        "accuracy": 0.991,
        "stated_accuracy": 0.99,
        "budget": budget,
    }
    return Event(event="promoted", version="2", verdict=Verdict.model_validate({**facts, **more}))


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DIGITS_HOME", raising=False)


def test_the_page_tells_the_verdict_and_draws_it():
    verdicts.tell(event(worn_out=False))
    page = places.VERDICT_PAGE.read_text()
    assert "Version 2: promoted" in page and "less accurate than version 1 &lt;b&gt;" in page
    assert "data:image/png;base64," in page and "99.00%" in page and "20.0%" in page
    assert alerts.raised() == []


def test_a_first_model_has_a_page_without_a_picture_of_one_dot():
    verdicts.tell(event(worn_out=False, comparison=None, champions=()))
    page = places.VERDICT_PAGE.read_text()
    assert "Version 2: promoted" in page and "<img" not in page


def test_no_accuracy_above_a_hundred_percent_is_named():
    shown = Decision("", "", (), (), (("1", 0.9972),), ("2", 1.0), ())
    figure = decision.picture(shown)
    figure.draw_without_rendering()
    ticks = figure.axes[0].get_yticks()
    assert len(ticks) >= 2 and max(ticks) <= 100


def test_a_set_that_never_could_tell_anything_is_not_called_worn_out():
    verdicts.tell(event(worn_out=True, too_few=True))
    (alert,) = alerts.raised()
    assert alert["kind"] == "too few images" and "900 more would be enough" in alert["message"]


def test_worn_out_images_are_an_alert():
    verdicts.tell(event(worn_out=True))
    (alert,) = alerts.raised()
    assert alert["kind"] == "worn out" and "900 fresh ones refill them" in alert["message"]


def test_what_was_not_judged_leaves_the_last_page_as_it_is():
    files.write_text(places.VERDICT_PAGE, "the last one")
    verdicts.tell(Event(event="unchanged", version="2"))
    assert places.VERDICT_PAGE.read_text() == "the last one"


def test_one_that_waits_for_a_person_is_an_alert_and_again_when_it_has_waited_too_long():
    waits = event(worn_out=False).model_copy(update={"event": "waits", "at": clock.now()})
    verdicts.tell(waits)
    verdicts.remind([waits], hours=24)
    (alert,) = alerts.raised()
    assert alert["kind"] == "waits" and "`digits approve 2 --reason …`" in alert["message"]
    old = waits.model_copy(update={"at": "2026-01-01T00:00:00+00:00"})
    verdicts.remind([old, event(worn_out=False)], hours=24)  # decided since then
    assert len(alerts.raised()) == 1
    verdicts.remind([old], hours=24)
    assert "has waited for a yes for" in alerts.raised()[1]["message"]
