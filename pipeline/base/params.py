"""What may a person change? params.yaml as typed, checked, frozen objects."""

import difflib
import io
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from pipeline.base import files, places
from pipeline.base.errors import BadInput, brief

Dataset = Literal["digits", "mnist", "kaggle", "letters", "idx", "npz", "csv", "folder", "table", "parquet"]
OWN = ("idx", "npz", "csv", "folder", "table", "parquet")  # of them: one's own, by the form of its files
Kind = Literal["digits", "plain"]  # a folder of pipeline/ each
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Names = Annotated[tuple[str, ...], Field(strict=False)]


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
    name: Annotated[str, Field(pattern=r"^[\w-]*$")]
    test_share: Annotated[float, Field(ge=0, lt=1)]
    timeout_seconds: Positive
    attempts: Count
    max_images: Count
    max_mb: Positive
    max_unreadable: Share


class Images(Section):
    """What a picture of one's own data set becomes; arrays keep the shape that they have."""

    kind: Kind
    height: Annotated[int, Field(ge=8, le=512)]
    width: Annotated[int, Field(ge=8, le=512)]
    channels: Literal[1, 3]
    classes: Names
    min_of_class: Count
    leave_out_small: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an image: (height, width), or (height, width, 3)."""
        return (self.height, self.width) if self.channels == 1 else (self.height, self.width, 3)

    @model_validator(mode="after")
    def _of_digits_is_28_grey(self) -> Self:
        if self.kind == "digits" and self.shape != (28, 28):
            raise ValueError("images: those of kind digits have 28×28 grey levels: set that, or kind: plain")
        return self


class Validate(Section):
    min_train: Count
    min_test: Count
    class_balance: Band
    max_share_difference: Share
    mean_pixel: Band
    ink_share: Band
    max_border_ink: float
    max_duplicate_share: Share
    max_leaked_share: Share


class Preprocess(Section):
    max_share_difference: Share


class Batches(Section):
    min_images: Count
    held_out: Annotated[float, Field(gt=0, lt=1)]
    max_images: Count
    max_mb: Positive
    max_memory_mb: Positive
    max_seconds: Positive
    max_suspected_labels: Share
    max_suspected_of_label: Share
    max_share_of_person: Share
    max_distance: Positive
    max_drifted_share: Share


class Augment(Section):
    """The bands within which each image of a batch is changed by its own draw, by ``training`` in its kind's folder."""

    shift: Annotated[float, Field(ge=0)] = 0.0
    rotate: Annotated[float, Field(ge=0)] = 0.0
    zoom: Annotated[float, Field(ge=0, lt=1)] = 0.0
    shear: Annotated[float, Field(ge=0, lt=1)] = 0.0
    elastic: Annotated[float, Field(ge=0)] = 0.0
    stroke: Share = 0.0
    paper: Share = 0.0
    clutter: Share = 0.0
    hands: Share = 0.0
    non_digits: Share = 0.0
    flip: bool = False
    colour: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def given(self, *names: str) -> list[str]:
        """Which of these bands are not zero."""
        return [name for name in names if getattr(self, name)]


