"""The service follows the registry: promotions, rollbacks, broken files and a registry that is away."""

import json
import os
import shutil
import signal
import sqlite3
import threading
from pathlib import Path

import numpy as np
import pytest
from running import Service
from waiting import until
from workspace import Workspace

from pipeline.base import params as params_file
from pipeline.digits import corruptions
from pipeline.monitoring import monitor, windows
from pipeline.monitoring.windows import Window
from pipeline.registry import artifacts, versions


@pytest.fixture
def workspace(demo: Workspace, tmp_path: Path) -> Workspace:
    return demo.copy(tmp_path / "workspace")


def register_another(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, damaged: bool = False, folder: str = "second"
) -> str:
    """A second version, of the same files as the first with other weights' digest; its number."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace.folder}/mlflow.db")
    client = versions.connect()
    first = client.get_model_version("digits-cnn", "1")
    place = workspace.folder / folder
    shutil.copytree(artifacts.download(client, first), place)
    if damaged:
        content = bytearray((place / "model.onnx").read_bytes())
        content[len(content) // 2] ^= 1
        (place / "model.onnx").write_bytes(content)
    second = client.create_model_version(
        "digits-cnn", str(place), first.run_id, tags={**first.tags, "weights_sha256": "another"}
    )
    return str(second.version)


def promote(number: str) -> None:
    versions.connect().set_registered_model_alias("digits-cnn", "champion", number)


def test_a_promotion_and_a_rollback_reach_it_without_a_request_lost(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, digits: tuple[np.ndarray, np.ndarray]
):
    service = Service(workspace)
    assert service.ready() == "1"
    second = register_another(workspace, monkeypatch)
    answered: list[str] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answered.append(service.predict(digits[0][:1])["version"])

    asking = threading.Thread(target=ask)
    asking.start()
    for number in (second, "1", second):
        promote(number)
        until(lambda number=number: answered and answered[-1] == number, f"version {number}")
    stop.set()
    asking.join()
    changes = [a for a, b in zip(answered, ["", *answered], strict=False) if a != b]
    assert changes == ["1", second, "1", second]
    # An answer's line is written after the answer is sent.
    until(lambda: service.log.count("POST /predict ") == len(answered), "a line for each request")
    assert service.log.count("POST /predict 200") == len(answered)
    assert service.stop() == 0


def test_a_file_with_one_flipped_bit_is_refused_and_the_old_champion_goes_on(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, digits: tuple[np.ndarray, np.ndarray]
):
    service = Service(workspace)
    service.ready()
    promote(register_another(workspace, monkeypatch, damaged=True))
    until(lambda: service.client.get("/health").json()["fault"], "a fault")
    health = service.client.get("/health").json()
    assert health["status"] == "degraded" and "not the one that was registered" in health["fault"]
    assert service.predict(digits[0][:1])["version"] == "1"
    promote("1")
    until(lambda: service.client.get("/health").json()["status"] == "ok", "health")
    assert service.stop() == 0


def test_a_challenger_that_is_no_model_of_ours_does_not_hold_up_the_champion(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
):
    second = register_another(workspace, monkeypatch)
    client = versions.connect()
    client.set_registered_model_alias("digits-cnn", "challenger", second)
    client.delete_model_version_tag("digits-cnn", second, "onnx_sha256")
    third = register_another(workspace, monkeypatch, folder="third")
    service = Service(workspace)
    service.ready()
    promote(third)
    until(lambda: service.ready() == third, "the promotion")
    assert service.client.get("/health").json()["status"] == "ok"
    promote(second)  # by hand: that is no version for it
    until(
        lambda: "was not registered by this pipeline" in str(service.client.get("/health").json()["fault"]), "a fault"
    )
    assert service.ready() == third
    assert service.stop() == 0


def test_it_starts_and_goes_on_while_the_registry_is_away(workspace: Workspace, digits: tuple[np.ndarray, np.ndarray]):
    service = Service(workspace)
    service.ready()
    assert service.stop() == 0
    database, away = workspace.folder / "mlflow.db", workspace.folder / "away.db"
    database.rename(away)
    database.write_text("this is no database, or not yet")
    again = Service(workspace)
    assert again.ready() == "1"  # what it knew is remembered
    until(lambda: again.client.get("/health").json()["fault"], "a fault")
    assert again.predict(digits[0][:1])["version"] == "1"
    database.unlink()
    away.rename(database)
    until(lambda: again.client.get("/health").json()["status"] == "ok", "health")
    assert again.stop() == 0


def test_a_watcher_that_dies_is_started_again_and_ends_with_the_service(workspace: Workspace):
    service = Service(workspace)
    service.ready()

    def watchers() -> list[Path]:
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                here = (entry / "cwd").readlink() == workspace.folder
                if here and b"serving.watch" in (entry / "cmdline").read_bytes():
                    found.append(entry)
            except OSError:
                continue
        return found

    for entry in until(watchers, "a watcher"):
        os.kill(int(entry.name), signal.SIGKILL)
    until(lambda: not watchers(), "its end")
    until(watchers, "another watcher")
    service.process.kill()
    service.process.wait()
    until(lambda: not watchers(), "the watcher's end with the service")


def test_a_challenger_answers_beside_and_in_shadow(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, digits: tuple[np.ndarray, np.ndarray]
):
    second = register_another(workspace, monkeypatch)
    versions.connect().set_registered_model_alias("digits-cnn", "challenger", second)
    service = Service(workspace)
    until(
        lambda: (service.client.get("/model").json().get("challenger") or {}).get("version") == second, "a challenger"
    )
    beside = service.predict(digits[0][:3], challenger="true")
    assert beside["challenger"]["version"] == second
    np.testing.assert_allclose(
        beside["challenger"]["probabilities"], [a["probabilities"] for a in beside["answers"]], atol=1e-5
    )
    until(lambda: service.client.get("/model").json()["shadow"] == {"compared": 3, "differ": 0}, "the shadow's answers")
    assert service.stop() == 0


def test_live_windows_feed_the_monitor(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, digits: tuple[np.ndarray, np.ndarray]
):
    """What the service saw is compared with the champion's reference, and the page shows how it went."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace.folder}/mlflow.db")
    params, client = params_file.load(workspace.folder / "params.yaml"), versions.connect()
    service = Service(workspace)
    service.ready()

    def look(images: np.ndarray) -> Window:
        before = service.client.get("/health").json()["memory"]["written"]
        service.predict(images)
        until(lambda: service.client.get("/health").json()["memory"]["written"] == before + len(images), "the memory")
        window, snapshot = monitor.look(client, "digits-cnn", params)  # type: ignore[misc]
        windows.keep(window, snapshot)
        return window

    assert look(digits[0]).bad is False
    assert monitor.look(client, "digits-cnn", params) is None  # nothing new came in
    assert look(corruptions.thick(digits[0], np.random.default_rng(0))).bad is True
    page = service.client.get("/monitor").text
    assert page.count("<circle") == 2 and "has drifted" in page
    report = windows.of("digits-cnn")[-1].page_name
    assert "<html" in service.client.get(f"/reports/monitor/{report}").text
    assert service.stop() == 0


