"""How often were the held-out images looked at, and what may the next look still conclude?

Whoever measures enough models on the same images finds one that is good on them by luck. So each look is paid for, out
of a budget: `gate.risk`, the probability of ever having promoted a model that is worse than allowed. A look takes
`gate.look_share` of what is left and may err with no more than that; all looks together err with `gate.risk` at most,
however many there are (alpha spending by Bonferroni's inequality, which needs no independence: K. Lan and D. DeMets,
Biometrika 70, 1983; as a wealth that is spent, D. Foster and R. Stine, JRSS B 70, 2008, without their reward for
rejections, which would be one for promotions). Images that no look has seen bring their share of the budget back: so
the promise holds anew each time that as many images as the set holds are fresh.

A look is a model and a set of images: who looks twice pays once. The evaluate stage notes its looks in a file, as it
must not need the registry; they enter the ledger with the next look of the gate. The ledger stands in a run of MLflow
(:mod:`pipeline.registry.journal`); a look is written before its verdict is known, so that no kill saves its price.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pipeline.base import clock
from pipeline.base.params import Gate
from pipeline.data import held_out as held_out_room
from pipeline.data.held_out import HeldOut
from pipeline.registry import journal, paired, versions
from pipeline.registry.records import Budget, Event, Record

if TYPE_CHECKING:
    from mlflow import MlflowClient

KIND = "ledger"
MOST_IMAGES = 1 << 30  # nobody labels more


class Look(Record):
    """A model that was measured on a set of images."""

    held_out: str
    """the images' digest"""
    model: str
    """the digest of what answers"""
    images: int
    fresh: int = 0
    spent: float
    """of `gate.risk`: 0 to 1"""
    left: float
    at: str = ""
    by: Literal["gate", "evaluate", "history"] = "gate"


@dataclass(frozen=True)
class Ledger:
    """Every look so far, oldest first."""

    looks: tuple[Look, ...] = ()
    left: float = 1.0
    rebuilt: bool = False

    def find(self, held_out: str, model: str) -> Look | None:
        return next((look for look in self.looks if (look.held_out, look.model) == (held_out, model)), None)

    def spend(self, held_out: str, model: str, images: int, fresh: int, share: float, **more: Any) -> Ledger:
        """With this look paid for: ``share`` of what is left once the ``fresh`` among the ``images`` are counted in."""
        left = refilled(self.left, images, fresh)
        spent = share * left
        seen = {"held_out": held_out, "model": model, "images": images, "fresh": fresh}
        look = Look.model_validate({**seen, "spent": spent, "left": left - spent, **more})
        return replace(self, looks=(*self.looks, look), left=look.left)

    def budget(self, look: Look, rules: Gate, max_loss: float) -> Budget:
        """What ``look`` may conclude, and what the next one could."""
        left = self.left
        next_risk = rules.risk * rules.look_share * left
        smallest = paired.flawless(look.images, next_risk)
        return Budget(
            held_out=look.held_out,
            model=look.model,
            images=look.images,
            fresh=look.fresh,
            looks=sum(one.held_out == look.held_out for one in self.looks),
            risk=rules.risk * look.spent,
            left=left,
            next_risk=next_risk,
            smallest_loss=smallest,
            worn_out=smallest > max_loss,
            refill=refill(look.images, left, rules, max_loss) if smallest > max_loss else None,
            rebuilt=self.rebuilt,
        )


def refilled(left: float, images: int, fresh: int) -> float:
    """What is left of the budget once ``fresh`` of the ``images`` are new: 0 to 1."""
    return min(1.0, left + fresh / max(images, 1))


def risk_after(images: int, left: float, fresh: int, rules: Gate) -> float:
    """What the next look may take, were there so many fresh images beside those that are there."""
    return rules.risk * rules.look_share * refilled(left, images + fresh, fresh)


def refill(images: int, left: float, rules: Gate, max_loss: float) -> int:
    """The fewest fresh images with which a challenger without a single loss could be promoted."""

    def tells(fresh: int) -> bool:
        return paired.flawless(images + fresh, risk_after(images, left, fresh, rules)) <= max_loss

    return fewest(tells)


