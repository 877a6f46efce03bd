"""What does the model get wrong, in pictures?

Each function draws one picture from plain arrays or tables and returns a matplotlib ``Figure``; :func:`save` writes it,
the same bytes for the same input. A grid of digits is one mosaic array, not an axes a digit: that is what keeps
matplotlib fast. Images are uint8 (N, height, width), of digits 0 = paper and 255 = ink, and are drawn as ink on white
paper; those of other kinds, in grey or (N, height, width, 3) in colour, as they are.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from pipeline.base import files
from pipeline.base.form import DIGITS, Form
from pipeline.base.stored import Images
from pipeline.base.words import counted

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#1f2933"
FADED = "#8a94a0"
GRID = "#e4e7eb"
BLUE = "#2563eb"
ORANGE = "#e8590c"
PAPER, GREEN_PAPER, ORANGE_PAPER = np.array([[244, 245, 247], [223, 243, 228], [255, 190, 140]])  # RGB

PAIRS, PAIR_IMAGES = 8, 6  # how many pairs of confused digits are shown, and how many images of each

DPI = 130
RIM = 3  # pixels around an image in a mosaic
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
    chosen = _hardest(matrix)
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
    _class_axes(axes, np.arange(classes), [form.classes[at] for at in chosen])
    wrong, other = every.sum() - np.trace(every), "digit" if form.of_digits else "class"
    title = f"{wrong:,} of {every.sum():,} images taken for another {other}"
    axes.set_title(
        f"{title}; the {classes} hardest of {len(every)}" if classes < len(every) else title, loc="left", pad=12
    )
    return figure


def _hardest(matrix: np.ndarray) -> np.ndarray:
    """The classes that a picture shows, in their order."""
    wrong = matrix.sum(axis=0) + matrix.sum(axis=1) - 2 * matrix.diagonal()
    return np.sort(np.argsort(-wrong, kind="stable")[:MATRIX])


def confusion_images(images: Images, labels: np.ndarray, probabilities: np.ndarray, form: Form = DIGITS) -> Figure:
    """The confusion matrix made of images: each cell shows the most confident image with that outcome.

    The number in a cell's corner is how many images had that outcome, where there is room for it; a cell of no image is
    blank.
    """
    labels, predicted, confidence = np.asarray(labels), probabilities.argmax(axis=1), probabilities.max(axis=1)
    outcomes = np.zeros((len(form.classes),) * 2, int)
    np.add.at(outcomes, (labels, predicted), 1)
    chosen = _hardest(outcomes)
    classes, place = len(chosen), np.full(len(form.classes), -1)
    place[chosen] = np.arange(classes)
    there = np.flatnonzero((place[labels] >= 0) & (place[predicted] >= 0))
    outcome = place[labels[there]] * classes + place[predicted[there]]
    counts = np.bincount(outcome, minlength=classes**2)
    ranked = np.argsort(-confidence[there], kind="stable")
    cells, first = np.unique(outcome[ranked], return_index=True)
    shown = np.zeros((classes**2, *images.shape[1:]), np.uint8)
    shown[cells] = images[there[ranked[first]]]

    side = 9 if classes <= ROOMY else 10
    figure, (axes,) = canvas(side, side)
    paper = _paper_of_outcomes(counts.reshape(classes, classes))
    axes.imshow(_mosaic(shown, paper, classes, drawn=counts > 0, inked=form.inked), interpolation="bilinear")
    height, width = _cell(images)
    for cell in cells if classes <= ROOMY else ():
        row, column = divmod(int(cell), classes)
        corner = (column + 1) * width - 2.5, row * height + 2.5
        behind = None if form.inked else {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
        axes.text(*corner, f"{counts[cell]:,}", ha="right", va="top", fontsize=10, color=INK, bbox=behind)
    middles = np.arange(classes)[:, None] * (width, height) + np.array([width, height]) / 2 - 0.5
    _class_axes(axes, middles[:, 0], [form.classes[at] for at in chosen], middles[:, 1])
    title = "The most confident image of every outcome" + (", and how many there are" if classes <= ROOMY else "")
    hidden = f"; the {classes} hardest of {len(form.classes)} classes" if classes < len(form.classes) else ""
    axes.set_title(title + hidden, loc="left", pad=12)
    return figure


def _paper_of_outcomes(counts: np.ndarray) -> np.ndarray:
    """The RGB colour (classes², 3) of each cell of a confusion matrix: green where right, orange where wrong, the
    stronger the more there are, white where there are none."""
    wrong = counts * (1 - np.eye(len(counts), dtype=int))
    strength = np.sqrt(wrong / max(1, wrong.max()))[..., None]
    paper = np.where(wrong[..., None], 255 - (255 - ORANGE_PAPER) * (0.25 + 0.75 * strength), 255.0)
    right = np.diag(counts.diagonal() > 0)
    paper[right] = GREEN_PAPER
    return paper.reshape(-1, 3)


def mistakes(images: Images, table: pd.DataFrame, count: int, inked: bool = True) -> Figure:
    """A gallery of the first ``count`` rows of :func:`pipeline.learning.evaluation.mistakes`."""
    rows = table.head(count)
    captions = [
        f"{_short(str(true))} → {_short(str(predicted))}\n{confidence:.1%}"
        for true, predicted, confidence in zip(rows["true"], rows["predicted"], rows["confidence"], strict=True)
    ]
    some = f"The {len(rows)} most confident of {len(table):,} mistakes"
    every = "The only mistake" if len(table) == 1 else f"All {len(table)} mistakes, the most confident first"
    title = f"{some if len(rows) < len(table) else every}: label → prediction, confidence"
    return _gallery(images[rows["index"].to_numpy()], captions, title, "No mistakes", inked)


def confused_pairs(images: Images, table: pd.DataFrame, inked: bool = True) -> Figure:
    """The pairs of classes that are most often taken for one another, and the most confident mistakes of each pair.

    ``table`` is that of the evaluation. A bar's dark part is the first class taken for the second, its light part the
    other way round.
    """
    ordered = [sorted(pair) for pair in zip(table["true"], table["predicted"], strict=True)]
    pairs = table.assign(low=[low for low, _ in ordered], high=[high for _, high in ordered])
    ranked = [(pair, rows) for pair, rows in pairs.groupby(["low", "high"])]
    ranked = sorted(ranked, key=lambda item: (-len(item[1]), item[0]))[:PAIRS]
    if not ranked:
        return _gallery(images[:0], [], "", "No mistakes")
    figure, (bars, gallery) = canvas(10, 0.62 * len(ranked) + 1.1, columns=2)
    _pair_bars(bars, ranked)
    _pair_images(gallery, ranked, images, inked)
    return figure


Pairs = list[tuple[Any, "pd.DataFrame"]]  # two classes, and the mistakes between them


def _pair_bars(axes: Axes, pairs: Pairs) -> None:
    """How many mistakes a pair has, and which way they go."""
    from matplotlib.ticker import MaxNLocator

    places = np.arange(len(pairs))
    forth = np.array([(rows["true"] == low).sum() for (low, _), rows in pairs])
    total = np.array([len(rows) for _, rows in pairs])
    axes.barh(places, forth, color=BLUE, height=0.62)
    axes.barh(places, total - forth, left=forth, color="#a9c4f7", height=0.62)
    axes.set_yticks(places, [f"{_short(str(low))} and {_short(str(high))}" for (low, high), _ in pairs])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.invert_yaxis()
    axes.set_title("Mistakes; dark: the first taken for the second", loc="left", fontsize=12)


def _pair_images(axes: Axes, pairs: Pairs, images: Images, inked: bool) -> None:
    """A row of the most confident mistakes beside each pair's bar."""
    shown = np.zeros((len(pairs), PAIR_IMAGES, *images.shape[1:]), np.uint8)
    drawn = np.zeros((len(pairs), PAIR_IMAGES), bool)
    for row, (_, rows) in enumerate(pairs):
        chosen = images[rows["index"].to_numpy()[:PAIR_IMAGES]]
        shown[row, : len(chosen)] = chosen
        drawn[row, : len(chosen)] = True
    paper = np.where(drawn.reshape(-1, 1), PAPER, 255.0)
    flat = shown.reshape(-1, *images.shape[1:])
    mosaic = _mosaic(flat, paper, PAIR_IMAGES, drawn=drawn.ravel(), inked=inked)
    axes.imshow(mosaic, interpolation="bilinear", aspect="auto")
    axes.set_axis_off()
    axes.set_title("The most confident of them", loc="left", fontsize=12)


