"""The plots of docs/how-the-gate-decides.md."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.promotion.nightly import Year
from pipeline.base.params import Gate
from pipeline.registry import paired
from pipeline.reporting import figures


def draw(folder: Path, years: dict[str, list[Year]], rules: Gate) -> None:
    figures.save(creep(years["each 0.02 points worse"]), folder / "gate-creep.png")
    figures.save(what_n_tells(rules), folder / "gate-images.png")


def creep(years: list[Year]) -> Figure:
    """The champion's true accuracy, night by night, under each rule."""
    figure, (axes,) = figures.canvas(8, 4)
    styles = (figures.BLUE, figures.BLUE, figures.FADED, figures.ORANGE, figures.INK)
    for number, (year, colour) in enumerate(zip(years, styles, strict=True)):
        line = ("-", "--", "-", "-", "--")[number]
        axes.plot(100 * np.array(year.path), line, color=colour, linewidth=2, label=year.policy)
    axes.set_title("Each night a challenger that is 0.02 points worse than the champion", loc="left")
    axes.set_xlabel("night")
    axes.set_ylabel("true accuracy of the champion, %")
    axes.legend(frameon=False)
    return figure


def what_n_tells(rules: Gate) -> Figure:
    """The smallest loss that can be ruled out, by images and looks."""
    figure, (axes,) = figures.canvas(8, 4)
    images = np.unique(np.geomspace(100, 100_000, 60).astype(int))
    for looks, colour in ((1, figures.BLUE), (30, figures.ORANGE), (100, figures.INK)):
        risk = rules.risk * rules.look_share * (1 - rules.look_share) ** (looks - 1)
        smallest = [100 * paired.flawless(int(n), risk) for n in images]
        axes.plot(images, smallest, color=colour, linewidth=2, label=f"at look {looks}")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_title("The smallest loss that can be ruled out, of a challenger that loses nothing", loc="left")
    axes.set_xlabel("held-out images")
    axes.set_ylabel("points")
    axes.legend(frameon=False)
    return figure
