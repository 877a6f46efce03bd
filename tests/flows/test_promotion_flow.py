"""Promotion and rollback as a person starts them in Prefect's UI: the gate decides, the reason is kept."""

from typing import Any

import pytest
from checkout import NAME, Checkout
from filelock import FileLock
from prefect.logging import disable_run_logger

from flows import promotion
from pipeline.base import params, places
from pipeline.base.errors import BadInput
from pipeline.registry import history, versions
from pipeline.registry import promotion as rules


@pytest.fixture(autouse=True)
def left(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pages left for Prefect, which takes a server."""
    left: list[str] = []
    monkeypatch.setattr(promotion, "create_markdown_artifact", lambda text, **_: left.append(text))
    monkeypatch.setattr(promotion, "create_table_artifact", lambda rows, **_: left.append(str(rows)))
    return left


def promote(reason: str, **more: Any) -> dict:
    with disable_run_logger():
        return dict(promotion.promote.fn(reason, **more))


def rollback(reason: str) -> dict:
    with disable_run_logger():
        return dict(promotion.rollback.fn(reason))


def last_event() -> dict:
    return history.events(versions.connect(), NAME)[-1].as_json()


def test_a_challenger_that_passes_the_gate_is_promoted_with_the_reason(checkout: Checkout, left: list[str]):
    number = checkout.register()
    event = promote("the first one")
    assert (event["event"], event["version"], event["reason"]) == ("promoted", number, "the first one")
    assert checkout.champion() == number and last_event() == event
    page, table = left
    assert f"# Version {number} promoted" in page and "the first one" in page and "'verdict': 'passed'" in table


def test_a_challenger_that_is_worse_is_refused_and_the_champion_stays(checkout: Checkout):
    first = checkout.crown()
    second = checkout.register(reads_all=False)
    event = promote("let us see")
    assert (event["event"], event["version"], event["previous"]) == ("refused", second, first)
    assert checkout.champion() == first and last_event()["reason"] == "let us see"


def test_without_a_challenger_nothing_is_decided(checkout: Checkout):
    checkout.crown()
    event = promote("again")
    assert event["event"] == "unchanged" and event["reason"] == "no challenger waits"


def test_a_version_can_be_named_instead_of_the_challenger(checkout: Checkout):
    first, second = checkout.crown(), checkout.crown()
    assert checkout.champion() == second
    assert promote("the old one was better", version=first)["event"] == "promoted"
    assert checkout.champion() == first
    with pytest.raises(BadInput, match=r"digits-cnn has no version 9"):
        promote("a slip", version="9")


def test_a_rollback_returns_to_the_champion_before_with_proof_and_reason(checkout: Checkout):
    first, second = checkout.crown(), checkout.crown()
    event = rollback("seven looks like one")
    assert (event["event"], event["version"], event["previous"]) == ("rolled back", first, second)
    assert event["proof"]["images"] == 400 and event["reason"] == "seven looks like one"
    assert checkout.champion() == first and last_event() == event


def test_without_an_earlier_champion_there_is_nothing_to_roll_back_to(checkout: Checkout):
    number = checkout.crown()
    with pytest.raises(BadInput, match=r"has had no champion before version 1: there is nothing to undo"):
        rollback("a slip")
    assert checkout.champion() == number


def test_a_yes_waits_for_no_retraining_and_names_its_model_whatever_data_set_the_checkout_is_on(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
):
    checkout.crown()
    waiting = checkout.register()
    by_a_person = checkout.params.gate.model_copy(update={"approval": "person"})
    asked = checkout.params.model_copy(update={"gate": by_a_person})
    assert rules.promote(versions.connect(), NAME, asked).event == "waits"
    params.choose(checkout.folder / places.PARAMS, dataset="mnist")
    with FileLock(checkout.folder / places.RETRAIN_LOCK):
        with pytest.raises(BadInput, match="mnist-cnn has no"):
            promote("of another model", version=waiting, approve=True)
        event = promote("looks good", version=waiting, approve=True, model=NAME)
    assert (event["event"], event["version"], event["reason"]) == ("promoted", waiting, "looks good")
    assert checkout.champion() == waiting


def test_a_promotion_names_its_model_too(checkout: Checkout):
    number = checkout.register()
    with pytest.raises(BadInput, match="mnist-cnn has no version to judge"):
        promote("of another model", model="mnist-cnn")
    assert promote("the first one", model=NAME)["version"] == number


def test_a_promotion_waits_for_no_retraining_and_a_rollback_needs_not_to(checkout: Checkout):
    first, _ = checkout.crown(), checkout.crown()
    with FileLock(checkout.folder / places.RETRAIN_LOCK):
        with pytest.raises(BadInput, match=r"another retraining is at work"):
            promote("too soon")
        assert rollback("at once")["version"] == first
