"""What may a person change? params.yaml as typed, checked, frozen objects."""

import re
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from pipeline import files
from pipeline.errors import BadInput

PATH = Path("params.yaml")

Dataset = Literal["digits", "mnist", "idx", "npz", "csv", "folder"]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


def _ordered(band: tuple[float, float]) -> tuple[float, float]:
    if band[0] > band[1]:
        raise ValueError(f"the lowest, {band[0]}, is above the highest, {band[1]}")
    return band


Band = Annotated[tuple[float, float], Field(strict=False), AfterValidator(_ordered)]  # YAML has lists, no tuples


class Section(BaseModel):
    """A section of params.yaml: no unknown keys, no silent conversions, no changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Ingest(Section):
    local_dir: str
    test_share: Annotated[float, Field(gt=0, lt=1)]
    timeout_seconds: Positive
    attempts: Count


class Validate(Section):
    min_train: Count
    min_test: Count
    class_share: Band
    max_share_difference: Share
    mean_pixel: Band
    ink_share: Band
    max_border_ink: float
    max_duplicate_share: Share
    max_leaked_share: Share


class Preprocess(Section):
    val_share: Annotated[float, Field(gt=0, lt=1)]
    max_share_difference: Share


class Augment(Section):
    shift: Annotated[float, Field(ge=0)]
    rotate: Annotated[float, Field(ge=0)]
    zoom: Annotated[float, Field(ge=0, lt=1)]


class Train(Section):
    network: str
    seed: Annotated[int, Field(ge=0)]
    epochs: Count
    min_steps_per_epoch: Count
    batch_size: Count
    learning_rate: Positive
    dropout: Annotated[float, Field(ge=0, lt=1)]
    patience: Count
    augment: Augment


class Evaluate(Section):
    mistakes: Count
    bootstrap: Count
    calibration_bins: Count


class Drift(Section):
    max_distance: Share
    max_drifted_share: Share


class Gate(Section):
    min_accuracy: Share
    min_recall: Share
    significance: Share
    when_indistinguishable: Literal["promote", "keep"]
    max_size_mb: Positive
    max_latency_ms: Positive


class Params(Section):
    dataset: Dataset
    ingest: Ingest
    validate_: Validate = Field(alias="validate")  # pydantic's own models have a method `validate`
    preprocess: Preprocess
    train: Train
    evaluate: Evaluate
    drift: Drift
    gate: Gate


def load(path: Path | str = PATH) -> Params:
    """Read and check params.yaml; :class:`BadInput` has a line for each key that is wrong."""
    path = Path(path)
    try:
        return Params.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise BadInput(f"there is no {path} here: run this in the workspace's top folder") from None
    except yaml.YAMLError as error:
        raise BadInput(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        raise BadInput("\n".join(_explain(path, e) for e in error.errors())) from None


def _explain(path: Path, error: ErrorDetails) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{path}: unknown key {key}: remove it or correct its spelling"
    if error["type"] == "missing":
        return f"{path}: the key {key} is missing: add it"
    return f"{path}: {key} is {error['input']!r}: {error['msg'][0].lower()}{error['msg'][1:]}"


def set_dataset(name: str, path: Path | str = PATH) -> None:
    """Put the workspace on another data set: rewrite the one line, leave every other byte. No-op if it is there."""
    path = Path(path)
    if load(path).dataset == name:
        return
    text = path.read_text(encoding="utf-8")
    files.write_text(path, re.sub(r"(?m)^dataset:[ \t]*\S+", f"dataset: {name}", text, count=1))
