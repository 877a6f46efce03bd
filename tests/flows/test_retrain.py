"""A DVC stage as a Prefect task: what it says, how it fails, and which failures are tried again."""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import dvc_project
import pytest
import requests
from dvc_project import ending_on, write
from examples import facts
from mlflow.exceptions import MlflowException
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.logging import disable_run_logger
from prefect.testing.utilities import prefect_test_harness
from waiting import WAIT
from workspace import ROOT

from flows import pages, promotion, retrain
from flows.repro import Repro
from pipeline.base.errors import BadInput, TemporaryFault
from pipeline.registry.records import Event
from pipeline.run import Outcome


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return dvc_project.make(tmp_path)


def test_the_stages_are_those_of_dvc_yaml_in_the_order_of_the_data():
    named = retrain.stages(ROOT)
    assert named[0] == "ingest" and named[-1] == "register" and named.index("train") < named.index("evaluate")


def test_a_stage_says_whether_it_had_to_run(place: Path):
    write(place, "echo done > out")
    with disable_run_logger():
        assert [retrain.stage.fn(Repro(place, ["one"]), "one") for _ in range(2)] == [True, False]
        assert retrain.stage.fn(Repro(place, ["one"]), "one", force=True) is True


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        ("BadInput('test.npz holds no labels')", BadInput, "^test.npz holds no labels$"),
        ("TemporaryFault('no mirror answers')", TemporaryFault, "^no mirror answers$"),
        ("", BadInput, "the stage one failed: see the log above"),
    ],
)
def test_a_stage_that_fails_says_why(place: Path, error: str, kind: type[BadInput], words: str):
    write(place, ending_on(place, error) if error else "exit 3")
    with disable_run_logger(), pytest.raises(BadInput, match=words) as raised:
        retrain.stage.fn(Repro(place, ["one"]), "one")
    assert type(raised.value) is kind


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=int(WAIT)):
        yield


@pytest.mark.parametrize(("code", "tries"), [(75, 2), (2, 1)])
def test_a_network_fault_is_tried_again_and_a_failed_check_is_not(server: None, place: Path, code: int, tries: int):
    error = "TemporaryFault('x')" if code == 75 else "BadInput('x')"
    write(place, f"echo try >> tries; test $(wc -l < tries) = 2 && touch out || {ending_on(place, error)}")

    @flow
    def once() -> bool:
        return bool(
            retrain.stage.with_options(retry_delay_seconds=0, retry_jitter_factor=None)(Repro(place, ["one"]), "one")
        )

    if code == 75:
        assert once() is True
    else:
        with pytest.raises(BadInput):
            once()
    assert (place / "tries").read_text().count("try") == tries


def test_a_registry_that_does_not_answer_is_worth_another_try(place: Path, monkeypatch: pytest.MonkeyPatch):
    def away(*_: object) -> None:
        raise MlflowException("API request failed") from requests.ConnectionError("connection refused")

    monkeypatch.setattr(retrain.run, "settle", away)
    monkeypatch.setattr(retrain.params, "load", lambda: None)
    with pytest.raises(TemporaryFault, match=r"the registry .* does not answer"):
        retrain.judge.fn(place)


def test_who_is_waited_for_finds_the_form_that_says_yes_on_the_page_of_the_run(server: None):
    waits = Event(event="waits", version="2", reason="passed")
    champion = facts(accuracy=0.99, accuracy_low=0.98, accuracy_high=1.0)
    assert retrain.form(Outcome(waits, champion)) == ""  # nothing is deployed
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(client.create_flow(promotion.promote), "promote")
    form = retrain.form(Outcome(waits, champion))
    address = urlsplit(form)
    assert address.path.endswith(f"/deployments/deployment/{deployment}/run")
    filled = json.loads(unquote(parse_qs(address.query)["parameters"][0]))
    assert filled == {"model": champion.model, "version": "2", "approve": True, "reason": ""}
    assert not set(filled) - set(promotion.promote.parameters.properties)
    assert f"]({form})" in pages.decision(waits, champion, [], form)
    assert retrain.form(Outcome(Event(event="promoted", version="2", reason="passed"), champion)) == ""
