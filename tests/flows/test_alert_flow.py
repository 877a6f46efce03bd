"""What Prefect's automations tell people through: the checkout's own log of alerts, wherever the flow runs."""

from pathlib import Path

import pytest
from checkout import Checkout

from flows.alert import alert
from pipeline.base import files, places
from pipeline.monitoring import alerts


def test_an_alert_reaches_the_checkout_s_file_from_any_folder(
    checkout: Checkout, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(elsewhere := tmp_path_factory.mktemp("elsewhere"))
    told = alert.fn("failed", "a retraining failed")
    assert files.read_json_lines(checkout.folder / places.ALERTS) == [told]
    assert (told["kind"], told["message"]) == ("failed", "a retraining failed")
    assert not list(Path(elsewhere).iterdir())


def test_it_can_be_told_when_there_is_no_checkout_to_speak_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A fault of the checkout itself must not keep its alert from being told."""
    monkeypatch.setenv("DIGITS_HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    alert.fn("missed", "no retraining was completed for 26 hours")
    assert [told["kind"] for told in alerts.told()] == ["missed"]
