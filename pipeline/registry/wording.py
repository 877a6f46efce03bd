"""How does a verdict read? Its numbers as a sentence, for people who ask what was decided and why."""

import math
from collections.abc import Sequence

from pipeline.registry.records import Budget, Check, Comparison

HISTORY_NOT_WHOLE = (
    "entries of the history were changed or lost: models that served may be missing from the comparison (MLflow's "
    "database, from a backup, has them all)"
)


def of_floors(failed: Sequence[Check]) -> str:
    return "; ".join(
        f"{check.name} is {check.value:.4g}, allowed {check.limit:.4g}"
        + (" (measured again by the next run)" if check.may_pass else "")
        for check in failed
    )


def of_bounds(
    version: str, overall: Comparison | None, lately: Comparison | None, budget: Budget, more: int | None
) -> str:
    """The verdict as a sentence on what decided it."""
    if overall is None:
        return "the first model, and every floor is passed"
    both = [(overall, "held-out"), *([(lately, "recent")] if lately else [])]
    worse = [_worse(one, where, version) for one, where in both if one.outcome == "worse"]
    if worse:
        return "; ".join(worse)
    open_ = [_untold(one, where, version) for one, where in both if one.outcome == "cannot be told"]
    if open_:
        return f"it cannot be told: {'; '.join(open_)}; {_what_would_tell(budget, more)}"
    return "; ".join(_no_worse(one, where, version) for one, where in both)


def _no_worse(one: Comparison, where: str, version: str) -> str:
    versus = f"version {one.champion} on {one.images:,} {where} images"
    if one.most_loss < 0:
        return f"version {version} is at least {points(-one.most_loss)} points more accurate than {versus}"
    return (
        f"version {version} is at most {points(one.most_loss)} points less accurate than {versus}, allowed "
        f"{points(one.max_loss)}"
    )


def _worse(one: Comparison, where: str, version: str) -> str:
    return (
        f"version {version} is less accurate than version {one.champion} on {one.images:,} {where} images, by "
        f"{points(max(one.least_loss, 0))} to {points(one.most_loss)} points"
    )


def _untold(one: Comparison, where: str, version: str) -> str:
    return (
        f"version {version} may be up to {points(one.most_loss)} points less accurate than version {one.champion} by "
        f"{one.images:,} {where} images, allowed {points(one.max_loss)}"
    )


def _what_would_tell(budget: Budget, more: int | None) -> str:
    if budget.refill is not None:
        if budget.too_few:
            return f"these images are too few: {_enough(budget)}"
        why = f"{budget.looks} looks have worn these images out" if budget.looks > 1 else "these images are too few"
        return f"{why}: with {budget.refill:,} fresh held-out ones they can tell again"
    if more is None:
        return "it loses too many for more images to help"
    return f"about {more:,} more held-out images would tell"


def points(share: float) -> str:
    """A difference in accuracy as people say it: in percentage points."""
    return f"{100 * share:.2f}"


def _enough(budget: Budget) -> str:
    """What would let too few images tell: more of them, or a larger loss that is allowed."""
    loss = math.ceil(1000 * budget.smallest_loss) / 1000
    return f"{budget.refill:,} more would be enough, or a gate.max_loss of {loss:.3f} or more for this data set"


def of_ledger(budget: Budget) -> list[str]:
    """What is to be said of the looks that were counted."""
    lost = "the ledger of looks was lost or changed, and made again from the history: only fresh images count"
    return [lost] if budget.rebuilt else []


def of_budget(budget: Budget) -> list[str]:
    """What is to be said of the held-out images beside a verdict that does not say it itself."""
    said = of_ledger(budget)
    if budget.refill is not None and budget.too_few:
        said.append(
            f"{budget.images:,} held-out images are too few to tell whether a next model is worse: {_enough(budget)}"
        )
    elif budget.refill is not None:
        said.append(
            f"these {budget.images:,} held-out images can tell nothing more of the next model: {budget.refill:,} fresh "
            "ones refill them"
        )
    return said
