"""What the rooms say, as they say it: a window, a version's facts, a model's answers."""

from typing import Any

import numpy as np

from pipeline.monitoring.windows import Window
from pipeline.registry.records import Facts


def window(bad: bool, **more: Any) -> Window:
    """A window of 300 images of version 1 of digits-cnn."""
    facts = {"at": "2026-01-01T00:00:00+00:00", "model": "digits-cnn", "version": "1", "images": 300, "last_row": 300}
    distances = {"drifted_share": 0.5 if bad else 0.0, "allowed_share": 0.1, "columns": {"slant": 0.4, "mean": 0.1}}
    return Window(bad=bad, **{**facts, **distances, **more})


def facts(**metrics: float) -> Facts:
    """Those of version 1 of digits-cnn, the champion, which measured ``metrics``."""
    return Facts(
        model="digits-cnn",
        version="1",
        aliases=["champion"],
        created="2026-01-01T00:00:00+00:00",
        run_id="abc",
        lineage={"dataset": "digits"},
        params={},
        weights_sha256="0",
        metrics=metrics,
        verdict=None,
        replaced=None,
    )


def answers(seed: int, n: int, sharpness: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,) and probabilities (n, 10) of a model that is right most of the time."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, n).astype(np.uint8)
    logits = rng.normal(size=(n, 10)) + sharpness * np.eye(10)[labels]
    powers = np.exp(logits)
    return labels, (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
