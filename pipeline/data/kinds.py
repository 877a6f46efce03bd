"""What is particular to a kind of image? A folder of pipeline/ for each kind, with modules of the same names.

A module is imported when it is asked for: the service needs the numbers of an image, and none of its corruptions. A
further kind is a folder with these five modules, and its name in :data:`pipeline.base.params.Kind`.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import numpy as np

from pipeline.base.form import Form
from pipeline.base.params import Augment, Validate
from pipeline.base.pictures import LIMITS, Limits
from pipeline.base.rules import Rule
from pipeline.base.stored import Images


class Framing(Protocol):
    """How a picture becomes an image."""

    def frame(self, source: Path | BinaryIO, name: str, shape: tuple[int, ...], limits: Limits = LIMITS) -> np.ndarray:
        """uint8 ``shape``; :class:`pipeline.base.errors.BadInput` names the picture by ``name``."""
        ...


class Features(Protocol):
    """What an image looks like in numbers."""

    FEATURES: tuple[str, ...]
    NAMES: dict[str, str]
    """of each of the FEATURES, what people call it"""
    VERSION: int
    """up by one when one of FEATURES comes or goes"""
    SLICES: tuple[tuple[str, str, str], ...]
    """slice, feature, and which of its tails"""

    def measure(self, images: Images) -> np.ndarray:
        """The FEATURES of images uint8 (N, *shape), all finite: float64 (N, len(FEATURES))."""
        ...

    def derived(self, described: Any) -> Any:
        """A frame of the FEATURES with what else SLICES name."""
        ...


class Corruptions(Protocol):
    """What may happen to an image on its way to the model."""

    CORRUPTIONS: dict[str, Callable[[np.ndarray, np.random.Generator, float], np.ndarray]]
    """by name: from images uint8 (N, *shape), a generator and a strength, of which 1 is moderate, to new images"""


class Training(Protocol):
    """What becomes of a batch before it is learnt from."""

    def ignored(self, bands: Augment, form: Form) -> list[str]:
        """Which of the bands that are given say nothing about images of that form."""
        ...

    def Changes(  # noqa: N802  # a class
        self, images: Images, bands: Augment, form: Form, batch_size: int, seed: int
    ) -> Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]:
        """From images and labels, and a generator of the batch's own, to those that are learnt from."""
        ...


class Expectations(Protocol):
    """What is expected of the images beside their number, labels and copies."""

    def rules(self, params: Validate) -> list[Rule]: ...


def framing(kind: str) -> Framing:
    return cast(Framing, _part(kind, "framing"))


def features(kind: str) -> Features:
    return cast(Features, _part(kind, "features"))


def corruptions(kind: str) -> Corruptions:
    return cast(Corruptions, _part(kind, "corruptions"))


def training(kind: str) -> Training:
    return cast(Training, _part(kind, "training"))


def expectations(kind: str) -> Expectations:
    return cast(Expectations, _part(kind, "expectations"))


def _part(kind: str, name: str) -> Any:
    return import_module(f"pipeline.{kind}.{name}")