def test_corrections_become_a_batch(workspace: Workspace, digits: tuple[np.ndarray, np.ndarray]):
    service = Service(workspace)
    service.ready()
    assert "a batch needs 20" in workspace.digits("add-batch", "--corrections", code=2).stderr
    answers = service.predict(digits[0][:60])["answers"]
    for answer, label in zip(answers, digits[1], strict=False):
        made = service.client.post("/corrections", json={"id": answer["id"], "digit": int(label)})
        assert made.status_code == 201, made.text
    assert service.client.post("/corrections", json={"id": "nobody-0", "digit": 1}).status_code == 404
    assert service.client.post("/corrections", json={"id": answers[0]["id"], "digit": 10}).status_code == 422
    assert service.stop() == 0
    event = json.loads(workspace.run("python", "-m", "cli", "add-batch", "--corrections", "--json", code=None).stdout)
    place = workspace.folder / ("data/batches" if event["event"] == "accepted" else "data/quarantine")
    assert list(place.glob("*")) and not list((workspace.folder / "data/corrections").glob("*.npz"))
    with sqlite3.connect(workspace.folder / "data/live.db") as connection:
        filed = connection.execute("SELECT batch, count(*) FROM corrections GROUP BY batch").fetchall()
    assert filed == [(event["batch"], 60)]
    assert "0 corrections wait" in workspace.digits("add-batch", "--corrections", code=2).stderr
