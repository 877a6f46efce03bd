"""Which images should people label, and what comes of it when they have?

Drift that brings no labels is not cured by another training on the same data. The images in use of which the champion
was least sure are the ones to ask about (uncertainty sampling, Lewis & Gale 1994); they lie in a folder with a picture
each and a file for Label Studio, and each person's labels in a file of their own. What the people agree on becomes a
batch that `digits add-batch` takes.
"""

import base64
import json
import re
import sqlite3
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import cv2
import numpy as np
from filelock import FileLock
from mlflow import MlflowClient

from pipeline.base import files, places
from pipeline.base.errors import BadInput
from pipeline.base.form import DIGITS, Form
from pipeline.data.datasets import bounds, decoders
from pipeline.data.datasets.bounds import Bounds
from pipeline.learning import inference
from pipeline.monitoring import live
from pipeline.registry import artifacts, versions

IMAGES, TASKS, LABELS = "images.npz", "label-studio.json", "labels"  # in the folder
MOST = 100  # images: a quarter of an hour of one person's
MOST_PEOPLE = 1_000
LIMITS = Bounds(1_000, 500_000_000)  # of such a folder, and of what comes back: it may be anybody's
PERSON = re.compile(r"[\w.@+-]{1,64}")
SKIPPED = ""  # a person's word on what shows none of the classes


class Merged(NamedTuple):
    """What people said of a folder's images."""

    labels: dict[int, str]
    """by image: what most of those who labelled it say"""
    agreed: int
    """images on which two or more say one thing"""
    disputed: list[int]
    """images on which as many say another thing"""
    skipped: int
    """images that most call none of the classes"""


def choose(connection: sqlite3.Connection, model: str, form: Form = DIGITS, most: int = MOST) -> np.ndarray:
    """The remembered images of which the model's versions were least sure, each once, without those that a person has
    corrected: uint8 (at most ``most``, *form.shape), the least sure first; none where no images are kept."""
    rows = connection.execute(
        "SELECT image FROM seen WHERE model = ? AND length(image) = ?"
        " AND NOT EXISTS (SELECT 1 FROM corrections WHERE corrections.image = seen.image)"
        " GROUP BY image ORDER BY min(confidence), image LIMIT ?",
        (model, int(np.prod(form.shape)), most),
    ).fetchall()
    images = [np.frombuffer(image, np.uint8).reshape(form.shape) for (image,) in rows]
    return np.stack(images) if images else np.empty((0, *form.shape), np.uint8)


