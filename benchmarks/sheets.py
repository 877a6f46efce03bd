"""How many digits of a sheet are found, read and put in order? Beside plain thresholding in front of the same model.

    python -m benchmarks.sheets --pictures FOLDER --model FILE.onnx

The digits are other people's pictures, named LABEL-HAND-anything as for benchmarks.reading, one hand a sheet. A sheet
has 1 to 5 rows of 2 to 8, turned by up to 3 degrees, under uneven light, with grain, half of them on ruled paper; a
house number has 2 to 5 digits in one row. The peer: Otsu's threshold, connected components, each cropped and centred as
MNIST's are, in rows by the height of their middles. A digit counts as right where the box that holds its middle is read
as it.
"""

import argparse
import io
import json
import re
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageOps

from benchmarks.table import show
from pipeline.base import pictures
from pipeline.base.errors import BadInput, one_line
from pipeline.digits import framing, sheet
from pipeline.digits.sheet import Found
from pipeline.learning import inference

NAMED = re.compile(r"(?P<label>\d)-(?P<hand>[^-]+)-")
INKED = 0.2  # of the darkest
CELL = (90, 120)  # pixels of a digit's cell, the least and the most


class Sheet(NamedTuple):
    picture: np.ndarray
    """uint8 (height, width, 3)"""
    digits: list[tuple[int, float, float]]
    """label and the middle's x and y, in reading order"""


def grey(path: Path) -> np.ndarray:
    """A picture's ink in shares, 0 = paper and 1 = the darkest: float32; light ink on dark paper is turned."""
    with Image.open(path) as image:
        turned = ImageOps.exif_transpose(image).convert("RGBA")
        white = Image.new("RGBA", turned.size, "white")
        levels = np.asarray(Image.alpha_composite(white, turned).convert("L"), np.float32)
    paper = float(np.median(_rim(levels)))
    ink = (paper - levels) if paper > levels.mean() else (levels - paper)
    ink = ink.clip(0.15 * ink.max(), None) - 0.15 * ink.max()
    return ink / max(float(ink.max()), 1.0)


def _rim(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])


def compose(inks: list[tuple[int, np.ndarray]], rows: list[int], rng: np.random.Generator) -> Sheet:
    """A sheet with so many digits in each row."""
    cell = int(rng.integers(*CELL))
    height, width = cell * (len(rows) + 1), cell * (max(rows) + 1)
    ink, places = np.zeros((height, width), np.float32), []
    for row, count in enumerate(rows):
        for column in range(count):
            label, one = inks[rng.integers(len(inks))]
            x, y, w, h = cv2.boundingRect((one > INKED).astype(np.uint8))
            scale = cell * rng.uniform(0.55, 0.75) / max(w, h, 1)
            small = cv2.resize(one[y : y + h, x : x + w], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            left = int(cell * (column + 1) - small.shape[1] / 2 + rng.uniform(-0.06, 0.06) * cell)
            top = int(cell * (row + 1) - small.shape[0] / 2 + rng.uniform(-0.06, 0.06) * cell)
            part = ink[top : top + small.shape[0], left : left + small.shape[1]]
            np.maximum(part, small[: part.shape[0], : part.shape[1]], out=part)
            places.append((label, left + small.shape[1] / 2, top + small.shape[0] / 2))
    return _photographed(ink, places, cell, rng)


def _photographed(
    ink: np.ndarray, places: list[tuple[int, float, float]], cell: int, rng: np.random.Generator
) -> Sheet:
    height, width = ink.shape
    paper = np.full((height, width, 3), rng.uniform(190, 245, 3), np.float32)
    if rng.random() < 0.5:
        for y in range(cell // 2, height, cell):
            cv2.line(paper, (0, y), (width, y), tuple(map(float, paper[0, 0] * 0.75)), 2)
    turned = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-3, 3), 1)
    ink = cv2.warpAffine(ink, turned, (width, height))
    y, x = np.mgrid[:height, :width].astype(np.float32)
    light = 1 - rng.uniform(0, 0.35) * (x / width * rng.uniform(-1, 1) + y / height * rng.uniform(-1, 1) + 1) / 2
    pen = rng.uniform(0, 70, 3)
    picture = (paper * (1 - ink[..., None]) + pen * ink[..., None]) * light[..., None]
    picture += rng.normal(0, rng.uniform(0, 6), (height, width, 1))
    middles = [(label, *(turned @ [across, down, 1])) for label, across, down in places]
    return Sheet(picture.clip(0, 255).astype(np.uint8), [(label, float(x), float(y)) for label, x, y in middles])


