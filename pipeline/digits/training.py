"""What becomes of a batch of digits before it is learnt from? Some are drawn anew by other hands, what is no digit
comes on top, and all are augmented."""

import numpy as np

from pipeline.base.form import Form
from pipeline.base.params import Augment
from pipeline.base.stored import Images
from pipeline.digits.augmentation import Augmentation
from pipeline.digits.hands import Hands
from pipeline.digits.non_digits import NonDigits

# What a draw is for comes first in its key, so that no two share a stream; fitting has keys of its own.
FIELDS, HANDS, NON_DIGITS = 1, 4, 5


def ignored(bands: Augment, form: Form) -> list[str]:
    return bands.given("flip", "colour", *(() if form.of_digits else ("hands", "non_digits")))


class Changes:
    """Within the bands of a recipe's ``augment``. Other classes than the ten digits have neither hands nor non-digits:
    a letter may be what is asked for."""

    def __init__(self, images: Images, bands: Augment, form: Form, batch_size: int, seed: int) -> None:
        self.bands, self.none = bands, len(form.classes)
        self.augmentation = Augmentation(bands, np.random.default_rng([FIELDS, seed]))
        self.hands = Hands(np.random.default_rng([HANDS, seed])) if bands.hands and form.of_digits else None
        self.more = round(bands.non_digits * batch_size) if form.of_digits else 0
        if self.more:
            self.non_digits = NonDigits(np.asarray(images), np.random.default_rng([NON_DIGITS, seed]))

    def __call__(
        self, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """images uint8 (N, 28, 28) and labels (N,), more of them than came in where there are non-digits, whose label
        is one more than the last class's."""
        if self.hands:
            images = self.hands.among(images, labels, self.bands.hands, rng)
        if self.more:
            images = np.concatenate([images, self.non_digits.some(self.more, rng)])
            labels = np.concatenate([labels, np.full(self.more, self.none, labels.dtype)])
        return self.augmentation(images, rng), labels
