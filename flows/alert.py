"""Tell people of what Prefect saw and the flows could not: a run that failed or crashed, and one that never came."""

import os

from prefect import flow

from pipeline.base import places
from pipeline.monitoring import alerts


@flow(name="alert", flow_run_name="alert · {kind}", retries=2, retry_delay_seconds=30)
def alert(kind: str, message: str) -> dict[str, str]:
    """Raise an alert; prefect.yaml's automations start this."""
    os.environ["MLFLOW_TRACKING_URI"] = places.tracking_uri(places.checkout())
    return alerts.raise_(kind, message)
