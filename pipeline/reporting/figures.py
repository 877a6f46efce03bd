"""What does the model get wrong, in curves, dots and counts?

Each function draws one picture from plain arrays or tables and returns a matplotlib ``Figure``; :func:`save` writes it,
the same bytes for the same input. Those of images are in :mod:`pipeline.reporting.mosaics`.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from pipeline.base import files
from pipeline.base.form import DIGITS, Form

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#1f2933"
FADED = "#8a94a0"
GRID = "#e4e7eb"
BLUE = "#2563eb"
ORANGE = "#e8590c"

DPI = 130
LONGEST = 16  # letters of a class's name
ROOMY = 10  # classes up to which a matrix fits half a page, or a number beside each image
MATRIX = 30  # classes that a matrix shows: of more, those with the most errors, as a page has no room to read more
MOST = 64  # classes that a row each is drawn of


def save(figure: Figure, path: Path | str) -> None:
    """Write a figure as PNG, atomically."""
    with files.atomic(path) as part, part.open("wb") as file:
        write(figure, file)


def write(figure: Figure, file: IO[bytes]) -> None:
    """Write a figure as PNG: 256 colours (half the bytes, no difference to be seen) and no metadata."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a class's name may be in any script: a box stands there
        canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    picture.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(file, format="PNG")


def curves(history: pd.DataFrame, overfits_from: int | None = None) -> Figure:
    """Loss and accuracy, for train and validation, by epoch; the epoch whose weights were kept is marked.

    ``history`` has the columns member, epoch, loss, val_loss, accuracy, val_accuracy and kept. Of several members the
    first one's lines are bold. The epochs from ``overfits_from`` on are shaded.
    """
    figure, panels = canvas(10, 4, columns=2)
    members = [rows for _, rows in history.groupby("member")]
    for axes, name in zip(panels, ("loss", "accuracy"), strict=True):
        if overfits_from:
            words = f"overfits from epoch {overfits_from}"
            axes.axvspan(overfits_from - 0.5, history["epoch"].max() + 0.5, color="#fff1e6", zorder=0, label=words)
        for number, rows in enumerate(members):
            _learning(axes, rows, name, first=number == 0)
        axes.set_title(name.capitalize(), loc="left")
        _by_epoch(axes, int(history["epoch"].max()))
    _losses(panels[0])
    panels[1].yaxis.set_major_formatter(_percent)
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=4, frameon=False, fontsize=11
    )
    return figure


def _learning(axes: Axes, rows: pd.DataFrame, name: str, first: bool) -> None:
    """One network's curves of ``name``; only the first one's are in the legend and drawn boldly."""
    kept = rows[rows["kept"]].iloc[0]
    bold: dict[str, Any] = {"linewidth": 2, "marker": "o", "markersize": 4}
    line = bold if first else {"linewidth": 1, "alpha": 0.6}
    labels = ("train", "validation", f"kept: epoch {kept['epoch']:.0f}") if first else (None, None, None)
    axes.plot(rows["epoch"], rows[name], color=FADED, label=labels[0], **line)
    axes.plot(rows["epoch"], rows[f"val_{name}"], color=BLUE, label=labels[1], **line)
    size = 9 if first else 5
    axes.plot(kept["epoch"], kept[f"val_{name}"], "o", color=ORANGE, markersize=size, label=labels[2])


def _by_epoch(axes: Axes, epochs: int) -> None:
    """Epochs along x, as whole numbers."""
    from matplotlib.ticker import FixedLocator, MaxNLocator

    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(FixedLocator([1]) if epochs == 1 else MaxNLocator(integer=True))


