"""Promote and roll back by hand, from Prefect's UI, with a reason that the history keeps."""

import contextlib
from typing import Annotated, Any

from prefect import flow, get_run_logger
from pydantic import Field

from flows import workspace
from pipeline.base import params, places
from pipeline.monitoring import verdicts
from pipeline.registry import promotion as rules
from pipeline.registry import versions

Reason = Annotated[str, Field(min_length=1, description="the history keeps it")]


@flow(name="promote")
def promote(
    reason: Reason, version: str = versions.CHALLENGER, approve: bool = False, model: str | None = None
) -> dict[str, Any]:
    """Put the challenger, or another version, through the gate against the champion; carry the verdict out. With
    ``approve``, say yes to one that passed and waits for it. ``model`` is the registered model's name, that of
    params.yaml's data set unless given."""
    # A yes touches the registry alone, not where retrainings work: it must not wait for one.
    with contextlib.nullcontext(places.checkout()) if approve else workspace.held() as place, contextlib.chdir(place):
        settings = params.load()
        name = model or versions.model_name(settings.named)
        client = versions.connect()
        if approve:
            event = rules.approve(client, name, version, reason)
        else:
            event = rules.promote(client, name, settings, version, reason)
        verdicts.tell(event)
    get_run_logger().info("%s: %s", event.event, event.why)
    return event.as_json()


@flow(name="rollback")
def rollback(reason: Reason) -> dict[str, Any]:
    """Return to the previous champion, after proof that it still answers as on the day it was registered."""
    with contextlib.chdir(places.checkout()):  # not where retrainings work: it must not wait for one
        event = rules.rollback(versions.connect(), versions.model_name(params.load().named), reason)
    get_run_logger().info("version %s is champion again instead of %s", event.version, event.previous)
    return event.as_json()