def suspected_labels(images: Images, table: pd.DataFrame, count: int, inked: bool = True) -> Figure:
    """A gallery of the first ``count`` rows of :func:`pipeline.data.suspected_labels.find`."""
    rows = table.head(count)
    captions = [
        f"labelled {_short(str(label))}\nrather {_short(str(other))}?"
        for label, other in zip(rows["label"], rows["suggested"], strict=True)
    ]
    of = f"{len(rows)} of " if len(rows) < len(table) else ""
    title = f"{of}{counted(len(table), 'image')} whose label may be wrong"
    return _gallery(images[rows["index"].to_numpy()], captions, title, "No suspected labels", inked)


def per_class(table: pd.DataFrame) -> Figure:
    """Recall and precision of each class as dots on one line, from :func:`pipeline.learning.evaluation.per_class`."""
    table = table.sort_values("recall", kind="stable").head(MOST).sort_index()
    figure, (axes,) = canvas(6.8, max(5, 0.25 * len(table) + 1))
    scores, rows = table[["recall", "precision"]], np.arange(len(table))
    axes.hlines(rows, scores.min(axis=1), scores.max(axis=1), color=GRID, linewidth=3)
    axes.plot(table["recall"], rows, "o", color=BLUE, markersize=10, label="recall: of this class, found")
    hollow: dict[str, Any] = {"color": ORANGE, "markerfacecolor": "none", "markeredgewidth": 2, "markersize": 9}
    axes.plot(table["precision"], rows, "D", **hollow, label="precision: of these answers, right")
    axes.set_yticks(rows, [_short(str(name)) for name in table["digit"]])
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


