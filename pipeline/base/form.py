"""What is an image of a data set: of which kind and shape, and of which classes?"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.base import files, places

TEN = tuple("0123456789")


@dataclass(frozen=True)
class Form:
    """What ingest finds out from the data; every later stage, the model's file and the service take it from there."""

    kind: str = "digits"
    """how a picture becomes an image, and what may happen to it: a folder of pipeline/"""
    shape: tuple[int, ...] = (28, 28)
    """height and width of an image in pixels, and 3 where it is in colour; images are uint8 (N, *shape)"""
    classes: tuple[str, ...] = TEN
    """their names: a label is the index of one"""

    @property
    def of_digits(self) -> bool:
        """Whether the classes are the ten digits, drawn as MNIST's are."""
        return (self.kind, self.classes) == ("digits", TEN)

    @property
    def inked(self) -> bool:
        """Whether images are of ink: 0 is paper, and 255 the darkest."""
        return self.kind == "digits"

    @property
    def pixels(self) -> str:
        """The shape in words: 32×32 in colour."""
        height, width, *colours = self.shape
        return f"{height}×{width}{' in colour' if colours else ''}"

    @property
    def labels(self) -> str:
        """The type that a label needs."""
        return "uint8" if len(self.classes) <= 256 else "uint16"

    def a(self, label: int) -> str:
        """A class as a sentence has it: a 7, an 8, or cat."""
        name = self.classes[label]
        return name if self.classes != TEN else with_article(name)

    def named(self, label: int) -> int | str:
        """A class as an answer has it: a digit is a number."""
        return label if self.classes == TEN else self.classes[label]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> "Form":
        return cls(facts["kind"], tuple(facts["shape"]), tuple(facts["classes"]))


def with_article(digit: str) -> str:
    """A digit as a sentence has it: an 8 is the one that is spoken with a vowel first."""
    return f"an {digit}" if digit == "8" else f"a {digit}"


DIGITS = Form()


def images_in(room: int, shape: Sequence[int]) -> int:
    """How many images of that shape so many bytes hold; one at least."""
    return max(room // math.prod(shape), 1)


def load(folder: Path = places.PROCESSED) -> Form:
    """The form of the images that lie in data/raw or data/processed; what an earlier release left there are digits."""
    path = folder / places.FORM
    return Form.from_json(files.read_json(path)) if path.is_file() else DIGITS


def save(form: Form, folder: Path) -> None:
    files.write_json(folder / places.FORM, form.as_json())
