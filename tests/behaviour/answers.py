"""A trained model's answers to changed versions of the images that it gets right."""

from pathlib import Path

import numpy as np

from pipeline.data.splits import Split
from pipeline.learning import inference


class Answers:
    def __init__(self, onnx: Path, test: Split) -> None:
        self.model = inference.open_model(onnx)
        right = self(test.images).argmax(axis=1) == test.labels
        self.images, self.labels = test.images[right], test.labels[right]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """probabilities float32 (N, 10) of uint8 (N, 28, 28)"""
        return inference.run(self.model, images)

    def unchanged(self, images: np.ndarray) -> float:
        """The share of the images, changed versions of those it got right, that it still gets right."""
        return float((self(images).argmax(axis=1) == self.labels).mean())
