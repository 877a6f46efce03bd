"""When is a challenger promoted? Our gate, and three rules that others use, each for many runs at once."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from scipy.stats import binomtest

from benchmarks.promotion.population import HeldOut, accuracy
from pipeline.base.params import Gate
from pipeline.registry import gate
from pipeline.registry.alpha_spending import Ledger

FLOOR = 0.98


class Policy(Protocol):
    """A rule with what it remembers of each run."""

    name: str

    def judge(self, sets: HeldOut, wrong: np.ndarray, fresh: int = 0) -> np.ndarray:
        """Look at a challenger's mistakes bool (runs, most), promote or not: bool (runs,). The first is promoted."""
        ...


class Simple:
    """A rule that knows the current champion alone."""

    def __init__(self, name: str, rule: Callable[[HeldOut, np.ndarray, np.ndarray], np.ndarray]) -> None:
        self.name, self.rule = name, rule
        self.champion: np.ndarray | None = None

    def judge(self, sets: HeldOut, wrong: np.ndarray, fresh: int = 0) -> np.ndarray:
        if self.champion is None:
            self.champion = wrong.copy()
            return np.ones(len(wrong), bool)
        promoted = (accuracy(sets, wrong) >= FLOOR) & self.rule(sets, wrong, _padded(self.champion, wrong))
        self.champion = np.where(promoted[:, None], wrong, _padded(self.champion, wrong))
        return promoted


def fixed_floor() -> Simple:
    return Simple("fixed floor", lambda sets, wrong, champion: np.ones(len(wrong), bool))


def no_less_accurate() -> Simple:
    return Simple("latest >= current", lambda sets, wrong, champion: wrong.sum(axis=1) <= champion.sum(axis=1))


def mcnemar(significance: float = 0.05) -> Simple:
    """Promoted unless significantly worse than the current champion."""
    known: dict[tuple[int, int], bool] = {}

    def passes(lost: int, gained: int) -> bool:
        if (lost, gained) not in known:
            p_value = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
            known[lost, gained] = not (p_value < significance and lost > gained)
        return known[lost, gained]

    def rule(sets: HeldOut, wrong: np.ndarray, champion: np.ndarray) -> np.ndarray:
        lost, gained = (wrong & ~champion).sum(axis=1), (champion & ~wrong).sum(axis=1)
        return np.array([passes(*pair) for pair in zip(lost.tolist(), gained.tolist(), strict=True)])

    return Simple("McNemar", rule)


class Ours:
    """The gate and its ledger, against every champion that ever served."""

    def __init__(self, rules: Gate, max_loss: float) -> None:
        self.name = f"this gate, risk {rules.risk:g}"
        self.rules, self.max_loss, self.ledger = rules, max_loss, Ledger()
        self.served: list[np.ndarray] = []  # bits of the mistakes of the champions: a slot holds one of each run
        self.count = np.empty(0, int)
        self.looks = 0

    def judge(self, sets: HeldOut, wrong: np.ndarray, fresh: int = 0) -> np.ndarray:
        """Every run pays for a look; the price is the same in all, so one ledger serves them."""
        risk = self.pay(sets.images, fresh)
        promoted = (accuracy(sets, wrong) >= FLOOR) & self.no_worse(sets.images, wrong, risk)
        self._crown(wrong, promoted)
        return promoted

    def pay(self, images: int, fresh: int) -> float:
        """The risk that the next look may take."""
        self.looks += 1
        self.ledger = self.ledger.spend(f"of {images}", str(self.looks), images, fresh, self.rules.look_share)
        return self.ledger.budget(self.ledger.looks[-1], self.rules, self.max_loss).risk

    def no_worse(self, images: int, wrong: np.ndarray, risk: float) -> np.ndarray:
        """Whether the challenger is proven no worse than each that served: bool (runs,)."""
        passed = np.ones(len(wrong), bool)
        ours, bits = wrong.sum(axis=1), np.packbits(wrong, axis=1)
        for slot, served in enumerate(self.served):
            rows = np.flatnonzero(passed & (slot < self.count))
            theirs = served[rows]
            both = np.bitwise_count(theirs & bits[rows, : theirs.shape[1]]).sum(axis=1)
            lost, gained = ours[rows] - both, np.bitwise_count(theirs).sum(axis=1) - both
            for row, lose, gain in zip(rows.tolist(), lost.tolist(), gained.tolist(), strict=True):
                passed[row] = gate.outcome(lose, gain, images, self.max_loss, risk) == "no worse"
        return passed

    def _crown(self, wrong: np.ndarray, promoted: np.ndarray) -> None:
        if not self.count.size:
            self.count = np.zeros(len(wrong), int)
        bits = np.packbits(wrong, axis=1)
        while len(self.served) <= self.count[promoted].max(initial=-1):
            self.served.append(np.zeros_like(bits))
        for slot in np.unique(self.count[promoted]):
            rows = np.flatnonzero(promoted & (self.count == slot))
            if self.served[slot].shape[1] < bits.shape[1]:
                self.served[slot] = _padded(self.served[slot], bits)
            self.served[slot][rows] = bits[rows]
        self.count[promoted] += 1


def _padded(array: np.ndarray, like: np.ndarray) -> np.ndarray:
    """With as many columns: what a test set has grown by is answered rightly until it is known otherwise."""
    return np.pad(array, ((0, 0), (0, like.shape[1] - array.shape[1])))
