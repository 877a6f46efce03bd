"""What MLflow shows of a training while it trains, on a real MLflow store."""

import shutil
from collections.abc import Sequence

import mlflow
import mlflow.store.db.utils
import pandas as pd
import pytest
import waiting
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.system_metrics import system_metrics_monitor
from workspace import ROOT

from pipeline.base import files, places
from pipeline.base import params as params_file
from pipeline.registry import live_training, tracking

PARAMS = params_file.load(ROOT / "params.yaml").model_copy(update={"dataset": "digits"})


@pytest.fixture(autouse=True)
def looking_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_training, "LOOK_SECONDS", 0.01)


def trained(losses: Sequence[float]) -> pd.DataFrame:
    """What the stage train has left after so many epochs."""
    places.CHECKPOINTS.mkdir(parents=True, exist_ok=True)
    rows = [
        {"epoch": epoch, "member": 1, "loss": loss} | dict.fromkeys(tracking.CURVES[1:], 0.5)
        for epoch, loss in enumerate(losses, 1)
    ]
    with files.atomic(places.HISTORY) as part:
        pd.DataFrame(rows).to_csv(part, index=False)
    return pd.DataFrame(rows)


def runs(client: MlflowClient, of: int = ViewType.ALL) -> list[Run]:
    experiments = [each.experiment_id for each in client.search_experiments()]
    return list(client.search_runs(experiments, run_view_type=of))


def losses(client: MlflowClient) -> list[tuple[int, float]]:
    return [(m.step, m.value) for run in runs(client) for m in client.get_metric_history(run.info.run_id, "loss")]


def test_epochs_are_seen_while_it_trains_and_registration_completes_the_run(client: MlflowClient):
    with live_training.shown(PARAMS):
        trained([0.9])
        waiting.until(lambda: losses(client) == [(1, 0.9)], "the first epoch is shown")
        trained([0.9, 0.5])
        waiting.until(lambda: losses(client) == [(1, 0.9), (2, 0.5)], "the second is")
        (shown,) = runs(client)
        assert shown.info.status == "RUNNING" and shown.info.run_name == tracking.run_name(PARAMS)

        curves = tracking.curves(trained([0.9, 0.5, 0.2]), members=1)
        begun = live_training.to_take_over(client, curves)
        assert begun == shown.info.run_id
        with tracking.run(client, PARAMS, {"recipe": "fast"}, "a note", begun) as run:
            tracking.log_curves(client, run.info.run_id, curves)
    (whole,) = runs(client, ViewType.ACTIVE_ONLY)
    assert whole.info.run_id == begun and whole.info.status == "FINISHED" and whole.data.tags["recipe"] == "fast"
    assert losses(client) == [(1, 0.9), (2, 0.5), (3, 0.2)]
    assert not places.LIVE_RUN.exists()


def test_a_training_that_fails_leaves_its_curves(client: MlflowClient):
    with pytest.raises(ZeroDivisionError), live_training.shown(PARAMS):
        trained([0.9])
        waiting.until(lambda: losses(client), "it is shown")
        raise ZeroDivisionError
    assert [run.info.status for run in runs(client, ViewType.ACTIVE_ONLY)] == ["FAILED"]


def test_a_machine_that_cannot_be_measured_leaves_no_run_running(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(system_metrics_monitor, "SystemMetricsMonitor", lambda *_, **__: 1 / 0)
    said: list[str] = []
    with pytest.raises(ZeroDivisionError), live_training.shown(PARAMS):
        trained([0.9])
        waiting.until(lambda: said.append(capsys.readouterr().err) or "".join(said), "it says so")
        raise ZeroDivisionError
    assert [run.info.status for run in runs(client)] == ["FAILED"]


def test_of_a_model_that_was_known_no_second_run_stays(client: MlflowClient):
    with live_training.shown(PARAMS):
        trained([0.9])
        waiting.until(lambda: losses(client), "it is shown")
    assert runs(client, ViewType.ACTIVE_ONLY) == []


def test_a_training_after_one_that_was_killed_is_shown_though_its_stage_takes_the_old_curves_away(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
):
    looks: list[None] = []
    written = live_training._Training._written
    monkeypatch.setattr(live_training._Training, "_written", lambda self: looks.append(None) or written(self))
    trained([0.9])  # its checkpoints stay too
    with live_training.shown(PARAMS):
        places.HISTORY.unlink()  # DVC, before the stage runs
        before = len(looks)
        waiting.until(lambda: len(looks) > before + 3, "it has looked")
        trained([0.8])
        waiting.until(lambda: losses(client) == [(1, 0.8)], "the first epoch is shown")


def test_what_was_trained_before_or_came_from_a_cache_is_not_shown(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
):
    looks: list[None] = []
    written = live_training._Training._written
    monkeypatch.setattr(live_training._Training, "_written", lambda self: looks.append(None) or written(self))
    trained([0.9])
    with live_training.shown(PARAMS):
        waiting.until(lambda: len(looks) > 3, "it has looked")
        shutil.rmtree(places.CHECKPOINTS)  # nothing trains from here
        files.write_text(places.HISTORY, "restored")
        before = len(looks)
        waiting.until(lambda: len(looks) > before + 3, "it has looked again")
    assert runs(client) == []


def test_a_killed_training_s_run_is_ended_by_the_next(client: MlflowClient):
    run = client.create_run(tracking.experiment(client, PARAMS))
    files.private_folder(places.LIVE_RUN.parent)
    files.write_text(places.LIVE_RUN, run.info.run_id)
    with live_training.shown(PARAMS):
        assert client.get_run(run.info.run_id).info.status == "KILLED"
        assert not places.LIVE_RUN.exists()


def test_another_training_s_run_is_not_taken_over(client: MlflowClient):
    with live_training.shown(PARAMS):
        trained([0.9])
        waiting.until(lambda: losses(client), "it is shown")
        assert live_training.to_take_over(client, tracking.curves(trained([0.7]), members=1)) is None


def test_a_registry_that_is_away_stops_no_training(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    files.write_text("no_database", "text")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///no_database")
    monkeypatch.setattr(mlflow.store.db.utils, "MAX_RETRY_COUNT", 1)  # of 10, which take a hundred seconds
    said: list[str] = []
    with live_training.shown(PARAMS):
        trained([0.9])
        waiting.until(lambda: said.append(capsys.readouterr().err) or "".join(said), "it says so")
    assert "".join(said).startswith("warning: MLflow does not show this training, which goes on: ")
    assert "".join(said).count("\n") == 1
    mlflow.set_tracking_uri("")
