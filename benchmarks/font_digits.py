"""The digits of font files as pictures, for :mod:`benchmarks.reading`: a handwriting font is somebody's hand.

    npm pack @fontsource/caveat @fontsource/kalam …      and take the .woff files out of the archives
    python -m benchmarks.font_digits FONTS PICTURES      TrueType, OpenType or WOFF, below that folder
    python -m benchmarks.reading --workspace FOLDER --pictures PICTURES

Each digit is drawn three times: small and black on white, middling and grey on light grey, large and light on dark. A
font without the ten digits is left out.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from pipeline.base.errors import BadInput, one_line

SUFFIXES = (".ttf", ".otf", ".woff")
LEAST_MARGIN = 4  # pixels
MARGINS = (0.15, 0.6)  # of the font's size


class Look(NamedTuple):
    """How a digit is drawn: the font's size in pixels, and grey levels."""

    size: int
    paper: int
    ink: int


LOOKS = (Look(30, 255, 0), Look(90, 235, 40), Look(250, 20, 230))


def picture(font: ImageFont.FreeTypeFont, digit: int, look: Look, margin: int) -> Image.Image:
    """The digit in the middle of its paper."""
    left, top, right, bottom = font.getbbox(str(digit))
    size = (round(right - left) + 2 * margin, round(bottom - top) + 2 * margin)
    drawn = Image.new("L", size, look.paper)
    ImageDraw.Draw(drawn).text((margin - left, margin - top), str(digit), font=font, fill=look.ink)
    return drawn


def has_digits(font: ImageFont.FreeTypeFont) -> bool:
    """Whether no two of the ten look alike, as they do where a box stands for what a font lacks."""
    return len({bytes(font.getmask(str(digit))) for digit in range(10)}) == 10


def draw(file: Path, folder: Path, rng: np.random.Generator) -> bool:
    """Leave a font's pictures in the folder, if it has digits."""
    if not has_digits(ImageFont.truetype(file, LOOKS[1].size)):
        return False
    name = file.stem.replace("-", "").replace(".", "")
    for number, look in enumerate(LOOKS):
        font = ImageFont.truetype(file, look.size)
        for digit in range(10):
            margin = max(LEAST_MARGIN, int(look.size * rng.uniform(*MARGINS)))
            picture(font, digit, look, margin).save(folder / f"{digit}-{name}-{number}.png")
    return True


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.font_digits", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("fonts", type=Path, help="a folder of font files")
    parser.add_argument("pictures", type=Path, help="a folder that is not there yet")
    arguments = parser.parse_args()
    files = sorted(file for file in arguments.fonts.rglob("*") if file.suffix.lower() in SUFFIXES)
    if not files:
        raise BadInput(f"{arguments.fonts}: holds no font ({', '.join(SUFFIXES)})")
    folder = arguments.pictures / "fonts"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    drawn = sum(draw(file, folder, rng) for file in tqdm(files, "fonts", disable=None, leave=False))
    print(f"{drawn} fonts of {len(files)}, {drawn * 10 * len(LOOKS):,} pictures: {folder}")


if __name__ == "__main__":
    with one_line():
        main()
