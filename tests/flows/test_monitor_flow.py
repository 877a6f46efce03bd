"""The monitor as a flow: what it says of each window, and that an alarm is told once, as it begins."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkout import Checkout, images
from examples import window
from prefect.client.schemas.objects import State
from prefect.logging import disable_run_logger

from flows import events
from flows import monitor as flow
from pipeline.base import params as params_file
from pipeline.base import places
from pipeline.base.errors import BadInput
from pipeline.digits import features
from pipeline.monitoring import alerts, labelling, live, windows
from pipeline.monitoring import monitor as room
from pipeline.monitoring.live import Seen

GOOD, BAD = False, True
Windows = Callable[..., list[tuple[bool, int]]]


@pytest.fixture(autouse=True)
def artifacts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the flow left for Prefect's pages, which takes a server; tests/system runs it on one."""
    left: list[str] = []
    monkeypatch.setattr(flow, "create_markdown_artifact", lambda text, **_: left.append(text))
    monkeypatch.setattr(flow, "create_table_artifact", lambda rows, **_: None)
    return left


def look() -> Any:
    """Run the flow once: its record, or the words with which it ended early."""
    with disable_run_logger():
        found = flow.monitor.fn()
    return found.message if isinstance(found, State) else found


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The drift events that are told to Prefect, of a checkout with a batch that no training has read."""
    told: list[Any] = []
    monkeypatch.setattr(flow.workspace, "unlearnt", lambda: {"a batch"})
    monkeypatch.setattr(events, "drift", lambda window: told.append(window) or True)
    return told


def test_without_a_champion_there_is_nothing_to_compare_with(checkout: Checkout):
    assert look() == "digits-cnn has no champion yet, so there is nothing to compare with"


def test_a_window_of_too_few_images_says_nothing(checkout: Checkout):
    checkout.crown()
    checkout.ask(images()[: checkout.params.monitor.min_images - 1])
    assert look() == "fewer than 100 images came in since the last look"
    assert windows.of("digits-cnn") == []
    checkout.ask(images()[:1])
    assert look()["images"] == 100


def test_the_model_in_use_is_watched_whatever_data_set_params_are_put_on_meanwhile(checkout: Checkout):
    number = checkout.crown()
    checkout.ask(images())
    params_file.choose(checkout.folder / places.PARAMS, dataset="letters", recipe="colour")
    found = look()
    assert (found["model"], found["version"], found["images"]) == ("digits-cnn", number, 400)


def test_a_window_like_the_reference_is_good_and_one_of_other_images_is_bad(
    checkout: Checkout, told: list[Any], artifacts: list[str]
):
    number = checkout.crown()
    checkout.ask(images())
    good = look()
    assert (good["bad"], good["alarm"], good["images"], good["version"]) == (False, False, 400, number)
    checkout.ask(255 - images())
    bad = look()
    assert (bad["bad"], bad["alarm"], bad["images"]) == (True, False, 400)  # one odd window is not drift
    assert [window.bad for window in windows.of("digits-cnn", number)] == [False, True]
    assert "<html" in (checkout.folder / bad["page"]).read_text()
    assert told == [] and alerts.raised() == []
    assert [text.splitlines()[0] for text in artifacts] == ["# No drift", "# A bad window, no alarm yet"]


class Snapshot:
    """Stands for Evidently's."""

    def save_html(self, path: str) -> None:
        Path(path).write_text("<html>")


@pytest.fixture
def come_in(checkout: Checkout, told: list[Any], monkeypatch: pytest.MonkeyPatch) -> Windows:
    """Has windows come in, good ones and bad ones; returns whether each was an alarm, and how often it was told."""
    checkout.crown()

    def through(*verdicts: bool) -> list[tuple[bool, int]]:
        found = []
        for verdict in verdicts:
            at = f"2026-01-01T00:00:{len(windows.of('digits-cnn')):02}+00:00"
            columns = {"ink": 0.4 * verdict, "slant": 0.1}
            seen = window(verdict, at=at, version=checkout.champion(), last_row=None, columns=columns)
            monkeypatch.setattr(room, "look", lambda *_, seen=seen: (seen, Snapshot()))
            found.append((look()["alarm"], len(told)))
            assert len(alerts.raised()) == len(told)  # people hear of what Prefect hears of
        return found

    return through


