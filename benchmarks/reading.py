"""How many pictures of digits are read, with our framing and with two simple ones in front of the same model?

    python -m benchmarks.reading --workspace FOLDER --pictures FOLDER     with the model of a workspace, hand by hand

The pictures are other people's: files named LABEL-HAND-anything in folders named by their kind (`7-hand03-012.png`; the
hand may be missing), and archives with x, uint8 (N, height, width), and y. A picture that is refused counts as misread.
A row a hand, and before them a row for all of a kind. Without --pictures they are those of tests/photos.py, which the
project draws.

The peers: resizing the picture to 28×28, and cropping to the box of what differs from the corner's colour and centring
by mass. --peer names another reader: a command that is given paths, a line each, and prints a digit for each.
"""

import argparse
import json
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from benchmarks.table import show
from pipeline.base import pictures
from pipeline.base.errors import BadInput, one_line
from pipeline.digits import framing
from pipeline.digits.image import SIDE
from pipeline.learning import inference

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
import photos

PHOTOS = 0.1  # share of the drawn pictures
NAME = re.compile(r"(?P<label>\d)(?:-(?P<hand>[^-.]+))?\b")


class Picture(NamedTuple):
    kind: str
    hand: str
    label: int
    content: bytes
    """of its file"""


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


FRAMINGS: dict[str, Callable[[bytes], np.ndarray]] = {
    "resizing": resized,
    "crop and centre": cropped,
    "framing": lambda content: framing.frame(BytesIO(content), "a picture"),
}


def real(folder: Path) -> list[Picture]:
    """The pictures below a folder; :class:`BadInput` if there is none that names its label."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        named = NAME.match(path.name)
        if named and path.suffix.lower() in pictures.SUFFIXES:
            kind = path.parent.relative_to(folder).as_posix()
            found.append(Picture(kind, named["hand"] or kind, int(named["label"]), path.read_bytes()))
        elif path.suffix == ".npz":
            with np.load(path) as held:
                found += [
                    Picture(path.stem, path.stem, int(y), _png(x)) for x, y in zip(held["x"], held["y"], strict=True)
                ]
    if not found:
        raise BadInput(f"{folder}: holds no picture whose name begins with its label, as 7-hand03-012.png")
    return found


def _png(image: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def drawn(count: int, seed: int) -> list[Picture]:
    """``count`` pictures, a tenth photos and the rest of the other kinds alike."""
    of_photos = round(PHOTOS * count)
    each = -(-(count - of_photos) // (len(photos.KINDS) - 1))
    return [
        Picture(kind, "drawn", digit, content)
        for kind in photos.KINDS
        for digit, content in photos.pictures(kind, of_photos if kind == "photo" else each, seed)
    ]


def answers(
    pictures: Sequence[Picture], frame: Callable[[bytes], np.ndarray], model: Path, certain: float = 0.0
) -> list[int | None]:
    """The digit that is read on each picture; None where it is refused, by the framing or for too little certainty."""
    images: list[np.ndarray | None] = []
    for picture in pictures:
        try:
            images.append(frame(picture.content))
        except BadInput:
            images.append(None)
    found = inference.answers(inference.open_model(model), np.stack([i for i in images if i is not None]))
    believed = [
        int(digit) if certainty >= certain else None
        for digit, certainty in zip(found.probabilities.argmax(axis=1), found.certainty, strict=True)
    ]
    digits = iter(believed)
    return [None if image is None else next(digits) for image in images]


def answers_of(command: str, pictures: Sequence[Picture]) -> list[int | None]:
    """What another reader says of each picture; None for what is no digit."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / str(number) for number in range(len(pictures))]
        for path, picture in zip(paths, pictures, strict=True):
            path.write_bytes(picture.content)
        told = subprocess.run(
            shlex.split(command), input="\n".join(map(str, paths)), stdout=subprocess.PIPE, text=True, check=True
        )
    lines = told.stdout.split("\n")[: len(pictures)]
    return [int(line) if line.strip().isdigit() else None for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "--workspace", type=Path, default=Path(), metavar="FOLDER", help="whose models/model.onnx reads"
    )
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="with pictures named by label and hand")
    parser.add_argument("--peer", metavar="COMMAND", help="paths in, a line each; digits out, a line each")
    parser.add_argument("--count", type=int, default=300, help="of drawn pictures")
    parser.add_argument("--seed", type=int, default=0, help="of drawn pictures")
    parser.add_argument("--json", action="store_true", help="print the shares as JSON")
    arguments = parser.parse_args()
    pictures = real(arguments.pictures) if arguments.pictures else drawn(arguments.count, arguments.seed)
    model = arguments.workspace / "models/model.onnx"
    read = {name: answers(pictures, frame, model) for name, frame in FRAMINGS.items()}
    read["with doubts"] = answers(pictures, FRAMINGS["framing"], model, inference.CERTAIN)
    if arguments.peer:
        read["peer"] = answers_of(arguments.peer, pictures)
    table = list(rows(pictures, read))
    if arguments.json:
        print(json.dumps({f"{kind} {hand}".strip(): shares for kind, hand, _, shares in table}))
        return
    show(
        ["kind", "hand", "pictures", *read],
        *(
            [kind, hand, str(count), *(f"{share:.1%}" for share in shares.values())]
            for kind, hand, count, shares in table
        ),
    )


def rows(
    pictures: Sequence[Picture], read: dict[str, list[int | None]]
) -> Iterable[tuple[str, str, int, dict[str, float]]]:
    """Kind, hand, pictures and each reader's share of right answers: of all, of each kind, of each hand of it."""
    right = {
        name: np.array([digit == picture.label for digit, picture in zip(digits, pictures, strict=True)])
        for name, digits in read.items()
    }
    kinds, hands = (np.array([getattr(picture, key) for picture in pictures]) for key in ("kind", "hand"))

    def row(kind: str, hand: str, among: np.ndarray) -> tuple[str, str, int, dict[str, float]]:
        return kind, hand, int(among.sum()), {name: float(one[among].mean()) for name, one in right.items()}

    yield row("all", "", np.ones(len(pictures), bool))
    for kind in dict.fromkeys(kinds):
        yield row(kind, "", kinds == kind)
        for hand in sorted(set(hands[kinds == kind])) if len(set(hands[kinds == kind])) > 1 else ():
            yield row(kind, hand, (kinds == kind) & (hands == hand))


if __name__ == "__main__":
    with one_line():
        main()
