"""Who was champion when, and why? Events that stand beside the aliases, which keep no history in MLflow.

An event is a tag of the registered model. It is written before the alias moves: one that was cut off in between is
recognised by its ``previous``, which is still champion, and left out.
"""

from __future__ import annotations

import getpass
import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipeline.base import clock
from pipeline.registry import versions
from pipeline.registry.records import Event, Facts, Happening, Proof, Verdict

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

_EVENT = "event."  # tag keys: event.<UTC time>, so that they sort by time
_VERDICT = "gate"  # a version's tag
_LINEAGE = ("dataset", "recipe", "git_commit", "git_clean", "machine")


def crown(client: MlflowClient, version: ModelVersion, verdict: Verdict, reason: str = "") -> Event:
    """Make ``version`` champion, write the event down and return it. The alias moves after it, in one call."""
    previous = versions.aliased(client, version.name, versions.CHAMPION)
    before = str(previous.version) if previous else None
    event = record(client, version, "promoted", before, reason, verdict=verdict)
    client.set_registered_model_alias(version.name, versions.CHAMPION, version.version)
    challenger = versions.aliased(client, version.name, versions.CHALLENGER)
    if challenger and challenger.version == version.version:
        client.delete_registered_model_alias(version.name, versions.CHALLENGER)
    return event


def reinstate(client: MlflowClient, version: ModelVersion, replaced: str, proof: Proof, reason: str = "") -> Event:
    """Give the champion's alias back to ``version``, write the event down and return it."""
    event = record(client, version, "rolled back", replaced, reason, proof=proof)
    client.set_registered_model_alias(version.name, versions.CHAMPION, version.version)
    return event


def record(
    client: MlflowClient, version: ModelVersion, event: Happening, previous: str | None, reason: str = "", **more: Any
) -> Event:
    """Append to the model's history: what happened to which version, when, by whom, and every number behind it."""
    if reason:
        more["reason"] = reason
    number = str(version.version)
    entry = Event(event=event, version=number, previous=previous, at=clock.now(), by=person(), **more)
    key = f"{_EVENT}{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}"
    client.set_registered_model_tag(version.name, key, json.dumps(entry.as_json()))
    if entry.verdict:
        client.set_model_version_tag(version.name, version.version, _VERDICT, json.dumps(entry.verdict.as_json()))
    return entry


def person() -> str:
    """Who does this: DIGITS_USER, else the name that the system knows."""
    return os.environ.get("DIGITS_USER") or getpass.getuser()


def events(client: MlflowClient, name: str) -> list[Event]:
    """Every decision on the model's versions, oldest first."""
    model = versions.find(client, name)
    return _events_of(model) if model else []


def _events_of(model: RegisteredModel) -> list[Event]:
    kept = [Event.model_validate_json(model.tags[key]) for key in sorted(model.tags) if key.startswith(_EVENT)]
    in_use = model.aliases.get(versions.CHAMPION)
    return _took_effect(kept, in_use and str(in_use))


def _took_effect(events: list[Event], in_use: str | None) -> list[Event]:
    """Leave out changes that were cut off, reading backwards from the champion in use."""
    kept = []
    for event in reversed(events):
        if event.event in ("promoted", "rolled back"):
            if event.version != in_use == event.previous:
                continue
            in_use = event.previous
        kept.append(event)
    return kept[::-1]


def previous_champion(events: list[Event]) -> str | None:
    """Whom a rollback returns to: the champion before the one in use; a second rollback goes one further back."""
    reigns: list[str | None] = []
    for event in events:
        if event.event == "promoted":
            reigns.append(event.version)
        elif event.event == "rolled back":
            reigns.pop()
    return reigns[-2] if len(reigns) > 1 else None


def verdict(version: ModelVersion) -> Verdict | None:
    """The gate's latest word on the version; None if it was never judged."""
    written = version.tags.get(_VERDICT)
    return Verdict.model_validate_json(written) if written else None


def describe(client: MlflowClient, version: ModelVersion) -> Facts:
    """The version's facts; :class:`BadInput` if it was not registered by this pipeline."""
    versions.check_ours(version)
    run, model = client.get_run(str(version.run_id)), client.get_registered_model(version.name)
    number = str(version.version)
    promotions = [e for e in _events_of(model) if e.event == "promoted" and e.version == number]
    pointing = {alias: str(pointed) for alias, pointed in model.aliases.items()}
    return Facts(
        model=version.name,
        version=number,
        aliases=[alias for alias in (versions.CHAMPION, versions.CHALLENGER) if pointing.get(alias) == number],
        created=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).isoformat(timespec="seconds"),
        run_id=str(version.run_id),
        lineage={key: value for key, value in version.tags.items() if key in _LINEAGE or key.startswith("dvc.")},
        params=run.data.params,
        weights_sha256=version.tags["weights_sha256"],
        metrics=versions.metrics(version),
        verdict=verdict(version),
        replaced=promotions[-1].previous if promotions else None,
    )
