"""Who was champion when, and why? Events that stand beside the aliases, which keep no history in MLflow.

An event is an entry of the model's journal, numbered and never changed. It is written before the alias moves, and once
more, as settled, when it has: an alias that points elsewhere than the history says was moved by hand, unless the last
event was cut off before it took effect. Older releases kept events as tags of the registered model, which are read too.
"""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from pipeline.base import clock
from pipeline.registry import journal, versions
from pipeline.registry.records import Event, Facts, Happening, Proof, Verdict

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

KIND = "history"
_OLDER = "event."  # tag keys of an older release: event.<UTC time>
_VERDICT = "gate"  # a version's tag: every number, as code reads it
_IN_WORDS = "verdict"  # a version's tag: the same for people, as MLflow's page shows tags
MOVES: tuple[Happening, ...] = ("promoted", "rolled back", "moved by hand")
_LINEAGE = ("dataset", "recipe", "git_commit", "git_clean", "machine")


def crown(client: MlflowClient, version: ModelVersion, verdict: Verdict, reason: str = "") -> Event:
    """Make ``version`` champion, write the event down and return it. The alias moves after it, in one call."""
    previous = versions.aliased(client, version.name, versions.CHAMPION)
    before = str(previous.version) if previous else None
    event = record(client, version, "promoted", before, reason, verdict=verdict)
    _move(client, version)
    challenger = versions.aliased(client, version.name, versions.CHALLENGER)
    if challenger and challenger.version == version.version:
        client.delete_registered_model_alias(version.name, versions.CHALLENGER)
    return event


def reinstate(client: MlflowClient, version: ModelVersion, replaced: str, proof: Proof, reason: str = "") -> Event:
    """Give the champion's alias back to ``version``, write the event down and return it."""
    event = record(client, version, "rolled back", replaced, reason, proof=proof)
    _move(client, version)
    return event


def _move(client: MlflowClient, version: ModelVersion) -> None:
    client.set_registered_model_alias(version.name, versions.CHAMPION, version.version)
    journal.append(client, version.name, KIND, {"settled": str(version.version)})


def record(
    client: MlflowClient, version: ModelVersion, event: Happening, previous: str | None, reason: str = "", **more: Any
) -> Event:
    """Append to the model's history: what happened to which version, when, by whom, and every number behind it. To be
    called with the registry locked."""
    _record_move_by_hand(client, version.name)
    if reason:
        more["reason"] = reason
    entry = Event(event=event, version=str(version.version), previous=previous, at=clock.now(), by=person(), **more)
    journal.append(client, version.name, KIND, {"event": entry.as_json()})
    if entry.verdict:
        text = json.dumps(entry.verdict.model_copy(update={"champions": ()}).as_json())  # a tag has a limit
        client.set_model_version_tag(version.name, version.version, _VERDICT, text)
        words = f"{entry.word} {entry.at[:10]}: {entry.why}"[: journal.PIECE]
        client.set_model_version_tag(version.name, version.version, _IN_WORDS, words)
    return entry


def _record_move_by_hand(client: MlflowClient, name: str) -> None:
    """Write down that somebody moved the alias by other means, if so, before what comes after it."""
    for event in events(client, name)[-1:]:
        if not event.at:
            entry = event.model_copy(update={"at": clock.now()})
            journal.append(client, name, KIND, {"event": entry.as_json()})


def person() -> str:
    """Who does this: DIGITS_USER, else the name that the system knows, or the user's number where it knows none."""
    if named := os.environ.get("DIGITS_USER"):
        return named
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # as in a container; which of them, Python's release says
        return str(os.getuid())


class History(NamedTuple):
    """What is known of the decisions on a model's versions."""

    events: list[Event]
    """oldest first"""
    whole: bool
    """false if some are known to be lost or changed (:mod:`pipeline.registry.journal`)"""


def events(client: MlflowClient, name: str) -> list[Event]:
    """Every decision on the model's versions, oldest first."""
    return read(client, name).events


