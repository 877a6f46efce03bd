"""What did the gate decide, as a sentence and a picture? reports/verdict.html, which needs no other file."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, NamedTuple

from pipeline.reporting import figures, templating

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Limits(NamedTuple):
    """Between which losses in accuracy a challenger lies, beside one that served: 0.01 is a point."""

    where: str
    least: float
    most: float
    allowed: float


class Decision(NamedTuple):
    """What is to be shown of a verdict."""

    heading: str
    sentence: str
    notes: tuple[str, ...]
    limits: tuple[Limits, ...]
    champions: tuple[tuple[str, float], ...]
    """version and accuracy of each that served, on the same images, oldest first"""
    challenger: tuple[str, float]
    budget: tuple[tuple[str, str], ...]
    """what the held-out images still have to give: a name and a value a row"""


def render(decision: Decision) -> str:
    """The page; everything that comes from data is escaped."""
    compared = decision.limits or decision.champions  # a first model's one dot says nothing that the table does not
    uri = _data_uri(picture(decision)) if compared else None
    return templating.environment().get_template("verdict.html.j2").render(decision=decision, picture=uri)


def _data_uri(figure: Figure) -> str:
    written = io.BytesIO()
    figures.write(figure, written)
    return "data:image/png;base64," + base64.b64encode(written.getvalue()).decode("ascii")


def picture(decision: Decision) -> Figure:
    """The loss that is possible beside the loss that is allowed, and the champions so far as a staircase."""
    figure, panels = figures.canvas(11, 4, columns=2 if decision.limits else 1)
    if decision.limits:
        _draw_limits(panels[0], decision.limits)
    _draw_staircase(panels[-1], decision.champions, decision.challenger)
    return figure


def _draw_limits(axes: Axes, limits: tuple[Limits, ...]) -> None:
    for row, one in enumerate(limits):
        fits = one.most <= one.allowed
        axes.plot([100 * one.least, 100 * one.most], [row, row], color=figures.BLUE if fits else figures.ORANGE, lw=5)
        axes.plot([100 * one.allowed] * 2, [row - 0.3, row + 0.3], color=figures.INK, lw=2)
        axes.annotate("allowed", (100 * one.allowed, row + 0.33), ha="center", fontsize=11, color=figures.INK)
    axes.axvline(0, color=figures.GRID)
    axes.set_yticks(range(len(limits)), [one.where for one in limits])
    axes.set_ylim(-0.6, len(limits) - 0.3)
    axes.set_xlabel("points of accuracy lost (left of 0: gained)")
    axes.set_title("By how much the challenger could be worse", loc="left")


def _draw_staircase(axes: Axes, champions: tuple[tuple[str, float], ...], challenger: tuple[str, float]) -> None:
    accuracies = [100 * accuracy for _, accuracy in champions]
    names = [version for version, _ in champions]
    axes.step(range(len(champions)), accuracies, where="mid", color=figures.BLUE, lw=2, marker="o")
    axes.plot(len(champions), 100 * challenger[1], "o", color=figures.ORANGE, markersize=9)
    axes.annotate("challenger", (len(champions), 100 * challenger[1]), xytext=(0, 9), textcoords="offset points",
                  ha="center", fontsize=11)  # fmt: skip
    axes.margins(x=0.15, y=0.3)
    low, high = axes.get_ylim()
    axes.set_ylim(low, min(high, 100 + 0.1 * (high - low)))  # above 100 % is room for the word alone
    axes.set_yticks([tick for tick in axes.get_yticks() if low <= tick <= 100])
    axes.set_xticks(range(len(champions) + 1), [*names, challenger[0]])
    axes.set_xlabel("version")
    axes.set_title("Champions so far: accuracy, %", loc="left")
