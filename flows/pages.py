"""What do people read on a run's page in Prefect? Markdown and tables of what was decided and what was seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.base.params import Monitor
from pipeline.registry.records import Comparison, Event, Facts

if TYPE_CHECKING:  # pandas comes along, which a retraining's flow need not wait for
    from pipeline.monitoring.windows import Window


def decision(event: Event, champion: Facts | None, lines: Sequence[str], form: str = "") -> str:
    """What was decided of a version, on one page. ``lines``: what else there is to say, in Markdown; ``form``: where a
    person says yes, if that is waited for."""
    decide = f"\n**[Say yes to version {event.version}]({form})**, with a reason.\n" if form else ""
    notes = "".join(f"- {note}\n" for note in (event.verdict.notes if event.verdict else ()))
    notes = f"\nTo know besides:\n\n{notes}" if notes else ""
    told = "".join(f"- {line}\n" for line in [*([_in_use(champion)] if champion else []), *lines])
    return f"# Version {event.version} {event.word}\n\n{_sentence(event.why)}\n{decide}\n{told}{notes}"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}" if text else ""


def _in_use(champion: Facts) -> str:
    return f"**Champion**: {champion.model} version {champion.version}, {_accuracy(champion)}"


def _accuracy(champion: Facts) -> str:
    measured = champion.metrics
    return (
        f"test accuracy {measured['accuracy']:.2%} ({measured['accuracy_low']:.2%} to {measured['accuracy_high']:.2%})"
    )


def nothing(champion: Facts, reason: str) -> str:
    """A retraining that had nothing to do, in one line."""
    return (
        f"**Nothing to do** ({reason}): no data, code or parameter changed. Champion stays {champion.model} version "
        f"{champion.version}, {_accuracy(champion)}.\n"
    )


def checks(event: Event) -> list[dict[str, Any]]:
    """The gate's table: a row a rule, then a row a comparison with those that served."""
    verdict = event.verdict
    if verdict is None:
        return []
    rows = [
        {
            "verdict": "passed" if one.passed else "FAILED",
            "measured": f"{one.value:.4g}",
            "limit": f"{one.limit:.4g}",
            "rule": one.name,  # last, as it may be long
        }
        for one in verdict.checks
    ]
    both = ((verdict.comparison, "held-out images"), (verdict.recent, "recent images"))
    return rows + [_compared(one, where) for one, where in both if one]


def _compared(one: Comparison, where: str) -> dict[str, Any]:
    against = f"version {one.champion}" if one.champion else "the champion"
    return {
        "verdict": one.outcome,
        "measured": f"{100 * one.least_loss:+.2f} to {100 * one.most_loss:+.2f} points less accurate",
        "limit": f"{100 * one.max_loss:.2f} points",
        "rule": f"no worse than {against} on {one.images:,} {where}",
    }


def stages(names: Sequence[str], seconds: Mapping[str, float]) -> list[dict[str, Any]]:
    """A row a stage: whether it ran (``seconds`` has those that did), and for how long."""
    return [
        {"stage": name, "did": "ran", "seconds": f"{seconds[name]:.1f}"}
        if name in seconds
        else {"stage": name, "did": "up to date", "seconds": ""}
        for name in names
    ]


def window(window: Window, bad: int, alarm: bool, rules: Monitor) -> str:
    """What a window of images says, and whether that is an alarm; ``bad`` of the last ``rules.of`` windows are bad."""
    if alarm:
        heading, then = "Drift", f"That is an alarm: {bad} of the last {rules.of} windows are bad."
    elif window.bad:
        heading = "A bad window, no alarm yet"
        then = f"The alarm wants {rules.bad} bad ones among the last {rules.of}: so far it is {bad}."
    else:
        heading, then = "No drift", f"Bad among the last {rules.of} windows: {bad}."
    return f"# {heading}\n\n{_sentence(seen(window))}\n\n{then}\n"


def seen(window: Window) -> str:
    """The window in one sentence."""
    allowed = "" if window.allowed_share is None else f" (allowed are {window.allowed_share:.0%})"
    far = sorted(window.columns.items(), key=lambda item: -item[1])[:3]
    most = ", ".join(f"{column} ({distance:.2f})" for column, distance in far)
    return (
        f"{window.images:,} images, against what version {window.version} learnt from: {window.drifted_share:.0%} of "
        f"the columns drifted{allowed}, farthest apart {most}"
    )


def columns(window: Window) -> list[dict[str, Any]]:
    """A row a column, the farthest first."""
    far = sorted(window.columns.items(), key=lambda item: -item[1])
    return [{"column": column, "distance": f"{distance:.3f}"} for column, distance in far]