def write(folder: Path, images: np.ndarray, form: Form) -> None:
    """Leave the images uint8 (N, *shape) to be labelled: as arrays, as pictures, and as tasks for Label Studio."""
    files.private_folder(folder)  # what people drew is nobody else's business
    tasks = []
    for number, image in enumerate(images):
        _, content = cv2.imencode(".png", image if form.shape[2:] != (3,) else cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        with files.atomic(folder / f"{number:04}.png") as part:
            part.write_bytes(content.tobytes())
        uri = f"data:image/png;base64,{base64.b64encode(content.tobytes()).decode()}"
        tasks.append({"data": {"image": uri, "number": number}})
    files.write_json(folder / TASKS, tasks)
    with files.atomic(folder / IMAGES) as part:
        np.savez_compressed(part, allow_pickle=False, images=images, classes=np.array(form.classes))


def read(folder: Path) -> tuple[np.ndarray, list[str]]:
    """The images of such a folder, uint8 (N, *shape), and its classes; :class:`BadInput` if it is none."""
    path = folder / IMAGES
    if path.exists():
        with bounds.opened(path, LIMITS) as file:
            arrays = decoders.read_npz(file, str(path), LIMITS)
        images, classes = arrays.get("images"), arrays.get("classes")
        if _are_images(images) and classes is not None and classes.ndim == 1 and classes.dtype.kind == "U":
            return images, classes.tolist()
    raise BadInput(f"{folder} holds no images to label: name a folder below {places.LABELLING}")


def _are_images(found: np.ndarray | None) -> TypeGuard[np.ndarray]:
    return found is not None and found.dtype == np.uint8 and found.ndim in (3, 4) and found.size > 0


def of(folder: Path, person: str) -> dict[int, str]:
    """What that person said so far, by image."""
    path = _file(folder, person)
    return _labels(path) if path.exists() else {}


def keep(folder: Path, person: str, labels: Mapping[int, str]) -> None:
    """Keep a person's labels, by image, beside those of other images; :data:`SKIPPED` is one too."""
    path = _file(folder, person)
    files.private_folder(path.parent)
    with FileLock(path.parent / ".lock"):  # the same person may label in two windows
        said = {**of(folder, person), **labels}
        files.write_json(path, {str(number): label for number, label in sorted(said.items())})


def _file(folder: Path, person: str) -> Path:
    if not PERSON.fullmatch(person) or person.startswith("."):
        raise BadInput(f"{person!r:.100} is no name for a file: give --by letters, digits, dots, dashes, + and @")
    return folder / LABELS / f"{person}.json"


def _labels(path: Path) -> dict[int, str]:
    """A person's file; :class:`BadInput` if it is none."""
    with suppress(ValueError, AttributeError, RecursionError):
        said = {int(number): label for number, label in _json(path).items()}
        if all(isinstance(label, str) for label in said.values()):
            return said
    raise BadInput(f"{path} is no file of labels: mend or remove it")


def merge(folder: Path) -> Merged:
    """What the people who labelled the folder's images agree on: of each image what most of them say."""
    images, classes = read(folder)
    said: dict[int, Counter[str]] = {}
    for path in sorted((folder / LABELS).glob("[!.]*.json")):
        for number, label in _labels(path).items():
            if 0 <= number < len(images) and label in (*classes, SKIPPED):
                said.setdefault(number, Counter())[label] += 1
    labels, agreed, disputed, skipped = {}, 0, [], 0
    for number, counts in sorted(said.items()):
        (first, most), *others = counts.most_common(2)
        if others and others[0][1] == most:
            disputed.append(number)
            continue
        agreed += most > 1
        skipped += first == SKIPPED
        if first != SKIPPED:
            labels[number] = first
    return Merged(labels, agreed, disputed, skipped)


def write_batch(folder: Path, merged: Merged) -> Path:
    """The images on which people agree with their labels, as a file that `digits add-batch` takes; its path.
    :class:`BadInput` if there are none."""
    if not merged.labels:
        raise BadInput(f"no image of {folder} has a label that people agree on: `digits label {folder}` first")
    images, _ = read(folder)
    path = folder / "batch.npz"
    with files.atomic(path) as part:
        np.savez_compressed(part, images=images[list(merged.labels)], labels=np.array(list(merged.labels.values())))
    return path


def from_label_studio(folder: Path, export: Path) -> dict[str, int]:
    """Take in what Label Studio exported (JSON) of the folder's tasks: how many labels of each person it holds.
    :class:`BadInput` if it is no such export, is of other images, or names a class that there is not; nothing is kept
    then."""
    _, classes = read(folder)
    said: dict[str, dict[int, str]] = {}
    try:
        asked = {task["data"]["image"]: task["data"]["number"] for task in _json(folder / TASKS)}
        for task in _json(export):
            number = asked.get(task["data"]["image"])  # numbers alone are those of any folder's
            for one in task["annotations"]:
                label = _choice(one)
                if label not in (*classes, SKIPPED) or number is None:
                    raise BadInput(f"{export} labels an image that {folder} has not, or as {label!r:.100}")
                said.setdefault(_annotator(one), {})[number] = label
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise BadInput(f"{export} is no JSON export of Label Studio of the tasks in {folder / TASKS}") from None
    if len(said) > MOST_PEOPLE:
        raise BadInput(f"{export} has labels of more than {MOST_PEOPLE:,} people: give it in parts")
    for person in said:
        of(folder, person)  # all are names, of files that can be read, before the first is kept
    for person, labels in said.items():
        keep(folder, person, labels)
    return {person: len(labels) for person, labels in said.items()}


def _json(path: Path) -> Any:
    return json.loads(bounds.content(path, LIMITS))


def _choice(annotation: dict[str, Any]) -> str:
    """The class that was chosen; none where the task was skipped."""
    chosen = [one["value"]["choices"][0] for one in annotation["result"] if one["type"] == "choices"]
    return str(chosen[0]) if chosen else SKIPPED


def _annotator(annotation: dict[str, Any]) -> str:
    """Who made it: an e-mail address, or the number of a user."""
    by = annotation.get("completed_by")
    return str(by.get("email") or by["id"]) if isinstance(by, dict) else f"label-studio-{by}"


def ask(client: MlflowClient, name: str, at: str) -> Path | None:
    """Leave the images to ask people about, those that the champion of ``name`` was asked about, in a folder named by
    ``at``, a time; None where none are remembered."""
    form = inference.form_of(artifacts.onnx_file(client, versions.champion(client, name)))
    with live.store(kind=form.kind) as connection:
        images = choose(connection, name, form)
    if not len(images):
        return None
    folder = places.home() / places.LABELLING / at.replace(":", "")
    write(folder, images, form)
    return folder
