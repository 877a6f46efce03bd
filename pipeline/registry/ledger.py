"""Which looks at the held-out images were there? Kept with the model, so that each is paid for
(:mod:`pipeline.registry.alpha_spending`).

A look is a model and a set of images: who looks twice pays once. The evaluate stage notes its looks in a file, as it
must not need the registry; they enter the ledger with the next look of the gate. The ledger stands in a run of MLflow
(:mod:`pipeline.registry.journal`); a look is written before its verdict is known, so that no kill saves its price.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.base import clock
from pipeline.data import held_out as held_out_room
from pipeline.data.held_out import HeldOut
from pipeline.registry import journal, versions
from pipeline.registry.alpha_spending import Ledger, Look
from pipeline.registry.records import Event

if TYPE_CHECKING:
    from mlflow import MlflowClient

KIND = "ledger"


def look(
    client: MlflowClient, name: str, held_out: HeldOut, model: str, share: float, events: Iterable[Event]
) -> tuple[Ledger, Look, np.ndarray]:
    """Pay for a look at the held-out images, unless this model was measured on them before. To be called with the
    registry locked.

    Returns the ledger after it, the look, and which of the images were fresh: bool (N,). ``model`` is the digest of
    what answers. ``events`` are the model's history, of which the ledger is made again if it is lost or was changed.
    """
    (entries, whole), told = journal.read(client, versions.find(client, name), KIND), _looks_in(events)
    if not whole or not _holds(entries, told):
        entries = _rebuild(client, name, held_out, told)
    ledger, known = _read(entries)
    for digest, other, images in _noted(name):
        if (digest, other) != (held_out.digest, model) and ledger.find(digest, other) is None:
            fresh = ~np.isin(images, known)
            ledger = ledger.spend(digest, other, len(fresh), int(fresh.sum()), share, by="evaluate")
            ledger = _write(client, name, ledger, images[fresh])
            known = np.concatenate([known, images[fresh]])
    fresh = ~np.isin(held_out.short, known)
    found = ledger.find(held_out.digest, model)
    if found is None:
        ledger = ledger.spend(held_out.digest, model, len(fresh), int(fresh.sum()), share)
        ledger = _write(client, name, ledger, held_out.short[fresh])
        found = ledger.looks[-1]
    return ledger, found, fresh


def _noted(name: str) -> list[tuple[str, str, np.ndarray]]:
    """The looks of evaluate at images of the model's data set, also at those that are no longer just what is held out:
    the images' digest, what answered, the images' short hashes."""
    noted = held_out_room.noted()
    return [(look.held_out, look.model, look.images) for look in noted if versions.model_name(look.dataset) == name]


def read(client: MlflowClient, name: str) -> Ledger:
    """The ledger as it stands."""
    return _read(journal.read(client, versions.find(client, name), KIND).entries)[0]


def _read(entries: list[dict[str, Any]]) -> tuple[Ledger, np.ndarray]:
    """The ledger, and the short hashes of every image that was looked at."""
    looks = tuple(Look.model_validate(entry["look"]) for entry in entries if "look" in entry)
    hashes = [held_out_room.decoded(entry["hashes"]) for entry in entries if "hashes" in entry]
    rebuilt = any("rebuilt" in entry for entry in entries)
    left = looks[-1].left if looks else float(not rebuilt)
    known = np.concatenate(hashes) if hashes else np.empty(0, "<u4")
    return Ledger(looks, left, rebuilt), known


def _write(client: MlflowClient, name: str, ledger: Ledger, fresh: np.ndarray) -> Ledger:
    """Write the last look down, with the short hashes of those that it was the first to see: both or neither."""
    last = ledger.looks[-1].model_copy(update={"at": clock.now()})
    entry: dict[str, Any] = {"look": last.as_json()}
    if len(fresh):
        entry["hashes"] = held_out_room.encoded(fresh)
    journal.append(client, name, KIND, entry)
    return replace(ledger, looks=(*ledger.looks[:-1], last))


def _looks_in(events: Iterable[Event]) -> list[Look]:
    """The looks that the history tells of."""
    verdicts = [event.verdict for event in events if event.verdict]
    return [
        Look(
            **budget.model_dump(include={"held_out", "model", "images", "fresh", "left"}),
            spent=budget.risk / verdict.rules["risk"],
            by="history",
        )
        for verdict in verdicts
        if (budget := verdict.budget)
    ]


def _holds(entries: list[dict[str, Any]], told: list[Look]) -> bool:
    """Whether the ledger can be read, and knows every look that the history tells of."""
    try:
        known = {(look.held_out, look.model) for look in _read(entries)[0].looks}
    except ValueError:  # the last entry was changed, which the journal does not see
        return False
    return known >= {(look.held_out, look.model) for look in told}


def _rebuild(client: MlflowClient, name: str, held_out: HeldOut, told: list[Look]) -> list[dict[str, Any]]:
    """Begin the ledger anew from the history. What is held out now counts as seen, as does what evaluate noted, and as
    little is left as there ever was: who loses the ledger gains nothing by it."""
    left = min([look.left for look in told], default=0.0)
    noted = [images for _, _, images in _noted(name)]
    hashes = held_out_room.encoded(np.unique(np.concatenate([held_out.short, *noted])))
    entries: list[dict[str, Any]] = [{"rebuilt": clock.now(), "hashes": hashes}]
    entries += [{"look": look.model_copy(update={"left": left}).as_json()} for look in told]
    journal.begin_again(client, name, KIND)
    for entry in entries:
        journal.append(client, name, KIND, entry)
    return entries