def _losses(axes: Axes) -> None:
    """Losses along y, as logarithms; several are named, whether they span a tenth or a thousandfold."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    wide = high > 10 * low
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if wide else MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(lambda loss, _place: f"{loss:g}")
    axes.yaxis.set_minor_locator(NullLocator())


def confusion_matrix(matrix: np.ndarray, form: Form = DIGITS) -> Figure:
    """Counts of true class (row) and predicted class (column); the diagonal is faded so that the errors are seen."""
    chosen = hardest(matrix)
    every, matrix = matrix, matrix[np.ix_(chosen, chosen)]
    classes = len(matrix)
    side = 7.2 if classes <= ROOMY else 10
    figure, (axes,) = canvas(side, side)
    errors = matrix * (1 - np.eye(classes, dtype=int))
    shade = np.ma.masked_equal(np.sqrt(errors), 0)
    axes.imshow(shade, cmap="Oranges", vmin=0, vmax=1.7 * np.sqrt(max(1, errors.max())))  # light enough for dark digits
    longest = len(f"{matrix.max():,}")
    size = min(13, 72 * 0.85 * side / classes / (0.65 * longest))  # points: what fits a cell
    for true, predicted in zip(*np.nonzero(matrix), strict=True):
        colour = FADED if true == predicted else INK
        count = f"{matrix[true, predicted]:,}"
        axes.text(predicted, true, count, ha="center", va="center", color=colour, fontsize=size)
    class_axes(axes, np.arange(classes), [form.classes[at] for at in chosen])
    wrong, other = every.sum() - np.trace(every), "digit" if form.of_digits else "class"
    title = f"{wrong:,} of {every.sum():,} images taken for another {other}"
    axes.set_title(
        f"{title}; the {classes} hardest of {len(every)}" if classes < len(every) else title, loc="left", pad=12
    )
    return figure


def hardest(matrix: np.ndarray) -> np.ndarray:
    """The classes that a picture shows, in their order."""
    wrong = matrix.sum(axis=0) + matrix.sum(axis=1) - 2 * matrix.diagonal()
    return np.sort(np.argsort(-wrong, kind="stable")[:MATRIX])


def per_class(table: pd.DataFrame) -> Figure:
    """Recall and precision of each class as dots on one line, from :func:`pipeline.learning.evaluation.per_class`."""
    table = table.sort_values("recall", kind="stable").head(MOST).sort_index()
    figure, (axes,) = canvas(6.8, max(5, 0.25 * len(table) + 1))
    scores, rows = table[["recall", "precision"]], np.arange(len(table))
    axes.hlines(rows, scores.min(axis=1), scores.max(axis=1), color=GRID, linewidth=3)
    axes.plot(table["recall"], rows, "o", color=BLUE, markersize=10, label="recall: of this class, found")
    hollow: dict[str, Any] = {"color": ORANGE, "markerfacecolor": "none", "markeredgewidth": 2, "markersize": 9}
    axes.plot(table["precision"], rows, "D", **hollow, label="precision: of these answers, right")
    axes.set_yticks(rows, [short(str(name)) for name in table["digit"]])
    _shares_up_to_one(axes, scores.to_numpy().min())
    figure.legend(frameon=False, loc="outside upper center", ncols=2, fontsize=11)  # whatever room the names take
    return figure


def reliability(table: pd.DataFrame, error: float) -> Figure:
    """Accuracy against confidence, a dot a bin, below, images a bin."""
    figure, (axes, below) = canvas(6.4, 7.2, rows=2, height_ratios=(4, 1))
    axes.plot([0, 1], [0, 1], color=FADED, linewidth=1.5, linestyle="--", label="as right as it says")
    axes.vlines(table["confidence"], table["confidence"], table["accuracy"], color=ORANGE, linewidth=2)
    area = 20 + 40 * np.log10(table["n"])  # a bin of few images is mostly noise, and should look it
    axes.scatter(
        table["confidence"], table["accuracy"], area, color=BLUE, zorder=3, label="a bin (larger: more images)"
    )
    axes.set_title(f"Expected calibration error: {100 * error:.2f} points", loc="left")
    figure.legend(frameon=False, loc="outside upper center", ncols=2, fontsize=11)  # where no dot is
    axes.set(ylim=(0, 1.04), ylabel="accuracy")
    axes.yaxis.set_major_formatter(_percent)
    below.bar(table["low"], table["n"], table["high"] - table["low"], align="edge", color=BLUE, edgecolor="white")
    below.set(yscale="log", ylim=(0.5, None), xlabel="confidence", ylabel="images")
    below.yaxis.set_major_formatter(lambda count, _place: f"{count:,.0f}")
    for each in (axes, below):
        each.set_xlim(0, 1.04)
        each.xaxis.set_major_formatter(_percent)
    return figure


def slices(table: pd.DataFrame, accuracy: float) -> Figure:
    """Accuracy on each slice with its 95 % interval; the line is the whole's."""
    figure, (axes,) = canvas(6.8, 0.45 * len(table) + 1.2)
    places = np.arange(len(table))
    axes.axvline(accuracy, color=FADED, linestyle="--", linewidth=1.5)
    axes.hlines(places, table["low"], table["high"], color=BLUE, linewidth=2)
    axes.plot(table["accuracy"], places, "o", color=BLUE, markersize=9)
    axes.set_yticks(places, [f"{name} ({n:,})" for name, n in zip(table["slice"], table["n"], strict=True)])
    _shares_up_to_one(axes, min(accuracy, table["low"].min()))
    axes.set_title(f"Accuracy (images); dashed: all of test, {accuracy:.2%}", loc="left")
    return figure


