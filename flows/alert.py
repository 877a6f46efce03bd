"""Tell people of what Prefect saw and the flows could not: a run that failed or crashed, and one that never came."""

import os

from prefect import flow

from flows import workspace
from pipeline.monitoring import alerts
from pipeline.registry import versions


@flow(name="alert")
def alert(kind: str, message: str) -> dict[str, str]:
    """Raise an alert; prefect.yaml's automations start this."""
    os.environ["MLFLOW_TRACKING_URI"] = versions.tracking_uri(workspace.home())
    return alerts.raise_(kind, message)
