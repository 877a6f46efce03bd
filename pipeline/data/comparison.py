"""Are these two populations alike? Evidently on the features of the images and the label: test against train.

Distances rather than p-values: with tens of thousands of rows a test finds significant what no model would notice.
Drift between train and test is a warning, not a failure. Leaves reports/drift.html and reports/drift.json.
"""

import warnings
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.base import files
from pipeline.base import params as params_file
from pipeline.base.errors import one_line
from pipeline.base.params import Drift
from pipeline.data import splits
from pipeline.data.splits import Split
from pipeline.digits import features

PAGE = Path("reports/drift.html")
REPORT = Path("reports/drift.json")
LABEL = "label"


def rows(split: Split) -> pd.DataFrame:
    """The FEATURES and the label of each image."""
    return features.describe(split.images).assign(**{LABEL: pd.Series(split.labels).astype(str)})


def compare(reference: pd.DataFrame, current: pd.DataFrame, params: Drift) -> tuple[dict, Any]:
    """The verdict on ``current`` against ``reference``, and Evidently's snapshot, which saves itself as HTML.

    Both frames hold the same columns: numbers, compared by the Wasserstein distance in units of the reference's
    standard deviation, and text, compared by the Jensen-Shannon distance (natural logarithm: 0 to 0.83).
    """
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    text = [column for column in reference if not pd.api.types.is_numeric_dtype(reference[column])]
    numbers = [column for column in reference if column not in text]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=text)
    preset = DataDriftPreset(
        num_method="wasserstein",
        cat_method="jensenshannon",
        num_threshold=params.max_distance,
        cat_threshold=params.max_distance,
        drift_share=params.max_drifted_share,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's and pandas' deprecations, of which Evidently has several
        snapshot = Report([preset]).run(
            current_data=Dataset.from_pandas(current, data_definition=definition),
            reference_data=Dataset.from_pandas(reference, data_definition=definition),
        )
    columns = _distances(snapshot, params.max_distance)
    drifted = sum(column["drifted"] for column in columns) / len(columns)
    summary = {
        "verdict": "drift" if drifted > params.max_drifted_share else "alike",
        "drifted_share": round(drifted, 6),
        "max_drifted_share": params.max_drifted_share,
        "reference_rows": len(reference),
        "current_rows": len(current),
        "columns": columns,
    }
    return summary, snapshot


def _distances(snapshot: Any, threshold: float) -> list[dict]:
    """A row a column from Evidently's ValueDrift metrics, the largest distance first."""
    metrics = [m for m in snapshot.dict()["metrics"] if m["config"]["type"].endswith("ValueDrift")]
    rows = [
        {
            "name": metric["config"]["column"],
            "method": metric["config"]["method"],
            "distance": round(float(metric["value"]), 6),
            "threshold": threshold,
            "drifted": bool(metric["value"] >= threshold),
        }
        for metric in metrics
    ]
    return sorted(rows, key=lambda row: -row["distance"])


def main() -> None:
    params = params_file.load().drift
    train, test = splits.load(splits.RAW / "train"), splits.load(splits.RAW / "test")
    splits.check_arrays(train, test, "drift")
    summary, snapshot = compare(rows(train), rows(test), params)
    with files.atomic(PAGE) as part:
        snapshot.save_html(str(part))
    files.write_json(REPORT, summary)
    far = summary["columns"][0]
    line = f"largest distance {far['distance']:.3f} ({far['name']}), {summary['drifted_share']:.0%} of columns drifted"
    print(f"{'warning: ' if summary['verdict'] == 'drift' else ''}drift: train and test are {_words(summary)}; {line}")


def _words(summary: dict) -> str:
    return "alike" if summary["verdict"] == "alike" else "not alike"


if __name__ == "__main__":
    with one_line():
        main()