def study(summary: pd.DataFrame, each: pd.DataFrame, losses: list[tuple[str, list[float]]]) -> Figure:
    """Left, a row a setting: its trials as dots, their mean with its 95 % interval. Right, validation loss by epoch.

    ``summary`` and ``each`` as :mod:`pipeline.studies.study` makes them; ``losses`` has each trial's setting and curve.
    """
    from matplotlib import colormaps
    from matplotlib.ticker import MaxNLocator

    figure, (dots, curves) = canvas(12, max(4.2, 0.5 * len(summary) + 1.4), columns=2)
    colours = colormaps["viridis"](np.linspace(0, 0.9, len(summary)))
    for place, (row, colour) in enumerate(zip(summary.to_dict("records"), colours, strict=True)):
        own = each.loc[each["setting"] == row["setting"], "val_accuracy"]
        dots.hlines(place, max(row["low"], 0), min(row["high"], 1), color=colour, linewidth=3, alpha=0.45)
        dots.plot(own, np.full(len(own), place), "o", color=colour, markersize=5, alpha=0.8)
        dots.plot(row["val_accuracy"], place, "|", color=colour, markersize=20, markeredgewidth=2.5)
        for loss in (loss for setting, loss in losses if setting == row["setting"]):
            curves.plot(np.arange(1, len(loss) + 1), loss, color=colour, linewidth=1.5)
    dots.set_yticks(np.arange(len(summary)), summary["setting"])
    dots.invert_yaxis()
    # The trials have the room: the interval of two seeds may go far below no accuracy at all, and ends at the edge.
    lowest, highest = each["val_accuracy"].min(), each["val_accuracy"].max()
    room = max(highest - lowest, 0.001)
    dots.set_xlim(max(lowest - room, 0), min(highest + room, 1 + 0.03 * room))
    dots.xaxis.set_major_formatter(_percent)
    dots.xaxis.set_major_locator(MaxNLocator(5))
    dots.grid(axis="x", color=GRID)
    dots.set_title("Validation accuracy: trials, mean, 95 % interval", loc="left", fontsize=12)
    _losses(curves)
    _by_epoch(curves, max(len(loss) for _, loss in losses))
    curves.set_title("Validation loss, in the same colours", loc="left", fontsize=12)
    return figure


def canvas(
    width: float, height: float, rows: int = 1, columns: int = 1, height_ratios: tuple[int, ...] | None = None
) -> tuple[Figure, list[Axes]]:
    """An empty figure of width × height inches and its axes, plain: no box, quiet ticks."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    panels = list(figure.subplots(rows, columns, squeeze=False, height_ratios=height_ratios).flat)
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(FADED)
        axes.tick_params(labelsize=12, color=FADED, labelcolor=INK)
        axes.xaxis.label.set_size(12)
        axes.yaxis.label.set_size(12)
        axes.set_axisbelow(True)
    return figure, panels


def _percent(share: float, _place: float) -> str:
    return f"{100 * share:.4g}%"


def _shares_up_to_one(axes: Axes, lowest: float) -> None:
    """Rows from top to bottom, shares along x from ``lowest`` to 100 %; from 99 % if all is higher."""
    low = min(lowest, 0.99)
    margin = 0.03 * (1 - low)
    axes.set_xlim(low - margin, 1 + margin)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(_percent)
    axes.grid(axis="x", color=GRID)


def class_axes(axes: Axes, columns: np.ndarray, names: list[str], rows: np.ndarray | None = None) -> None:
    """Label the rows as true and the columns as predicted classes, at their places."""
    size = 14 if len(names) <= 20 else 10
    long = max(map(len, names)) > 2
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=size if not long else min(size, 10))
    axes.set_xticks(columns, [short(name) for name in names], rotation=90 if long else 0)
    axes.set_yticks(columns if rows is None else rows, [short(name) for name in names])
    axes.set(xlabel="predicted", ylabel="true")


def short(name: str) -> str:
    """A class's name as a picture has room for it."""
    name = name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
    return name.replace("$", r"\$")  # which would begin a formula
