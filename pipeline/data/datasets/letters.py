"""Which data set is in colour, has names for classes, and needs no download? Letters, drawn by matplotlib's fonts.

The 26 capitals in the fonts that matplotlib ships, turned, slanted, bent and blurred, in one colour on paper of others:
nobody's handwriting, and no benchmark, but all that a data set of one's own has.
"""

import string
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.base import files
from pipeline.base.form import Form
from pipeline.data.datasets import decoders
from pipeline.data.datasets.decoders import Loaded, Source
from pipeline.data.splits import Split

CLASSES = tuple(string.ascii_uppercase)
EACH = 250  # images of a letter
SIDE = 32  # pixels
FINE = 2  # pixels that are drawn to one of the image
FONTS = ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono", "STIXGeneral", "cmr10", "cmss10", "cmtt10", "cmb10")
LEAST_CONTRAST = 60  # grey levels between a letter and its paper


def load_letters(source: Source) -> Loaded:
    """The same images whenever and wherever the same fonts are."""
    form = Form("plain", (SIDE, SIDE, 3), CLASSES)
    images, labels = draw(EACH, form)
    train, test = decoders.with_test(Split(images, labels), None, source.ingest.test_share, "letters")
    return Loaded("letters", "fonts of matplotlib", train, test, {p.name: files.sha256_file(p) for p in fonts()}, form)


def draw(each: int, form: Form, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """So many images of each class of the form, a character: uint8 (N, *shape), in colour, and uint8 (N,)."""
    labels = np.tile(np.arange(len(form.classes), dtype=np.uint8), each)
    drawn = [
        _draw(form.classes[label], form.shape[0], np.random.default_rng([seed, number]))
        for number, label in enumerate(labels)
    ]
    return np.stack(drawn), labels


def fonts() -> list[Path]:
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts/ttf"
    return [path for path in sorted(folder.glob("*.ttf")) if path.stem.split("-")[0] in FONTS or path.stem in FONTS]


def _draw(letter: str, side: int, rng: np.random.Generator) -> np.ndarray:
    """One letter on its paper: uint8 (side, side, 3)."""
    large = side * FINE
    there = fonts()
    font = ImageFont.truetype(str(there[rng.integers(len(there))]), round(large * rng.uniform(0.55, 0.85)))
    mask = Image.new("L", (large, large))
    ImageDraw.Draw(mask).text((large / 2, large / 2), letter, 255, font, anchor="mm")
    ink = _bent(np.asarray(mask), rng)[..., None].astype(np.float32) / 255
    paper = _paper(large, rng)
    colour = rng.uniform(0, 255, 3)
    while abs(colour.mean() - paper.mean()) < LEAST_CONTRAST:
        colour = rng.uniform(0, 255, 3)
    picture = paper * (1 - ink) + colour * ink + rng.normal(0, rng.uniform(0, 10), (large, large, 3))
    return cv2.resize(picture.clip(0, 255).astype(np.uint8), (side, side), interpolation=cv2.INTER_AREA)


def _bent(ink: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turned, slanted, moved and in waves."""
    side = len(ink)
    angle, slant, scale = rng.uniform(-0.25, 0.25), rng.uniform(-0.25, 0.25), rng.uniform(0.85, 1.15)
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    y, x = np.mgrid[:side, :side].astype(np.float32) - side / 2
    wave = rng.uniform(0, 0.03) * side * np.sin(2 * np.pi * (y / side * rng.uniform(0.5, 1.5) + rng.uniform()))
    across = cos * x + (sin + slant) * y + wave + side / 2 + rng.uniform(-0.06, 0.06) * side
    down = -sin * x + cos * y + side / 2 + rng.uniform(-0.06, 0.06) * side
    return cv2.remap(ink, across.astype(np.float32), down.astype(np.float32), cv2.INTER_LINEAR)


def _paper(side: int, rng: np.random.Generator) -> np.ndarray:
    """Patches of a few colours that run into one another: float32 (side, side, 3)."""
    coarse = rng.uniform(0, 255, 3) + rng.uniform(-40, 40, (rng.integers(2, 6), rng.integers(2, 6), 3))
    return cv2.resize(coarse.clip(0, 255).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
