"""What would you show somebody about this model? One page, from what the stages left.

Pictures are inside the page as data URIs and the style is inline, so that it
can be sent by mail and opened from anywhere; only the links to Data Docs, the drift report and the tables lead out.
"""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.base import files, form, params, places
from pipeline.base.errors import BadInput
from pipeline.base.form import TEN, with_article
from pipeline.base.words import counted
from pipeline.data import kinds, splits
from pipeline.reporting import templating

JSONS = {
    "training": places.TRAINING,
    "metrics": places.METRICS,
    "validation": places.VALIDATION,
    "drift": places.DRIFT,
}
TABLES = (
    "per_class",
    "confused_pairs",
    "mistakes",
    "suspected_labels",
    "calibration",
    "slices",
    "robustness",
)
OF_CLASSES = {"digit", "true", "predicted", "label", "suggested"}  # columns that hold names
PICTURES = (
    "confusion_images",
    "confusion_matrix",
    "confused_pairs",
    "mistakes",
    "per_class",
    "slices",
    "robustness",
    "reliability",
    "suspected_labels",
)
OF_IMAGES = ("confusion_images", "confused_pairs", "mistakes", "robustness", "suspected_labels")  # of PICTURES
REFUSAL = "refusal"  # a table and a picture, of the ten digits alone
PARTS = ("train", "val", "test")


def verdict(metrics: dict[str, Any], pairs: pd.DataFrame, floors: params.Gate, noun: str = "digit") -> str:
    """The model in one sentence: how many it reads, whether that clears the gate's floors, what it confuses most."""
    right, n = metrics["n_test"] - metrics["errors"], metrics["n_test"]
    missed = [
        f"{name} below the floor of {100 * floor:.4g}%"
        for name, value, floor in (
            ("its accuracy is", metrics["accuracy"], floors.min_accuracy),
            ("its weakest class's recall is", metrics["min_recall"], floors.min_recall),
        )
        if value < floor
    ]
    floor = f"but {' and '.join(missed)}" if missed else "which clears the floors of the gate"
    if pairs.empty:
        return f"It reads all {n:,} unseen {noun}s correctly, {floor}."
    first = pairs.iloc[0]
    times = "once" if first["count"] == 1 else f"{first['count']:.0f} times"
    named = [str(first[column]) for column in ("true", "predicted")]
    true, predicted = map(with_article, named) if noun == "digit" else named
    confused = f"the commonest mistake is {true} taken for {predicted} ({times})"
    return f"It reads {right:,} of {n:,} unseen {noun}s correctly, {floor}; {confused}."


def calibration_sentence(table: pd.DataFrame) -> str:
    """Does the model promise too much or too little, over the whole test split?"""
    gap = float(np.average(table["confidence"] - table["accuracy"], weights=table["n"]))
    kind = "overconfident" if gap > 0 else "underconfident"
    return f"On the whole it is {kind} by {abs(gap) * 100:.2f} points."


def class_rows(labels: dict[str, np.ndarray], classes: Sequence[str] = TEN) -> list[dict[str, Any]]:
    """A row a class: its name, and for each split how many images and which share of the split."""
    counts = {name: np.bincount(values, minlength=len(classes)) for name, values in labels.items()}
    shares = {name: splits.class_shares(values, len(classes)) for name, values in labels.items()}
    return [
        {"digit": named, "splits": [(int(counts[name][d]), float(shares[name][d])) for name in labels]}
        for d, named in enumerate(classes)
    ]


def data_uri(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def plain(value: Any) -> str:
    """A value of a check or a table as a person writes it: four significant digits, lists with commas."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "–"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Sequence):
        return ", ".join(map(plain, value))
    return json.dumps(value, ensure_ascii=False)


def render(facts: dict[str, Any]) -> str:
    """The page from :func:`gather`'s facts; everything that comes from data is escaped."""
    environment = templating.environment()
    environment.filters["plain"] = plain
    environment.filters["percent"] = lambda share, places=2: f"{share:.{places}%}"
    environment.filters["signed"] = lambda number: f"{number:+.2f}".replace("-", "−")
    environment.filters["count"] = lambda number: f"{number:,.0f}"
    environment.filters["counted"] = counted
    return environment.get_template("report.html.j2").render(**facts)


def gather() -> dict[str, Any]:
    """Everything the page shows, read from the files of the stages before; BadInput names each that is missing."""
    of = form.load()
    more, noun = ([REFUSAL], "digit") if of.of_digits else ([], "image")
    tables = {name: places.EVALUATION / f"{name}.csv" for name in (*TABLES, *more)} | {"history": places.HISTORY}
    pictures = {name: places.EVALUATION / f"{name}.png" for name in (*PICTURES, *more)} | {"curves": places.CURVES}
    _require(places.MANIFEST, places.DRIFT_PAGE, *JSONS.values(), *tables.values(), *pictures.values())
    read = {name: _table(path) for name, path in tables.items()}
    settings = params.load()
    classes = class_rows({name: splits.load(places.PROCESSED / name).labels for name in PARTS}, of.classes)
    found = {name: files.read_json(path) for name, path in JSONS.items()}
    return {
        **found,
        "manifest": files.read_json(places.MANIFEST),
        "params": settings,
        "params_text": places.PARAMS.read_text(encoding="utf-8"),
        "verdict": verdict(found["metrics"], read["confused_pairs"], settings.gate, noun),
        "noun": noun,
        "calibration_sentence": calibration_sentence(read["calibration"]),
        "tables": {name: table.to_dict("records") for name, table in read.items()},
        "pictures": {name: data_uri(path) for name, path in pictures.items()},
        "photos": () if of.inked else OF_IMAGES,
        "names": kinds.features(of.kind).NAMES,
        "parts": PARTS,
        "classes": classes,
        "largest_share": max(share for row in classes for _, share in row["splits"]),
        "docs": _docs(),
    }


def _table(path: Path) -> pd.DataFrame:
    """A table of the evaluation, in which a class called NA is one, and 007 is not 7."""
    return pd.read_csv(path, dtype=dict.fromkeys(OF_CLASSES, str), keep_default_na=False, na_values=[""])


def _require(*paths: Path) -> None:
    missing = [f"there is no {path}: run `dvc repro`" for path in paths if not path.is_file()]
    if missing:
        raise BadInput("\n".join(missing))


def _docs() -> str:
    """Where Data Docs begin, relative to the page: of the index.html in the folder, the one nearest to its top."""
    found = sorted(places.DATA_DOCS.rglob("index.html"), key=lambda path: (len(path.parts), path))
    if not found:
        raise BadInput(f"there is no index.html in {places.DATA_DOCS}: run `dvc repro`")
    return found[0].relative_to(places.REPORTS).as_posix()
