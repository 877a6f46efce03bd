"""What happened, told to Prefect: accepted data and drift are events that start a retraining (see prefect.yaml)."""

import os
from pathlib import Path
from typing import Any

from flows import workspace

ACCEPTED, DRIFT = "digits.batch.accepted", "digits.drift"
ADDRESS = Path(".cache/prefect/api_url")  # where `make schedule` writes down its server's


def api_url() -> str | None:
    """The server that hears of events: PREFECT_API_URL, else that of a `make schedule` in this checkout."""
    path = workspace.home() / ADDRESS
    return os.environ.get("PREFECT_API_URL") or (path.read_text().strip() if path.is_file() else None)


def accepted(batch: dict[str, Any]) -> bool:
    """A batch was accepted. False if there is no server to tell, or it does not answer."""
    return _emit(ACCEPTED, f"digits.batch.{batch['batch']}", {"batch": batch["batch"], "by": batch["by"]})


def drift(model: str, record: dict[str, Any]) -> bool:
    """The images that come in have drifted from what the champion learnt."""
    return _emit(DRIFT, f"digits.model.{model}", {"version": record["version"], "share": record["drifted_share"]})


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
