"""What happened, told to Prefect: accepted data and drift are events that start a retraining (see prefect.yaml)."""

import os
from typing import Any

from pipeline.base import places
from pipeline.data.batches import Filed
from pipeline.monitoring.windows import Window

ACCEPTED, DRIFT = "digits.batch.accepted", "digits.drift"


def api_url() -> str | None:
    """The server that hears of events: PREFECT_API_URL, else that of a `make schedule` in this checkout."""
    path = places.checkout() / places.PREFECT_ADDRESS
    return os.environ.get("PREFECT_API_URL") or (path.read_text().strip() if path.is_file() else None)


def accepted(batch: Filed) -> bool:
    """A batch was accepted. False if there is no server to tell, or it does not answer."""
    return _emit(ACCEPTED, f"digits.batch.{batch.batch}", {"batch": batch.batch, "by": batch.by})


def drift(window: Window) -> bool:
    """The images that come in have drifted from what the champion learnt."""
    return _emit(DRIFT, f"digits.model.{window.model}", {"version": window.version, "share": window.drifted_share})


def _emit(event: str, resource: str, payload: dict[str, Any]) -> bool:
    url = api_url()
    if url is None:
        return False
    os.environ["PREFECT_API_URL"] = url
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.events.schemas.events import Event, Resource

    with get_client(sync_client=True) as client:
        try:
            told = Event(event=event, resource=Resource({"prefect.resource.id": resource}), payload=payload)
            client.request("POST", "/events", json=[told.model_dump(mode="json")]).raise_for_status()
        except (httpx.HTTPError, OSError):
            return False
    return True
