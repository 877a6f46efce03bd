"""What does the model get wrong, in the images themselves?

Each function draws one picture from images and a table, and returns a matplotlib ``Figure`` for
:func:`pipeline.reporting.figures.save`. A grid of images is one mosaic array, not axes for each: that is what keeps
matplotlib fast. Images are uint8 (N, height, width), of digits 0 = paper and 255 = ink, and are drawn as ink on white
paper; those of other kinds, in grey or (N, height, width, 3) in colour, as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.base.form import DIGITS, Form
from pipeline.base.stored import Images
from pipeline.base.words import counted
from pipeline.reporting import figures

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER, GREEN_PAPER, ORANGE_PAPER = np.array([[244, 245, 247], [223, 243, 228], [255, 190, 140]])  # RGB
PAIRS, PAIR_IMAGES = 8, 6  # how many pairs of confused digits are shown, and how many images of each
RIM = 3  # pixels around an image in a mosaic


def confusion_images(images: Images, labels: np.ndarray, probabilities: np.ndarray, form: Form = DIGITS) -> Figure:
    """The confusion matrix made of images: each cell shows the most confident image with that outcome.

    The number in a cell's corner is how many images had that outcome, where there is room for it; a cell of no image is
    blank.
    """
    labels, predicted, confidence = np.asarray(labels), probabilities.argmax(axis=1), probabilities.max(axis=1)
    outcomes = np.zeros((len(form.classes),) * 2, int)
    np.add.at(outcomes, (labels, predicted), 1)
    chosen = figures.hardest(outcomes)
    classes, place = len(chosen), np.full(len(form.classes), -1)
    place[chosen] = np.arange(classes)
    there = np.flatnonzero((place[labels] >= 0) & (place[predicted] >= 0))
    outcome = place[labels[there]] * classes + place[predicted[there]]
    counts = np.bincount(outcome, minlength=classes**2)
    ranked = np.argsort(-confidence[there], kind="stable")
    cells, first = np.unique(outcome[ranked], return_index=True)
    shown = np.zeros((classes**2, *images.shape[1:]), np.uint8)
    shown[cells] = images[there[ranked[first]]]

    side = 9 if classes <= figures.ROOMY else 10
    figure, (axes,) = figures.canvas(side, side)
    paper = _paper_of_outcomes(counts.reshape(classes, classes))
    axes.imshow(_mosaic(shown, paper, classes, drawn=counts > 0, inked=form.inked), interpolation="bilinear")
    height, width = _cell(images)
    for cell in cells if classes <= figures.ROOMY else ():
        row, column = divmod(int(cell), classes)
        corner = (column + 1) * width - 2.5, row * height + 2.5
        behind = None if form.inked else {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
        axes.text(*corner, f"{counts[cell]:,}", ha="right", va="top", fontsize=10, color=figures.INK, bbox=behind)
    middles = np.arange(classes)[:, None] * (width, height) + np.array([width, height]) / 2 - 0.5
    figures.class_axes(axes, middles[:, 0], [form.classes[at] for at in chosen], middles[:, 1])
    title, counted_too = "The most confident image of every outcome", ", and how many there are"
    hidden = f"; the {classes} hardest of {len(form.classes)} classes" if classes < len(form.classes) else ""
    axes.set_title(title + (counted_too if classes <= figures.ROOMY else "") + hidden, loc="left", pad=12)
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
        f"{figures.short(str(true))} → {figures.short(str(predicted))}\n{confidence:.1%}"
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
    figure, (bars, gallery) = figures.canvas(10, 0.62 * len(ranked) + 1.1, columns=2)
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
    axes.barh(places, forth, color=figures.BLUE, height=0.62)
    axes.barh(places, total - forth, left=forth, color="#a9c4f7", height=0.62)
    axes.set_yticks(places, [f"{figures.short(str(low))} and {figures.short(str(high))}" for (low, high), _ in pairs])
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
        f"labelled {figures.short(str(label))}\nrather {figures.short(str(other))}?"
        for label, other in zip(rows["label"], rows["suggested"], strict=True)
    ]
    of = f"{len(rows)} of " if len(rows) < len(table) else ""
    title = f"{of}{counted(len(table), 'image')} whose label may be wrong"
    return _gallery(images[rows["index"].to_numpy()], captions, title, "No suspected labels", inked)


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
    figure, columns = figures.canvas(13, 0.5 * half + 0.2, columns=2)
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


def _gallery(images: np.ndarray, captions: list[str], title: str, nothing: str, inked: bool = True) -> Figure:
    """Images with a caption of two lines below each, ten a row; the words ``nothing`` if there are none."""
    columns, (high, wide) = 10, _cell(images)
    caption = round(0.45 * wide)  # of two lines
    if not len(images):
        figure, (axes,) = figures.canvas(12, 1.2)
        axes.set_axis_off()
        axes.text(0.5, 0.5, nothing, ha="center", va="center", fontsize=16, color=figures.FADED)
        return figure
    paper = np.full((len(images), 3), PAPER)
    mosaic = _mosaic(images, paper, columns, caption, inked=inked)
    figure, (axes,) = figures.canvas(12, 12 * len(mosaic) / mosaic.shape[1] + 0.25)
    axes.imshow(mosaic, interpolation="bilinear")
    axes.set_axis_off()
    longest = max(len(line) for text in captions for line in text.split("\n"))
    size = min(12, max(5, 120 / longest))  # points: what fits the cell's 1.2 inches
    for place, text in enumerate(captions):
        row, column = divmod(place, columns)
        at = column * wide + wide / 2 - 0.5, row * (high + caption) + high
        axes.text(*at, text, ha="center", va="top", fontsize=size, color=figures.INK, linespacing=1.1)
    axes.set_title(title, loc="left", fontsize=13)
    return figure


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


def _cell(images: Images) -> tuple[int, int]:
    """Height and width of an image's cell in a mosaic."""
    return images.shape[1] + 2 * RIM, images.shape[2] + 2 * RIM
