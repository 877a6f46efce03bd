"""Do the images that come in still look like those the champion learnt from? A window of them at a time.

The reference is the champion's own: its val split, which is of its training data but was not learnt from, so that the
confidence in it is honest; registered with it as features, answer and confidence. A window is compared by the same
distances as the drift stage; :mod:`pipeline.monitoring.windows` keeps what came out.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline.base import clock, pictures, places
from pipeline.base.errors import BadInput
from pipeline.base.form import DIGITS, Form
from pipeline.base.params import Drift, Monitor, Params
from pipeline.data import comparison, descriptions, kinds
from pipeline.data.comparison import Compared
from pipeline.learning import inference
from pipeline.monitoring import live, windows
from pipeline.monitoring.windows import Window
from pipeline.registry import artifacts, versions

if TYPE_CHECKING:
    from mlflow import MlflowClient

NOISE = 2.0  # of the distance between two samples of the same images, in standard deviations of a mean


def read_folder(folder: Path, form: Form = DIGITS) -> np.ndarray:
    """Every picture below a folder as an image of that form: uint8 (N, *shape); :class:`BadInput` if there is none."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in pictures.SUFFIXES)
    if not paths:
        raise BadInput(f"{folder} holds no PNG or JPEG: name a folder of pictures")
    frame = kinds.framing(form.kind).frame
    return np.stack([frame(path, str(path), form.shape) for path in paths])


def look(client: MlflowClient, name: str, params: Params, folder: Path | None = None) -> tuple[Window, Any] | None:
    """Compare the pictures below ``folder``, or else the last images that the champion was asked about in use, with its
    reference: the window, and Evidently's snapshot. None while too few images came in since the last look;
    :class:`BadInput` if there is no champion, or the folder holds too few."""
    champion = versions.champion(client, name)
    version = str(champion.version)
    if not (artifacts.download(client, champion) / places.VERSION_REFERENCE).is_file():
        raise BadInput(f"{name} version {version} was registered without a reference: train and promote anew")
    last, onnx = None, artifacts.onnx_file(client, champion)
    form = inference.form_of(onnx)
    if folder is None:
        after = windows.looked_at(windows.backwards(name), version)
        with live.store(kind=form.kind) as connection:
            last, current = live.window(connection, name, version, after, params.monitor.max_images, form)
        if len(current) < params.monitor.min_images:
            return None
    else:
        images = read_folder(folder, form)
        if len(images) < params.monitor.min_images:
            raise BadInput(f"a window needs {params.monitor.min_images} images, {folder} holds {len(images)}")
        probabilities = inference.probabilities(onnx, images)
        current = comparison.answered(descriptions.measured(images, form.kind), probabilities)
    reference = artifacts.file(client, champion, places.VERSION_REFERENCE)
    compared, snapshot = compare(pd.read_parquet(reference), current, params.monitor)
    window = Window(
        at=clock.now(),
        model=name,
        version=version,
        images=len(current),
        last_row=last,
        bad=compared.verdict == "drift",
        drifted_share=compared.drifted_share,
        allowed_share=params.monitor.max_drifted_share,
        columns={column.name: column.distance for column in compared.columns},
    )
    return window, snapshot


def compare(reference: pd.DataFrame, current: pd.DataFrame, rules: Monitor) -> tuple[Compared, Any]:
    """:func:`pipeline.data.comparison.compare`, with a threshold wider by what chance makes of such sizes."""
    chance = NOISE * (1 / len(reference) + 1 / len(current)) ** 0.5
    limits = Drift(max_distance=min(rules.max_distance + chance, 1.0), max_drifted_share=rules.max_drifted_share)
    return comparison.compare(reference, current, limits)
