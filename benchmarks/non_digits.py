"""Is what is no digit said to be none? Letters and signs of fonts, which no training has seen, in front of a model.

    python -m benchmarks.non_digits [--workspace FOLDER] [--seed N] [--json]

The glyphs are those of the fonts that come with matplotlib, slanted, stretched and made bolder. Beside the model's
certainty stands what any classifier has, the probability of its likeliest digit (Hendrycks and Gimpel 2017, "A Baseline
for Detecting Misclassified and Out-of-Distribution Examples in Neural Networks"), refusing as many of the workspace's
test digits. What a glyph could be as a digit is left out, as in training.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from sklearn.metrics import roc_auc_score

from benchmarks.table import show
from pipeline.base import places
from pipeline.base.errors import one_line
from pipeline.data import splits
from pipeline.digits import framing
from pipeline.learning import inference

FAMILIES = ("DejaVu", "STIXGeneral", "cmr10", "cmb10", "cmss10", "cmtt10")
GLYPHS = "+-=×÷.xyz%#@&?*<>AEFHKMNRVWXYacdefhkmnprtuvw"
EACH = 40  # pictures of a glyph
SIDE = 300  # pixels of a picture


def fonts() -> list[str]:
    from matplotlib import font_manager

    return sorted(font.fname for font in font_manager.fontManager.ttflist if font.name.startswith(FAMILIES))


def pictures(glyph: str, files: list[str], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The glyph in many fonts, white on black, in MNIST's framing: uint8 (28, 28)."""
    while True:
        font = ImageFont.truetype(files[rng.integers(len(files))], int(rng.integers(60, 140)))
        page = Image.new("L", (SIDE, SIDE))
        ImageDraw.Draw(page).text((SIDE / 2, SIDE / 2), glyph, fill=255, font=font, anchor="mm")
        bend = np.array([[rng.uniform(0.8, 1.2), rng.uniform(-0.25, 0.35), 0], [rng.normal(0, 0.08), 1, 0]])
        bend[:, 2] = SIDE / 2 * (1 - bend[:, :2].sum(axis=1))
        drawn = cv2.warpAffine(np.asarray(page), bend, (SIDE, SIDE))
        if rng.random() < 0.4:
            pen = int(rng.integers(2, 9))
            drawn = cv2.dilate(drawn, np.ones((pen, pen), np.uint8))
        if drawn.any():
            yield framing.to_mnist(drawn.astype(np.float32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--workspace", type=Path, default=Path(), metavar="FOLDER", help="whose model and test split")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rng, files = np.random.default_rng(arguments.seed), fonts()
    model = inference.open_model(arguments.workspace / places.ONNX)
    test = inference.answers(model, splits.load(arguments.workspace / places.PROCESSED / "test").images)
    glyphs = {}
    for glyph in GLYPHS:
        drawn = pictures(glyph, files, rng)
        glyphs[glyph] = inference.answers(model, np.stack([next(drawn) for _ in range(EACH)]))
    refused = float((test.certainty < inference.CERTAIN).mean())
    limit = np.quantile(test.probabilities.max(axis=1), refused)
    rates = {glyph: float((found.certainty < inference.CERTAIN).mean()) for glyph, found in glyphs.items()}
    baseline = np.concatenate([found.probabilities.max(axis=1) for found in glyphs.values()])
    certainty = np.concatenate([found.certainty for found in glyphs.values()])
    is_digit = np.r_[np.ones(len(test.certainty)), np.zeros(len(certainty))]
    found = {
        "digits refused": refused,
        "glyphs refused": float(np.mean(list(rates.values()))),
        "AUROC": float(roc_auc_score(is_digit, np.r_[test.certainty, certainty])),
        "glyphs refused by the likeliest digit's probability": float((baseline < limit).mean()),
        "its AUROC": float(roc_auc_score(is_digit, np.r_[test.probabilities.max(axis=1), baseline])),
    }
    if arguments.json:
        print(json.dumps({**found, "by glyph": rates}))
        return
    show(["", "share"], *([name, f"{share:.2%}"] for name, share in found.items()))
    print("least refused: " + ", ".join(f"{g} {rates[g]:.0%}" for g in sorted(rates, key=rates.__getitem__)[:6]))


if __name__ == "__main__":
    with one_line():
        main()
