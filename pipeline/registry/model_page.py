"""What does MLflow's page of a model say of its history? The latest decisions, in the description.

The history itself lies in the model's journal (:mod:`pipeline.registry.history`); nothing reads them there but people.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from pipeline.registry import history, versions
from pipeline.registry.records import Event

if TYPE_CHECKING:
    from mlflow import MlflowClient

_HEADING = "## Latest decisions"  # what stands before it is left as somebody wrote it
_SHOWN = 10
_OLDER = "See each version's model card."  # what an earlier release wrote there


def refresh(client: MlflowClient, name: str) -> None:
    """Bring the description up to date after a decision: a fault of this is none of the decision."""
    with suppress(Exception):
        model = versions.find(client, name)
        before = (model.description if model else None) or versions.ABOUT
        about = before.partition(_HEADING)[0].strip().replace(_OLDER, versions.ABOUT)
        text = f"{about}\n\n{_listed(history.events(client, name))}"
        if text != before:
            client.update_registered_model(name, text)


def _listed(events: list[Event]) -> str:
    """The newest first, in Markdown."""
    lines = [_line(event) for event in reversed(events[-_SHOWN:])]
    more = [f"- `digits history` has all {len(events)}"] if len(events) > _SHOWN else []
    return "\n".join([_HEADING, "", *lines, *more])


def _line(event: Event) -> str:
    when, by = event.at[:16].replace("T", " "), f" by {event.by}" if event.by else ""
    return f"- {when} **version {event.version} {event.word}**{by}: {' '.join(event.why.split())}"