def test_an_alarm_is_told_once_as_it_begins_and_not_again_while_it_goes_on(come_in: Windows, told: list[Any]):
    assert come_in(BAD, BAD, BAD, BAD) == [(False, 0), (True, 1), (True, 1), (True, 1)]
    (drifted,), (alert,) = told, alerts.raised()
    assert drifted.model == "digits-cnn" and drifted.drifted_share == 0.5
    assert alert["kind"] == "drift" and alert["message"].startswith(
        "2 of the last 3 windows are bad: 300 images, against"
    )
    assert "ink (0.40), slant (0.10)" in alert["message"]


def test_an_alarm_that_prefect_does_not_hear_says_that_no_retraining_begins(
    come_in: Windows, told: list[Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(events, "drift", told.append)
    come_in(BAD, BAD)
    assert "Prefect does not answer: have it retrain" in alerts.raised()[-1]["message"]


def test_drift_without_new_labels_asks_for_labels_and_starts_no_retraining(
    checkout: Checkout, artifacts: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(events, "drift", lambda _: pytest.fail("a retraining was started"))
    number = checkout.crown()

    def two_bad_windows(of: str) -> str:
        for second in range(2):
            seen = window(BAD, at=f"2026-01-01T00:{of}:0{second}+00:00", version=checkout.champion(), last_row=None)
            monkeypatch.setattr(room, "look", lambda *_, seen=seen: (seen, Snapshot()))
            look()
        return alerts.raised()[-1]["message"]

    asked = two_bad_windows("01")
    assert "no labelled data came in since the last training" in asked and "serving.keep_images" in asked
    assert asked.rpartition("; ")[2] in artifacts[-1]
    checkout.crown()  # windows count anew
    unsure = Seen(["a-0"], "", "digits-cnn", number, images()[:1], np.zeros(1, int), np.ones(1))
    with live.store(checkout.folder / places.SEEN) as store:
        live.write(store, [unsure], features.describe(images()[:1]).to_numpy(), keep_images=True)
    folder = checkout.folder / places.LABELLING / "2026-01-01T000201+0000"
    assert f"`digits label {folder}`" in two_bad_windows("02")
    assert len(labelling.read(folder)[0]) == 1


def test_an_alarm_that_ended_is_told_again_when_it_comes_back(come_in: Windows):
    assert come_in(BAD, BAD, GOOD, GOOD, BAD, BAD) == [
        *((False, 0), (True, 1), (False, 1), (False, 1), (False, 1), (True, 2)),
    ]


def test_a_good_window_in_between_ends_the_alarm_though_the_bad_ones_are_recent(come_in: Windows):
    assert come_in(BAD, GOOD, BAD, GOOD, BAD) == [(False, 0), (False, 0), (True, 1), (False, 1), (True, 2)]


def test_bad_windows_that_lie_too_far_apart_are_no_alarm(come_in: Windows):
    assert come_in(BAD, GOOD, GOOD, BAD, GOOD, GOOD, BAD) == [(False, 0)] * 7


def test_a_new_champion_begins_without_the_windows_of_the_one_before(come_in: Windows, checkout: Checkout):
    assert come_in(BAD, BAD)[-1] == (True, 1)
    checkout.crown()
    assert come_in(BAD, BAD) == [(False, 1), (True, 2)]


def test_a_folder_of_pictures_is_named_from_where_the_flow_was_started(
    checkout: Checkout, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
):
    checkout.crown()
    monkeypatch.chdir(elsewhere := tmp_path_factory.mktemp("elsewhere"))
    (elsewhere / "pictures").mkdir()
    with disable_run_logger(), pytest.raises(BadInput, match=rf"^{elsewhere}/pictures holds no PNG or JPEG"):
        flow.monitor.fn(folder="pictures")
