"""How far do two fits lie apart that differ in their seed alone? The margin within which the gate sees no difference.

Measured by a study of the recipe as it is, and valid for just what was measured: the recipe with its settings, the code
that fits it and the data it was fitted on.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.base import clock
from pipeline.registry import versions

if TYPE_CHECKING:
    from mlflow import MlflowClient

_NOISE = "noise."  # tag keys of the registered model: noise.<what was fitted>


def note(client: MlflowClient, name: str, fitted: str, accuracies: Sequence[float]) -> dict[str, Any]:
    """Keep with the model how far the fits lie apart; returns what was kept. ``fitted`` is the digest of what was
    fitted (:func:`pipeline.learning.fit_identity.digest`)."""
    found = {"std": statistics.stdev(accuracies), "seeds": len(accuracies), "at": clock.now()}
    versions.create(client, name)
    client.set_registered_model_tag(name, f"{_NOISE}{fitted}", json.dumps(found))
    return found


def noted(client: MlflowClient, name: str, fitted: str) -> float:
    """The margin of what was fitted; 0 where its noise was not measured."""
    model = versions.find(client, name)
    found = model and model.tags.get(f"{_NOISE}{fitted}")
    if not found:
        return 0.0
    known = json.loads(found)
    return margin(known["std"], known["seeds"])


def margin(std: float, fits: int) -> float:
    """What the difference of two fits exceeds once in twenty times, where so many had that standard deviation: few say
    little about it (Student 1908)."""
    from scipy import stats

    return float(stats.t.ppf(0.975, fits - 1)) * math.sqrt(2) * std
