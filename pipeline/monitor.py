"""Do the images that come in still look like those the champion learnt from? A window at a time, and k bad of n alarm.

The reference is the champion's own: its val split, which is of its training data but was not learnt from, so that the
confidence in it is honest; registered with it as features, answer and confidence. A window is compared by the same
distances as the drift stage. One odd window is not drift: the alarm wants ``monitor.bad`` bad ones among the last
``monitor.of``, and the latest among them.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow import MlflowClient

from pipeline import datasets, drift, features, files, framing, inference, registry
from pipeline.errors import BadInput
from pipeline.params import Params

WINDOWS = Path("reports/monitor/windows.jsonl")
REFERENCE = "extra_files/reference.parquet"  # in a version's files


def read_folder(folder: Path) -> np.ndarray:
    """Every picture below a folder in MNIST's framing: uint8 (N, 28, 28); :class:`BadInput` if there is none."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in datasets.PICTURES)
    if not paths:
        raise BadInput(f"{folder} holds no PNG or JPEG: name a folder of pictures")
    return np.stack([framing.frame(path, str(path)) for path in paths])


def rows(images: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """What the monitor compares: an image's FEATURES, and the answer (text) and confidence it was given."""
    answers = pd.Series(probabilities.argmax(axis=1)).astype(str)
    return features.describe(images).assign(answer=answers, confidence=probabilities.max(axis=1).astype(float))


def window(client: MlflowClient, name: str, images: np.ndarray, params: Params) -> tuple[dict[str, Any], Any]:
    """Compare a window of images with the champion's reference: the record that is kept, and Evidently's snapshot."""
    if len(images) < params.monitor.min_images:
        raise BadInput(f"a window needs {params.monitor.min_images} images, there are {len(images)}: wait for more")
    champion = registry.champion(client, name)
    folder = registry.download(client, champion)
    if not (folder / REFERENCE).is_file():
        raise BadInput(f"{name} version {champion.version} was registered without a reference: train and promote anew")
    current = rows(images, inference.probabilities(folder / "model.onnx", images))
    compared, snapshot = drift.compare(pd.read_parquet(folder / REFERENCE), current, params.drift)
    record = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": name,
        "version": str(champion.version),
        "images": len(images),
        "bad": compared["verdict"] == "drift",
        "drifted_share": compared["drifted_share"],
        "columns": {column["name"]: column["distance"] for column in compared["columns"]},
    }
    return record, snapshot


def keep(record: dict[str, Any], snapshot: Any) -> Path:
    """Append the window to those before and leave its page; returns the page's path."""
    page = WINDOWS.parent / f"{record['at'].replace(':', '')}.html"
    with files.atomic(page) as part:
        snapshot.save_html(str(part))
    with WINDOWS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
    return page


def windows(name: str, version: str) -> list[dict[str, Any]]:
    """The kept windows that were compared with that version, oldest first."""
    if not WINDOWS.is_file():
        return []
    found = [json.loads(line) for line in WINDOWS.read_text(encoding="utf-8").splitlines()]
    return [record for record in found if (record["model"], record["version"]) == (name, version)]


def alarmed(records: list[dict[str, Any]], bad: int, of: int) -> bool:
    """Whether at least ``bad`` of the last ``of`` windows are bad, the latest among them."""
    last = records[-of:]
    return bool(last) and last[-1]["bad"] and sum(record["bad"] for record in last) >= bad