def read(client: MlflowClient, name: str) -> History:
    """Every decision on the model's versions, and whether that is all."""
    model = versions.find(client, name)
    if model is None:
        return History([], whole=True)
    older = [Event.model_validate_json(model.tags[key]) for key in sorted(model.tags) if key.startswith(_OLDER)]
    in_use = model.aliases.get(versions.CHAMPION)
    entries, whole = journal.read(client, model, KIND)
    sound = [entry for entry in entries if _is_sound(entry)]
    written = [(event, False) for event in older] + _written(sound)
    return History(_took_effect(written, str(in_use) if in_use else None), whole and len(sound) == len(entries))


def _is_sound(entry: dict[str, Any]) -> bool:
    """Whether an entry of the journal says what this module writes."""
    try:
        return "settled" in entry or bool(Event.model_validate(entry.get("event")))
    except ValidationError:
        return False


def _written(entries: list[dict[str, Any]]) -> list[tuple[Event, bool]]:
    """The events that were written down, each with whether its alias is known to have moved."""
    found: list[tuple[Event, bool]] = []
    for entry in entries:
        if "event" in entry:
            event = Event.model_validate(entry["event"])
            found.append((event, event.event == "moved by hand"))
        elif found:
            found[-1] = (found[-1][0], True)
    return found


def _took_effect(written: list[tuple[Event, bool]], in_use: str | None) -> list[Event]:
    """Leave out changes that were cut off, and add a move that nobody wrote down: the champion in use is the judge."""
    if not written:
        return [_by_hand(in_use, None)] if in_use else []
    kept: list[Event] = []
    then = [*(event.previous for event, _ in written[1:]), in_use]  # who was champion after each of them
    for (event, settled), champion in zip(written, then, strict=True):
        if event.event in MOVES and not settled and champion == event.previous != event.version:
            continue
        kept.append(event)
        if champion and champion != (said := _champion(kept)):
            kept.append(_by_hand(champion, said))
    return kept


def _champion(events: list[Event]) -> str | None:
    """Who is champion after these events."""
    return next((event.version for event in reversed(events) if event.event in MOVES), None)


def _by_hand(version: str, previous: str | None) -> Event:
    reason = "the alias was moved by other means than this project's, as in MLflow's page"
    return Event(event="moved by hand", version=version, previous=previous, reason=reason)


def previous_champion(events: list[Event]) -> str | None:
    """Whom a rollback returns to: the champion before the one in use; a second rollback goes one further back."""
    reigns: list[str | None] = []
    for event in events:
        before = [place for place, version in enumerate(reigns[:-1]) if version == event.version]
        if event.event == "rolled back" and before:
            reigns = reigns[: before[-1] + 1]
        elif event.event in MOVES:
            reigns.append(event.version)
    return reigns[-2] if len(reigns) > 1 else None


def last_judged(events: Sequence[Event], version: str) -> Event | None:
    """The latest verdict on a version, or its promotion."""
    return next((event for event in reversed(events) if event.version == version and event.verdict), None)


def served(events: list[Event]) -> list[str]:
    """Every version that ever was champion, oldest first, the one in use last."""
    crowned = [event.version for event in events if event.event in MOVES and event.version]
    return list(dict.fromkeys(reversed(crowned)))[::-1]


def verdict(version: ModelVersion) -> Verdict | None:
    """The gate's latest word on the version; None if it was never judged, :class:`BadInput` if the tag is spoilt."""
    written = version.tags.get(_VERDICT)
    try:
        return Verdict.model_validate_json(written) if written else None
    except ValidationError:
        raise versions.spoilt(version, _VERDICT) from None


def describe(
    client: MlflowClient,
    version: ModelVersion,
    pointing: Mapping[str, str] | None = None,
    known: Iterable[Event] | None = None,
) -> Facts:
    """The version's facts; :class:`BadInput` if it was not registered by this pipeline.

    ``pointing`` are the model's aliases and ``known`` its events, where they are at hand already.
    """
    versions.check_ours(version)
    run, number = client.get_run(str(version.run_id)), str(version.version)
    pointing = versions.aliases(client, version.name) if pointing is None else pointing
    known = events(client, version.name) if known is None else known
    promotions = [event for event in known if event.event == "promoted" and event.version == number]
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
