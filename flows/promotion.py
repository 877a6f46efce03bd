"""Promote and roll back by hand, from Prefect's UI, with a reason that the history keeps."""

import contextlib
from typing import Annotated, Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from pydantic import Field

from flows import links, pages, workspace
from pipeline.base import params, places
from pipeline.monitoring import verdicts
from pipeline.registry import promotion as rules
from pipeline.registry import versions
from pipeline.registry.records import Event

Reason = Annotated[str, Field(min_length=1, description="the history keeps it")]


@flow(name="promote", flow_run_name="promote · {version} · {reason}")
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
        _leave(event, name)
    get_run_logger().info("%s: %s", event.event, event.why)
    return event.as_json()


@flow(name="rollback", flow_run_name="rollback · {reason}")
def rollback(reason: Reason) -> dict[str, Any]:
    """Return to the previous champion, after proof that it still answers as on the day it was registered."""
    with contextlib.chdir(places.checkout()):  # not where retrainings work: it must not wait for one
        name = versions.model_name(params.load().named)
        event = rules.rollback(versions.connect(), name, reason)
        _leave(event, name)
    get_run_logger().info("version %s is champion again instead of %s", event.version, event.previous)
    return event.as_json()


def _leave(event: Event, name: str) -> None:
    """The decision's page in Prefect, and the gate's table if it was asked."""
    moved = event.event in ("promoted", "rolled back") and event.previous
    who = [f"**Instead of**: version {event.previous}"] if moved else []
    said = [f"**Reason given**: {event.reason}"] if event.verdict and event.reason else []
    proof = event.proof
    proven = (
        [f"**Proven**: the same answers on {proof.images:,} pinned images as when it was registered"] if proof else []
    )
    lines = [*who, *said, *proven, *(links.of(name, event.version, places.checkout()) if event.version else [])]
    about = f"Version {event.version} {event.word}"
    create_markdown_artifact(pages.decision(event, None, lines), key="decision", description=about)
    if rows := pages.checks(event):
        create_table_artifact(rows, key="decision-gate", description=f"What the gate asked of version {event.version}")
