"""For notebooks and scripts: the registered models of a workspace as Python objects.

    import digits
    model = digits.champion()
    model.predict(["seven.png", "photos/"])      # a DataFrame, a row a picture
    digits.compare(model, digits.version(3), images, labels)

Like the commands, it works in the folder that holds params.yaml, and asks the registry that MLFLOW_TRACKING_URI names.
What is wrong is a :class:`pipeline.base.errors.BadInput` with one line.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.base import params
from pipeline.base.errors import BadInput
from pipeline.base.form import Form
from pipeline.learning import inference, reading
from pipeline.registry import artifacts, snapshot, versions

PATH = "path"  # the column of a DataFrame that names pictures


@dataclass(frozen=True)
class Model:
    """A registered version."""

    name: str
    number: str
    onnx: Path
    """its file"""

    @cached_property
    def _session(self) -> Any:
        return inference.open_model(self.onnx)

    @property
    def form(self) -> Form:
        """What its images are: kind, shape and the classes' names."""
        return inference.form(self._session)

    @property
    def metrics(self) -> dict[str, Any]:
        """What it measured when it was registered."""
        return snapshot.version(self.name, self.number).metrics

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Of images uint8 (N, *form.shape): float32 (N, classes)."""
        return inference.run(self._session, images)

    def predict(self, asked: np.ndarray | pd.DataFrame | str | Path | Iterable[str | Path]) -> pd.DataFrame:
        """A row an image or picture: digit (or label), confidence, second, and the reason where nothing is read.

        ``asked`` are images uint8 (N, *form.shape), a path of a picture or several (folders and patterns too), or a
        DataFrame with a column ``path``, whose other columns and index stay.
        """
        if isinstance(asked, np.ndarray):
            return self._table(reading.of_images(asked, str(self.onnx))).drop(columns="file")
        if isinstance(asked, pd.DataFrame):
            if PATH not in asked:
                raise BadInput(f"the DataFrame has the columns {', '.join(map(str, asked))}: name one {PATH}")
            rows = self._read([str(path) for path in asked[PATH]]).drop(columns="file")
            return asked.reset_index(drop=True).join(rows, rsuffix="_predicted").set_axis(asked.index)
        return self._read(reading.find([str(asked)] if isinstance(asked, str | Path) else map(str, asked)))

    def _read(self, pictures: Sequence[str]) -> pd.DataFrame:
        return self._table(reading.read(pictures, self.onnx, in_processes=False))

    def _table(self, answers: Iterable[reading.Answer]) -> pd.DataFrame:
        return pd.DataFrame([one.as_json(self.form) for one in answers], columns=reading.columns(self.form))


def champion(model: str | None = None) -> Model:
    """The version in use, of the workspace's model or of the one named ``model``."""
    name = _named(model)
    number, onnx = snapshot.champion_file(name)
    return Model(name, number, onnx)


def version(number: int | str, model: str | None = None) -> Model:
    """A version by its number, or ``challenger``."""
    client, name = versions.connect(), _named(model)
    found = versions.version(client, name, str(number))
    return Model(name, str(found.version), artifacts.onnx_file(client, found))


def compare(
    one: Model, other: Model, images: np.ndarray | None = None, labels: np.ndarray | None = None
) -> pd.DataFrame:
    """How two versions fare on the same labelled images: a row each, with its accuracy and how many it alone reads.

    Without images, on the test split that both were measured on, by what was recorded then: no look at it is spent.
    """
    if images is None or labels is None:
        accuracy, alone = _recorded(one, other)
    else:
        right = [model.probabilities(images).argmax(axis=1) == labels for model in (one, other)]
        accuracy = [float(hits.mean()) for hits in right]
        alone = [int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())]
    rows = [
        {"model": model.name, "version": model.number, "accuracy": measured, "alone_right": only}
        for model, measured, only in zip((one, other), accuracy, alone, strict=True)
    ]
    return pd.DataFrame(rows)


def _recorded(one: Model, other: Model) -> tuple[list[float], list[int]]:
    """Each one's accuracy on the test split, and how many it alone read."""
    from pipeline.registry import compare as room  # MLflow: where it is needed

    if one.name != other.name:
        raise BadInput(f"{one.name} and {other.name} have no test images in common: give images and labels")
    found = room.side_by_side(versions.connect(), one.name, one.number, other.number)
    if found.answers is None:
        raise BadInput(f"{found.apart}: give images and labels")
    accuracy = [float(facts.metrics["accuracy"]) for facts in (found.first, found.second)]
    return accuracy, [len(found.answers.first_alone), len(found.answers.second_alone)]


def history(model: str | None = None) -> pd.DataFrame:
    """Every promotion, refusal and rollback, oldest first."""
    events = [event.as_json() for event in snapshot.events(_named(model))]
    return pd.DataFrame([{**event, "why": (event.get("verdict") or {}).get("reason")} for event in events])


def _named(model: str | None) -> str:
    return model or versions.model_name(params.load().named)
