"""A training in MLflow while it trains: its curves, and how busy the machine is.

Who runs the pipeline follows reports/history.csv, which the stage train leaves after each epoch, and shows its rows in
a run of MLflow; the stage itself does without MLflow. Registration takes the run over and completes it. The run of a
training that fails stays, as FAILED, with the curves up to there.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.base import files, places
from pipeline.base.errors import brief
from pipeline.base.params import Params
from pipeline.registry import versions

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

LOOK_SECONDS = 1.0  # from a look at the history to the next


@contextmanager
def shown(params: Params, place: Path = Path()) -> Iterator[None]:
    """Show the training that happens in the block in that workspace, if one does.

    A fault of MLflow is told on stderr and ends the showing; the training goes on.
    """
    _left_by_a_kill(place)
    training, over = _Training(params, place), threading.Event()
    thread = threading.Thread(target=training.follow, args=(over,), name="curves", daemon=True)
    thread.start()
    status = "FAILED"
    try:
        yield
        status = "FINISHED"
    finally:
        over.set()
        thread.join()
        training.end(status)


class _Training:
    """What is known of the training in a workspace."""

    def __init__(self, params: Params, place: Path) -> None:
        self.params, self.place = params, place
        self.read = self._written()  # when what was read last was written: rows from before are another training's
        self.run_id = ""
        self.machine: SystemMetricsMonitor | None = None

    def follow(self, over: threading.Event) -> None:
        try:
            while not over.wait(LOOK_SECONDS):
                written = self._written()
                if written not in (0, self.read) and (self.place / places.CHECKPOINTS).is_dir():
                    self.read = written
                    self._show()
        except Exception as error:
            print(f"warning: MLflow does not show this training, which goes on: {brief(error)}", file=sys.stderr)

    def _written(self) -> int:
        """When the history was, in ns since 1970; 0 if there is none."""
        with suppress(FileNotFoundError):
            return (self.place / places.HISTORY).stat().st_mtime_ns
        return 0

    def _show(self) -> None:
        import pandas as pd

        from pipeline.registry import tracking

        history = pd.read_csv(self.place / places.HISTORY)
        if not self.run_id:
            self._begin()
        tracking.log_curves(self.client, self.run_id, tracking.curves(history, self.params.recipe.members))

    def _begin(self) -> None:
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        from pipeline.registry import tracking

        logging.getLogger("mlflow.system_metrics").setLevel(logging.WARNING)
        self.client = versions.connect_first()
        experiment = tracking.experiment(self.client, self.params)
        self.run_id = self.client.create_run(experiment, run_name=tracking.run_name(self.params)).info.run_id
        files.private_folder((self.place / places.LIVE_RUN).parent)
        files.write_text(self.place / places.LIVE_RUN, self.run_id)
        self.machine = SystemMetricsMonitor(self.run_id, tracking_uri=places.tracking_uri())
        self.machine.start()

    def end(self, status: str) -> None:
        """If nobody took the run over: end it, or remove it where the model was known before."""
        if not self.run_id:
            return
        if self.machine:
            self.machine.finish()
        with suppress(Exception):  # MLflow that is away has been told of, or is by who needs it
            _end(self.client, self.run_id, status)
        (self.place / places.LIVE_RUN).unlink(missing_ok=True)


def _end(client: MlflowClient, run_id: str, status: str) -> None:
    """End the run if nobody took it over; one whose training went well is of a model that was known, and is removed."""
    if client.get_run(run_id).info.status != "RUNNING":
        return
    client.set_terminated(run_id, status)
    if status == "FINISHED":
        client.delete_run(run_id)


def _left_by_a_kill(place: Path) -> None:
    file = place / places.LIVE_RUN
    if file.is_file():
        with suppress(Exception):  # of another registry, or one that is away: no reason not to train
            _end(versions.connect(), file.read_text(encoding="utf-8"), "KILLED")
        file.unlink(missing_ok=True)


def to_take_over(client: MlflowClient, curves: list[Metric]) -> str | None:
    """The run that shows the training in this workspace, if what it shows so far is of these curves."""
    from mlflow.exceptions import MlflowException

    from pipeline.registry import tracking

    if not places.LIVE_RUN.is_file():
        return None
    run_id = places.LIVE_RUN.read_text(encoding="utf-8")
    with suppress(MlflowException):  # one of another registry
        if client.get_run(run_id).info.status != "RUNNING":
            return None
        whole = {(metric.key, metric.step): metric.value for metric in curves}
        if tracking.logged(client, run_id).items() <= whole.items():
            return run_id
    return None