def robustness(examples: dict[str, np.ndarray], table: pd.DataFrame, inked: bool = True) -> Figure:
    """A row of images, uint8 (n, *shape), for each corruption, with the accuracy beside it, the worst first."""
    return _sheets(examples, dict(zip(table["corruption"], table["accuracy"], strict=True)), inked)


def refusal(examples: dict[str, np.ndarray], table: pd.DataFrame) -> Figure:
    """A row of images, uint8 (n, 28, 28), for each kind of non-digit, with the share that is refused beside it."""
    return _sheets(examples, dict(zip(table["kind"], table["refused"], strict=True)), inked=True)


def _sheets(examples: dict[str, np.ndarray], shares: dict[str, float], inked: bool) -> Figure:
    """Rows of images, named with their shares, in two columns."""
    names = list(shares)
    half = (len(names) + 1) // 2
    figure, columns = canvas(13, 0.5 * half + 0.2, columns=2)
    for axes, rows in zip(columns, (names[:half], names[half:]), strict=True):
        sheet = np.concatenate([np.concatenate([*examples[name]], axis=1) for name in rows])
        row = len(sheet) // len(rows)
        blank = [(0, (half - len(rows)) * row), *[(0, 0)] * (sheet.ndim - 1)]  # so that both columns begin at the top
        sheet = np.pad(sheet, blank, constant_values=0 if inked else 255)
        axes.imshow(255 - sheet if inked else sheet, cmap="gray", vmin=0, vmax=255)
        middles = row * (np.arange(len(rows)) + 0.5)
        axes.set_yticks(middles, [f"{name.replace('_', ' ')}  {shares[name]:.1%}" for name in rows])
        axes.set_xticks([])
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
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