class Network(BaseModel):
    """Which network, by its name in :mod:`pipeline.learning.networks`, and the settings its function takes."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    name: str

    @property
    def settings(self) -> dict[str, int | float | bool]:
        return self.model_extra or {}


class Recipe(Section):
    """A network and all that decides how it is fitted; what a recipe does not name it does without."""

    network: Network
    members: Count = 1
    val_share: Annotated[float, Field(gt=0, lt=1)]
    epochs: Count
    batch_size: Count
    min_steps_per_epoch: Count = 1
    optimizer: str
    learning_rate: Positive
    schedule: Literal["constant", "cosine"] = "constant"
    precision: Literal["float32", "bfloat16"] = "float32"
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    l1: Annotated[float, Field(ge=0)] = 0.0
    l2: Annotated[float, Field(ge=0)] = 0.0
    patience: Count | None = None
    augment: Augment = Augment()
    shift_averaged: bool = False
    balanced: bool = False


class Train(Section):
    recipe: str
    seed: Annotated[int, Field(ge=0, lt=2**31)]  # NumPy takes 32 bits, and members and trials count on from it
    workers: Annotated[int, Field(ge=1, le=64)]


TRAIN_IMAGES = "train_images"  # a key of a study's grid beside those of a recipe


StudyName = Annotated[str, Field(pattern=r"^[\w-]+$")]  # the name of a folder, and in MLflow's queries


class Study(Section):
    """A grid of trials over a recipe: one fit for each cell and seed."""

    question: str
    recipe: str | None = None
    """None: the one that trains"""
    train_images: Count | None = None
    """None: all"""
    seeds: Annotated[int, Field(ge=2)]
    common: dict[str, Any] = {}
    grid: Annotated[list[dict[str, Annotated[list[Any], Field(min_length=1)]]], Field(min_length=1)]

    @property
    def is_of_noise(self) -> bool:
        """Whether its trials are the recipe as it is, and differ in their seed alone."""
        return self.grid == [{}] and not self.common and self.train_images is None

    @model_validator(mode="after")
    def _counts_images(self) -> Self:
        for images in (value for block in self.grid for value in block.get(TRAIN_IMAGES, [])):
            if not isinstance(images, int) or images < 1:
                raise ValueError(f"{TRAIN_IMAGES} in the grid is {images!r}: give a whole number above 0")
        return self


class Evaluate(Section):
    mistakes: Count
    calibration_bins: Count
    corrupted: Count


class Drift(Section):
    max_distance: Share
    max_drifted_share: Share


class Monitor(Section):
    min_images: Count
    max_images: Count
    max_distance: Share
    max_drifted_share: Share
    bad: Count
    of: Count


class Retention(Section):
    versions: Count
    days: Count


Rate = Annotated[str, Field(pattern=r"^[1-9]\d*/(second|minute|hour)$")]


class Serving(Section):
    hosts: Names
    proxies: Names
    max_body_mb: Positive
    max_megapixels: Positive
    max_picture_seconds: Positive
    max_picture_mb: Positive
    max_images: Count
    max_seconds: Positive
    max_header_kb: Positive
    header_seconds: Positive
    connections: Count
    rate: Rate
    corrections: Rate
    shadow: bool
    keep_images: bool
    memory_mb: Positive


class Allowed(NamedTuple):
    """The largest losses in accuracy that the gate lets pass."""

    loss: float
    recent: float
    """on what is held out of the accepted batches alone"""


OTHER: Literal["other"] = "other"  # of losses by data set: for those that are not named
Loss = Annotated[float, Field(gt=0, le=0.5)]
Losses = dict[str, Loss]


def _with_other(losses: Losses) -> Losses:
    if OTHER not in losses:
        raise ValueError(f"the key {OTHER} is missing, the loss for data sets that are not named: add it")
    return losses


class Gate(Section):
    risk: Annotated[float, Field(gt=0, lt=1)]
    max_loss: Annotated[Losses, AfterValidator(_with_other)]
    max_loss_recent: Annotated[Losses, AfterValidator(_with_other)]
    look_share: Annotated[float, Field(gt=0, lt=1)]
    approval: Literal["gate", "person"]
    approval_hours: Positive
    min_accuracy: Share
    min_recall: Share
    max_gap: Share
    max_refused: Share
    min_non_digits_refused: Share
    min_recent_accuracy: Share
    min_recent_images: Count
    max_size_mb: Positive
    max_latency_ms: Positive
    max_trigger_success: Share
    max_latency_ratio: Positive

    def allowed(self, *names: str) -> Allowed:
        """What may be lost on a data set, by the first of its names that has a loss."""
        every = (self.max_loss, self.max_loss_recent)
        return Allowed(*(next(of[name] for name in (*names, OTHER) if name in of) for of in every))


class Params(Section):
    dataset: Dataset
    ingest: Ingest
    images: Images
    batches: Batches
    validate_: Validate = Field(alias="validate")  # pydantic's own models have a method `validate`
    preprocess: Preprocess
    train: Train
    recipes: dict[str, Recipe]
    evaluate: Evaluate
    drift: Drift
    monitor: Monitor
    serving: Serving
    gate: Gate
    retention: Retention
    studies: dict[StudyName, Study]

    @property
    def recipe(self) -> Recipe:
        """The recipe that trains."""
        return self.recipes[self.train.recipe]

    @property
    def named(self) -> str:
        """What the data set is called, and its model after it: one's own as ``ingest.name`` says."""
        return self.ingest.name if self.ingest.name and self.dataset in OWN else self.dataset

    def in_use(self) -> dict[str, Any]:
        """Every section as plain values, and of the recipes the one that trains, as ``recipe``."""
        return {**self.model_dump(by_alias=True, exclude={"recipes", "studies"}), "recipe": self.recipe.model_dump()}

    @model_validator(mode="after")
    def _knows_its_data_set(self) -> Self:
        if self.ingest.name in set(get_args(Dataset)) - {self.dataset}:
            raise ValueError(f"ingest.name is {self.ingest.name!r}, which is another data set's: call yours otherwise")
        known = {*get_args(Dataset), OTHER, self.ingest.name}
        for key in ("max_loss", "max_loss_recent"):
            for name in getattr(self.gate, key).keys() - known:
                raise ValueError(f"gate.{key} names {name!r}, which is no data set, nor ingest.name: correct it")
        return self

    @model_validator(mode="after")
    def _knows_its_recipe(self) -> Self:
        if self.train.recipe not in self.recipes:
            raise ValueError(f"train.recipe is {self.train.recipe!r}: choose one of {', '.join(self.recipes)}")
        return self