def ours(content: bytes) -> list[Found]:
    try:
        return sheet.frame(io.BytesIO(content), "a sheet")
    except BadInput:
        return []


def peer(content: bytes) -> list[Found]:
    """Otsu, connected components, crop and centre."""
    levels = np.asarray(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE))
    _, mask = cv2.threshold(np.asarray(255 - levels), 0, 255, cv2.THRESH_OTSU)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    tall = stats[1:, cv2.CC_STAT_HEIGHT].max(initial=0)
    found = [
        Found(
            (int(x), int(y), int(w), int(h)),
            framing.to_mnist(mask[y : y + h, x : x + w] * (labels[y : y + h, x : x + w] == at)),
        )
        for at, (x, y, w, h) in enumerate(stats[:, :4])
        if at and h >= 0.3 * tall
    ]
    return sorted(found, key=lambda one: (round((one.box[1] + one.box[3] / 2) / max(tall, 1)), one.box[0]))


def judge(sheets: list[Sheet], find: Any, model: Any) -> dict[str, float]:
    right = total = false = whole = 0
    began = time.perf_counter()
    for one in sheets:
        found = find(cv2.imencode(".png", one.picture[..., ::-1])[1].tobytes())
        said: list[int | None] = []
        if found:
            answers = inference.answers(model, np.stack([each.image for each in found]))
            doubted = [inference.doubt(*row) for row in zip(*answers, strict=True)]
            best = answers.probabilities.argmax(axis=1)
            said = [None if doubt else int(digit) for digit, doubt in zip(best, doubted, strict=True)]
        matched = [_holding(found, x, y) for _, x, y in one.digits]
        total += len(one.digits)
        right += sum(
            at is not None and said[at] == label for at, (label, _, _) in zip(matched, one.digits, strict=True)
        )
        false += sum(digit is not None for at, digit in enumerate(said) if at not in matched)
        whole += [digit for digit in said if digit is not None] == [label for label, _, _ in one.digits]
    seconds = (time.perf_counter() - began) / len(sheets)
    return {
        "digits right": right / total,
        "false digits a sheet": false / len(sheets),
        "whole in order": whole / len(sheets),
        "ms a sheet": 1000 * seconds,
    }


def _holding(found: list[Found], x: float, y: float) -> int | None:
    inside = [
        (one.box[2] * one.box[3], at)
        for at, one in enumerate(found)
        if one.box[0] <= x <= one.box[0] + one.box[2] and one.box[1] <= y <= one.box[1] + one.box[3]
    ]
    return min(inside)[1] if inside else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--model", type=Path, default=Path("models/model.onnx"), metavar="FILE")
    parser.add_argument("--count", type=int, default=60, help="of sheets of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    hands: dict[str, list[tuple[int, np.ndarray]]] = defaultdict(list)
    for path in sorted(arguments.pictures.rglob("*")):
        if (named := NAMED.match(path.name)) and path.suffix.lower() in pictures.SUFFIXES:
            ink = grey(path)
            inked = ink > INKED
            if inked.any() and not _rim(inked).any():  # a shadow cannot be cut out
                hands[f"{path.parent.name}/{named['hand']}"].append((int(named["label"]), ink))
    several = [inks for inks in hands.values() if len(inks) >= 5]
    if not several:
        raise BadInput(f"{arguments.pictures} holds no five pictures of a hand named LABEL-HAND-…: name another folder")
    rng = np.random.default_rng(arguments.seed)
    kinds: dict[str, Callable[[], list[int]]] = {
        "sheets": lambda: [int(rng.integers(2, 9))] * int(rng.integers(1, 6)),
        "house numbers": lambda: [int(rng.integers(2, 6))],
    }
    model = inference.open_model(arguments.model)
    rows, figures = [], {}
    for kind, of_rows in kinds.items():
        sheets = [compose(several[rng.integers(len(several))], of_rows(), rng) for _ in range(arguments.count)]
        for name, find in (("ours", ours), ("threshold and components", peer)):
            figures[f"{kind}, {name}"] = found = judge(sheets, find, model)
            rows.append(
                (
                    kind,
                    name,
                    *(f"{found[key]:.1%}" for key in ("digits right", "whole in order")),
                    f"{found['false digits a sheet']:.2f}",
                    f"{found['ms a sheet']:.0f}",
                )
            )
    if arguments.json:
        print(json.dumps(figures, indent=2))
    else:
        show(("what", "by", "digits right", "whole in order", "false digits a sheet", "ms a sheet"), *rows)


if __name__ == "__main__":
    with one_line():
        main()