def _class_axes(axes: Axes, columns: np.ndarray, names: list[str], rows: np.ndarray | None = None) -> None:
    """Label the rows as true and the columns as predicted classes, at their places."""
    size = 14 if len(names) <= 20 else 10
    long = max(map(len, names)) > 2
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=size if not long else min(size, 10))
    axes.set_xticks(columns, [_short(name) for name in names], rotation=90 if long else 0)
    axes.set_yticks(columns if rows is None else rows, [_short(name) for name in names])
    axes.set(xlabel="predicted", ylabel="true")


def _short(name: str) -> str:
    """A class's name as a picture has room for it."""
    name = name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
    return name.replace("$", r"\$")  # which would begin a formula


def _cell(images: Images) -> tuple[int, int]:
    """Height and width of an image's cell in a mosaic."""
    return images.shape[1] + 2 * RIM, images.shape[2] + 2 * RIM


def _mosaic(
    images: np.ndarray,
    paper: np.ndarray,
    columns: int,
    caption: int = 0,
    drawn: np.ndarray | None = None,
    inked: bool = True,
) -> np.ndarray:
    """Images (N, *shape) on paper of the RGB colours (N, 3), ``columns`` a row: float RGB (H, W, 3) in 0–1.

    They are drawn as ink, or, if not ``inked``, as they are, those of them that are ``drawn`` (all, if not said). A
    cell is its image's height and rim high, and ``caption``, whose part is white.
    """
    high, wide = _cell(images)
    rows, rim = -(-len(images) // columns), ((0, 0), (RIM, RIM), (RIM, RIM))
    if inked:
        ink = np.pad(images / 255, rim)[..., None]
        cells = paper[:, None, None, :] / 255 * (1 - ink) + 0.1 * ink
    else:
        cells = np.broadcast_to(paper[:, None, None, :] / 255, (len(images), high, wide, 3)).copy()
        shown = slice(None) if drawn is None else drawn
        coloured = images if images.ndim == 4 else np.repeat(images[..., None], 3, axis=3)
        cells[shown, RIM:-RIM, RIM:-RIM] = coloured[shown] / 255
    cells[:, -1:] = cells[:, :, -1:] = 1  # a white line between cells
    blank = rows * columns - len(images)
    cells = np.pad(cells, ((0, blank), (0, caption), (0, 0), (0, 0)), constant_values=1)
    high += caption
    return cells.reshape(rows, columns, high, wide, 3).swapaxes(1, 2).reshape(rows * high, columns * wide, 3)


def _gallery(images: np.ndarray, captions: list[str], title: str, nothing: str, inked: bool = True) -> Figure:
    """Images with a caption of two lines below each, ten a row; the words ``nothing`` if there are none."""
    columns, (high, wide) = 10, _cell(images)
    caption = round(0.45 * wide)  # of two lines
    if not len(images):
        figure, (axes,) = canvas(12, 1.2)
        axes.set_axis_off()
        axes.text(0.5, 0.5, nothing, ha="center", va="center", fontsize=16, color=FADED)
        return figure
    paper = np.full((len(images), 3), PAPER)
    mosaic = _mosaic(images, paper, columns, caption, inked=inked)
    figure, (axes,) = canvas(12, 12 * len(mosaic) / mosaic.shape[1] + 0.25)
    axes.imshow(mosaic, interpolation="bilinear")
    axes.set_axis_off()
    longest = max(len(line) for text in captions for line in text.split("\n"))
    size = min(12, max(5, 120 / longest))  # points: what fits the cell's 1.2 inches
    for place, text in enumerate(captions):
        row, column = divmod(place, columns)
        at = column * wide + wide / 2 - 0.5, row * (high + caption) + high
        axes.text(*at, text, ha="center", va="top", fontsize=size, color=INK, linespacing=1.1)
    axes.set_title(title, loc="left", fontsize=13)
    return figure
