"""What Prefect's automations tell people through: the checkout's own log of alerts, wherever the flow runs."""

from pathlib import Path

import pytest
import yaml
from checkout import Checkout
from prefect.server.utilities.user_templates import render_user_template_sync
from workspace import ROOT

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
    assert [told["kind"] for told in alerts.raised()] == ["missed"]


def test_every_deployment_that_fails_is_told_and_no_alert_tells_of_itself():
    deployments = {one["name"]: one for one in yaml.safe_load((ROOT / places.PREFECT_YAML).read_text())["deployments"]}

    def tells_of(name: str) -> set[str]:
        named = [one["match_related"]["prefect.resource.name"] for one in deployments[name].get("triggers", [])]
        return {name for one in named for name in ([one] if isinstance(one, str) else one)}

    assert tells_of("alert") == set(deployments) - {"alert", "last-alert"}
    assert tells_of("last-alert") == {"alert"}


def test_what_failed_is_told_in_words_that_prefect_s_server_can_fill_in():
    deployments = yaml.safe_load((ROOT / places.PREFECT_YAML).read_text())["deployments"]
    given = [one["parameters"] for each in deployments for one in each.get("triggers", [])]
    told = [parameters["message"] for parameters in given if "message" in parameters]
    state = {"id": "prefect.flow-run.7", "prefect.state-name": "Failed", "prefect.state-message": "no disk"}
    known = {"deployment": {"name": "monitor"}, "event": {"resource": state}}
    assert "monitor failed: no disk, run prefect.flow-run.7" in [render_user_template_sync(one, known) for one in told]
