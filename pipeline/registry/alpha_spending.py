"""How often were the held-out images looked at, and what may the next look still conclude?

Whoever measures enough models on the same images finds one that is good on them by luck. So each look is paid for, out
of a budget: `gate.risk`, the probability of ever having promoted a model that is worse than allowed. A look takes
`gate.look_share` of what is left and may err with no more than that; all looks together err with `gate.risk` at most,
however many there are (alpha spending by Bonferroni's inequality, which needs no independence: K. Lan and D. DeMets,
Biometrika 70, 1983; as a wealth that is spent, D. Foster and R. Stine, JRSS B 70, 2008, without their reward for
rejections, which would be one for promotions). Images that no look has seen bring their share of the budget back: so
the promise holds anew each time that as many images as the set holds are fresh.

Pure arithmetic; :mod:`pipeline.registry.ledger` keeps the looks in the registry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from pipeline.base.params import Gate
from pipeline.registry import paired
from pipeline.registry.records import Budget, Record

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
            too_few=paired.flawless(look.images, rules.risk * rules.look_share) > max_loss,
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


def fewest(tells: Callable[[int], bool]) -> int:
    """The smallest whole number from 1 on for which ``tells`` holds, which then holds for all larger ones too."""
    high = 1
    while high < MOST_IMAGES and not tells(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if tells(middle) else (middle, high)
    return high
