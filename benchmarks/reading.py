"""How many pictures of digits are read, with our framing and with two simple ones in front of the same model?

    python -m benchmarks.reading --workspace FOLDER     with the model of a workspace; --count and --seed for others

The pictures are those of tests/photos.py: drawn with a mouse, thin, bold, faint, tiny, coloured, light on dark, and
photographed on ruled paper in uneven light. The peers: resizing the picture to 28×28, and cropping to the box of what
differs from the corner's colour and centring by mass.
"""

import argparse
import json
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from benchmarks.table import show
from pipeline.base.errors import BadInput, one_line
from pipeline.digits import framing
from pipeline.digits.image import SIDE
from pipeline.learning import inference

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
import photos

PHOTOS = 0.1  # share of the pictures


def polarised(content: bytes) -> np.ndarray:
    """Grey levels, light ink on dark paper by the rim: float32 (height, width)."""
    grey = np.asarray(Image.open(BytesIO(content)).convert("L"), np.float32)
    rim = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    return 255 - grey if np.median(rim) > 127 else grey


def resized(content: bytes) -> np.ndarray:
    return cv2.resize(polarised(content), (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.uint8)


def cropped(content: bytes) -> np.ndarray:
    ink = polarised(content)
    ink = np.where(np.abs(ink - np.median(ink)) > 40, ink, 0)
    return framing.to_mnist(ink) if ink.any() else np.zeros((SIDE, SIDE), np.uint8)


def ours(content: bytes) -> np.ndarray:
    try:
        return framing.frame(BytesIO(content), "a picture")
    except BadInput:
        return np.zeros((SIDE, SIDE), np.uint8)  # refused counts as wrong: there is one digit on each


FRAMINGS: dict[str, Callable[[bytes], np.ndarray]] = {"resizing": resized, "crop and centre": cropped, "framing": ours}


def pictures(count: int, seed: int) -> dict[str, list[tuple[int, bytes]]]:
    """``count`` pictures, a tenth photos and the rest of the other kinds alike."""
    kinds = [kind for kind in photos.KINDS if kind != "photo"]
    of_photos = round(PHOTOS * count)
    each = -(-(count - of_photos) // len(kinds))
    found = {kind: photos.pictures(kind, each, seed) for kind in kinds}
    return {**found, "photo": photos.pictures("photo", of_photos, seed)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "--workspace", type=Path, default=Path(), metavar="FOLDER", help="whose models/model.onnx reads"
    )
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print the shares as JSON")
    arguments = parser.parse_args()
    model = inference.open_model(arguments.workspace / "models/model.onnx")
    right: dict[str, dict[str, np.ndarray]] = {}
    for kind, drawn in pictures(arguments.count, arguments.seed).items():
        labels = np.array([digit for digit, _ in drawn])
        right[kind] = {
            name: inference.run(model, np.stack([frame(content) for _, content in drawn])).argmax(axis=1) == labels
            for name, frame in FRAMINGS.items()
        }
    right["all"] = {name: np.concatenate([row[name] for row in right.values()]) for name in FRAMINGS}
    if arguments.json:
        print(json.dumps({kind: {name: float(r.mean()) for name, r in row.items()} for kind, row in right.items()}))
        return
    rows = [
        [kind, str(len(row["framing"])), *(f"{row[name].mean():.1%}" for name in FRAMINGS)]
        for kind, row in right.items()
    ]
    show(["pictures", "count", *FRAMINGS], *rows)


if __name__ == "__main__":
    with one_line():
        main()
