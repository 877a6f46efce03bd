"""What happened, told to Prefect: accepted data and drift are events that start a retraining (see prefect.yaml)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from flows import password
from pipeline.base import places
from pipeline.data.batches import Filed

if TYPE_CHECKING:
    from pipeline.monitoring.windows import Window

ACCEPTED, DRIFT = "digits.batch.accepted", "digits.drift"


def find_server() -> bool:
    """Point Prefect's client to the server that hears of events: PREFECT_API_URL's, else that of a `make schedule` that
    runs in this checkout, with its password. False if there is none."""
    if os.environ.get("PREFECT_API_URL"):
        return True
    top = places.checkout()
    address, auth = top / places.PREFECT_ADDRESS, password.known(top)
    if not address.is_file() or auth is None or not _is_up(top):
        return False
    os.environ |= {"PREFECT_API_URL": address.read_text().strip(), "PREFECT_API_AUTH_STRING": auth}
    return True


def _is_up(top: Path) -> bool:
    """Whether a `make schedule` runs: of one that was killed the address stays, and its port is anybody's."""
    try:
        with FileLock(top / places.PREFECT_LOCK, timeout=0):
            return False
    except Timeout:
        return True


def accepted(batch: Filed) -> bool:
    """A batch was accepted. False if there is no server to tell, or it does not answer."""
    return _emit(ACCEPTED, f"digits.batch.{batch.batch}", {"batch": batch.batch, "by": batch.by})


def drift(window: Window) -> bool:
    """The images that come in have drifted from what the champion learnt."""
    return _emit(DRIFT, f"digits.model.{window.model}", {"version": window.version, "share": window.drifted_share})


def _emit(event: str, resource: str, payload: dict[str, Any]) -> bool:
    if not find_server():
        return False
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