def load(path: Path | str = places.PARAMS) -> Params:
    """Read and check params.yaml; :class:`BadInput` has a line for each key that is wrong."""
    path = Path(path)
    try:
        return parse(path.read_text(encoding="utf-8"), path)
    except FileNotFoundError:
        raise BadInput(f"there is no {path} here: run this in the workspace's top folder") from None
    except (OSError, UnicodeError) as error:
        raise BadInput(f"{path} cannot be read as text ({error}): restore it") from None


def parse(text: str, path: Path) -> Params:
    """Check the ``text`` of a params.yaml; ``path`` is what a message calls it."""
    try:
        return Params.model_validate(_read(text, path, "safe"))
    except ValidationError as error:
        raise BadInput("\n".join(explained(path, error))) from None


def _read(text: str, path: Path, kind: Literal["safe", "rt"]) -> Any:
    """Plain values (safe), or a document that keeps its comments (rt): as DVC reads it, to which 1e-05 is a number."""
    try:
        return YAML(typ=kind).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        raise BadInput(f"{path} is not YAML: line {mark.line + 1}, column {mark.column + 1}: {error.problem}") from None
    except YAMLError as error:
        raise BadInput(f"{path} is not YAML: {brief(error)}") from None


def explained(path: Path | str, error: ValidationError) -> list[str]:
    """A line a thing that pydantic found wrong in the file (or part) ``path``. A key that is missing because it is
    misspelt is not told twice."""
    found = error.errors()
    missing = {each["loc"] for each in found if each["type"] == "missing"}
    nearest = {each["loc"]: _nearest(each["loc"], missing) for each in found if each["type"] == "extra_forbidden"}
    return [_line(path, each, nearest.get(each["loc"])) for each in found if each["loc"] not in nearest.values()]


Place = tuple[int | str, ...]  # of a key: the keys above it, and itself


def _nearest(place: Place, missing: set[Place]) -> Place | None:
    """What may have been meant by an unknown key: one that is missing there, else one that a section has."""
    *above, last = place
    here = [str(one[-1]) for one in missing if one[:-1] == tuple(above)]
    known = {field.alias or name for kind in Section.__subclasses__() for name, field in kind.model_fields.items()}
    close = difflib.get_close_matches(str(last), here, 1) or difflib.get_close_matches(str(last), sorted(known), 1)
    return (*above, close[0]) if close else None


def _line(path: Path | str, error: ErrorDetails, nearest: Place | None) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        meant = f"did you mean {nearest[-1]}?" if nearest else "remove it or correct its spelling"
        return f"{path}: {key} is an unknown key: {meant}"
    if error["type"] == "missing":
        return f"{path}: the key {key} is missing: add it"
    if error["type"] == "value_error" and not key:
        return f"{path}: {error['ctx']['error']}"
    return f"{path}: {key} is {error['input']!r}: {error['msg'][0].lower()}{error['msg'][1:]}"


def choose(path: Path | str = places.PARAMS, *, dataset: str | None = None, recipe: str | None = None) -> bool:
    """Put the workspace on another data set or recipe, and say whether it was on others: rewrite that one line, leave
    every other byte.

    A no-op where it is there already; :class:`BadInput`, nothing written, where there is no such data set or recipe.
    The writer has ruamel's own settings, as DVC's has: neither lays out anew what the other wrote.
    """
    path = Path(path)
    if dataset is not None and dataset not in get_args(Dataset):
        raise BadInput(f"there is no data set {dataset!r}: choose one of {', '.join(get_args(Dataset))}")
    now = load(path)
    if recipe is not None and recipe not in now.recipes:
        raise BadInput(f"there is no recipe {recipe!r} in {path}: choose one of {', '.join(now.recipes)}")
    if dataset in (None, now.dataset) and recipe in (None, now.train.recipe):
        return False
    document = _read(path.read_text(encoding="utf-8"), path, "rt")
    if dataset is not None:
        document["dataset"] = dataset
    if recipe is not None:
        document["train"]["recipe"] = recipe
    written = io.StringIO()
    YAML().dump(document, written)
    parse(written.getvalue(), path)
    files.write_text(path, written.getvalue())
    return True
