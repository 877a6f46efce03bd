"""Are these two populations alike? Evidently on summary numbers of the images.

Distances rather than p-values: with tens of thousands of rows a test finds significant what no model would notice.
"""

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from pipeline.base import files, repeatable
from pipeline.base.params import Drift
from pipeline.data import descriptions

LABEL = "label"


@dataclass(frozen=True)
class Column:
    name: str
    method: str
    distance: float
    threshold: float
    by_chance: float
    """what of the threshold is allowed because the tables are small"""
    drifted: bool


@dataclass(frozen=True)
class Compared:
    """How far the columns of two tables lie apart, the furthest first."""

    verdict: Literal["alike", "drift"]
    drifted_share: float
    """of the columns"""
    max_drifted_share: float
    reference_rows: int
    current_rows: int
    columns: tuple[Column, ...]

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "columns": [asdict(column) for column in self.columns]}


def labelled(described: pd.DataFrame) -> pd.DataFrame:
    """What is compared of labelled images: the FEATURES, and the label as text, of a table of
    :mod:`pipeline.data.descriptions`."""
    features = described.drop(columns=list(descriptions.OURS))
    return features.assign(**{LABEL: described["label"].astype(str)})


def answered(features: pd.DataFrame, probabilities: np.ndarray) -> pd.DataFrame:
    """What is compared of images that a model answered: the FEATURES, the answer (text) and the confidence in it."""
    answers = pd.Series(probabilities.argmax(axis=1)).astype(str)
    return features.assign(answer=answers, confidence=probabilities.max(axis=1).astype(float))


def compare(
    reference: pd.DataFrame, current: pd.DataFrame, params: Drift, by_chance: Mapping[str, float] | None = None
) -> tuple[Compared, Any]:
    """The verdict on ``current`` against ``reference``, and Evidently's snapshot for :func:`save_page`.

    The columns that both have are compared, because an older reference may lack a feature: numbers by the Wasserstein
    distance in units of the reference's standard deviation, text by the Jensen-Shannon distance (natural logarithm: 0
    to 0.83). Both are metrics: what is measured is at most what the populations differ by, and what chance adds. So
    ``by_chance``, as of :mod:`pipeline.data.sampling_noise`, is added to the threshold of its column.
    """
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import RowCount
    from evidently.presets import DataDriftPreset

    shared = [str(column) for column in reference if column in current]
    reference, current = reference[shared], current[shared]
    text = [column for column in reference if not pd.api.types.is_numeric_dtype(reference[column])]
    numbers = [column for column in reference if column not in text]
    allowed = {name: (by_chance or {}).get(name, 0.0) for name in shared}
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=text)
    preset = DataDriftPreset(
        num_method="wasserstein",
        cat_method="jensenshannon",
        per_column_threshold={column: params.max_distance + allowed[column] for column in shared},
        drift_share=params.max_drifted_share,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's and pandas' deprecations, of which Evidently has several
        snapshot = Report([RowCount(), preset]).run(  # the page says on how many rows it rests
            current_data=Dataset.from_pandas(current, data_definition=definition),
            reference_data=Dataset.from_pandas(reference, data_definition=definition),
        )
    columns = _distances(snapshot, params.max_distance, allowed)
    drifted = sum(column.drifted for column in columns) / len(columns)
    compared = Compared(
        verdict="drift" if drifted > params.max_drifted_share else "alike",
        drifted_share=round(drifted, 6),
        max_drifted_share=params.max_drifted_share,
        reference_rows=len(reference),
        current_rows=len(current),
        columns=tuple(columns),
    )
    return compared, snapshot


def save_page(snapshot: Any, path: Path) -> None:
    """Evidently's page of a comparison, the same bytes for the same comparison."""
    with files.atomic(path) as part:
        snapshot.save_html(str(part))
        repeatable.rewrite(part, repeatable.stable_ids)


def _distances(snapshot: Any, threshold: float, allowed: Mapping[str, float]) -> list[Column]:
    """A row a column from Evidently's ValueDrift metrics, the largest distance first."""
    metrics = [m for m in snapshot.dict()["metrics"] if m["config"]["type"].endswith("ValueDrift")]
    columns = [
        Column(
            name=(name := metric["config"]["column"]),
            method=metric["config"]["method"],
            distance=round(float(metric["value"]), 6),
            threshold=round(threshold + allowed[name], 6),
            by_chance=round(allowed[name], 6),
            drifted=bool(metric["value"] >= threshold + allowed[name]),
        )
        for metric in metrics
    ]
    return sorted(columns, key=lambda column: -column.distance)