def fewest(tells: Any) -> int:
    """The smallest whole number from 1 on for which ``tells`` holds, which then holds for all larger ones too."""
    high = 1
    while high < MOST_IMAGES and not tells(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if tells(middle) else (middle, high)
    return high


# --- Kept in the registry ---------------------------------------------------------------------------------------------


def look(
    client: MlflowClient, name: str, held_out: HeldOut, model: str, share: float, events: Iterable[Event]
) -> tuple[Ledger, Look, np.ndarray]:
    """Pay for a look at the held-out images, unless this model was measured on them before. To be called with the
    registry locked.

    Returns the ledger after it, the look, and which of the images were fresh: bool (N,). ``model`` is the digest of
    what answers. ``events`` are the model's history, of which the ledger is made again if it is lost or was changed.
    """
    (entries, whole), told = journal.read(client, versions.find(client, name), KIND), _told(events)
    if not whole or not _holds(entries, told):
        entries = _rebuild(client, name, held_out, told)
    ledger, known = _read(entries)
    fresh = ~np.isin(_short(held_out.hashes), known)
    for other in sorted(held_out_room.noted(held_out.digest) - {model}):
        if ledger.find(held_out.digest, other) is None:
            ledger = ledger.spend(held_out.digest, other, len(fresh), int(fresh.sum()), share, by="evaluate")
            ledger = _write(client, name, ledger, held_out, fresh)
            fresh = np.zeros_like(fresh)
    found = ledger.find(held_out.digest, model)
    if found is None:
        ledger = ledger.spend(held_out.digest, model, len(fresh), int(fresh.sum()), share)
        ledger = _write(client, name, ledger, held_out, fresh)
        found = ledger.looks[-1]
    return ledger, found, fresh


def read(client: MlflowClient, name: str) -> Ledger:
    """The ledger as it stands."""
    return _read(journal.read(client, versions.find(client, name), KIND).entries)[0]


def _read(entries: list[dict[str, Any]]) -> tuple[Ledger, np.ndarray]:
    """The ledger, and the short hashes of every image that was looked at."""
    looks = tuple(Look.model_validate(entry["look"]) for entry in entries if "look" in entry)
    hashes = [np.frombuffer(base64.b64decode(entry["hashes"]), "<u4") for entry in entries if "hashes" in entry]
    rebuilt = any("rebuilt" in entry for entry in entries)
    left = looks[-1].left if looks else float(not rebuilt)
    known = np.concatenate(hashes) if hashes else np.empty(0, "<u4")
    return Ledger(looks, left, rebuilt), known


def _write(client: MlflowClient, name: str, ledger: Ledger, held_out: HeldOut, fresh: np.ndarray) -> Ledger:
    """Write the last look down, with the images that it was the first to see: both or neither."""
    last = ledger.looks[-1].model_copy(update={"at": clock.now()})
    entry: dict[str, Any] = {"look": last.as_json()}
    if fresh.any():
        entry["hashes"] = base64.b64encode(_short(held_out.hashes[fresh]).tobytes()).decode()
    journal.append(client, name, KIND, entry)
    return replace(ledger, looks=(*ledger.looks[:-1], last))


def _told(events: Iterable[Event]) -> list[Look]:
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
    """Whether the ledger knows every look that the history tells of."""
    known = {(look.held_out, look.model) for look in _read(entries)[0].looks}
    return known >= {(look.held_out, look.model) for look in told}


def _rebuild(client: MlflowClient, name: str, held_out: HeldOut, told: list[Look]) -> list[dict[str, Any]]:
    """Begin the ledger anew from the history. What is held out now counts as seen, and as little is left as there ever
    was: who loses the ledger gains nothing by it."""
    left = min([look.left for look in told], default=0.0)
    hashes = base64.b64encode(_short(held_out.hashes).tobytes()).decode()
    entries: list[dict[str, Any]] = [{"rebuilt": clock.now(), "hashes": hashes}]
    entries += [{"look": look.model_copy(update={"left": left}).as_json()} for look in told]
    journal.begin_again(client, name, KIND)
    for entry in entries:
        journal.append(client, name, KIND, entry)
    return entries


def _short(hashes: np.ndarray) -> np.ndarray:
    """The low 32 bits of each image's hash: two of 10,000 images share them once in a hundred sets."""
    return (hashes & np.uint64(0xFFFFFFFF)).astype("<u4")
