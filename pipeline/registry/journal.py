"""What was written down of a model, in which order? Entries in the tags of an MLflow run; none is ever changed.

Tags of a registered model would come along each time that anybody asks for its aliases, and Postgres takes no more than
5,000 characters of one. Here an entry is as many tags as it takes, `NUMBER.OWN.PART-of-PARTS`; it counts once all of
them are there, so that one that was cut off never was. The number says the order, whatever the clocks of the machines
say; two entries with one number, of two machines that no lock kept apart, are both kept. Each holds the digest of the
one before it, so that none is changed or taken out unseen but the last.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.registry import versions

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import RegisteredModel

PIECE = 4000  # characters of a tag; MLflow allowed 5,000 before it allowed 8,000
BATCH = 100  # tags of a request, by MLflow's limit
_POINTER = "journal."  # a registered model's tag key: journal.<kind>, its value the run
_LOST = "lost"  # instead of a digest: the run that held the entries before was deleted, which stays told
_KEY = re.compile(r"(\d+)\.([^.]+)\.(\d+)-of-(\d+)")
_EXPERIMENT = "journal of "
_NOTE = (
    "Kept by the pipeline, entry by entry, in the tags: not to be changed by hand. `digits history` tells it in words."
)


def append(client: MlflowClient, name: str, kind: str, entry: dict[str, Any]) -> None:
    """Write an entry after all others. To be called with the registry locked."""
    from mlflow.entities import RunTag

    pointer = _pointer(versions.find(client, name), kind)
    found = _run(client, pointer)
    lost = pointer is not None and found is None
    run = found or _begin(client, name, kind)
    texts = _texts(run)
    number = texts[-1][0] + 1 if texts else 1
    before = _LOST if lost else _digest(texts[-1][1] if texts else "")
    text = json.dumps({"entry": entry, "before": before})
    pieces = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
    own = uuid.uuid4().hex[:8]
    tags = [
        RunTag(f"{number:08d}.{own}.{part:04d}-of-{len(pieces):04d}", piece) for part, piece in enumerate(pieces, 1)
    ]
    for start in range(0, len(tags), BATCH):
        client.log_batch(run.info.run_id, tags=tags[start : start + BATCH])


class Journal(NamedTuple):
    """What is there."""

    entries: list[dict[str, Any]]
    """oldest first"""
    whole: bool
    """false if a run is gone, or an entry was changed or taken out, or a tag put among them"""


def read(client: MlflowClient, model: RegisteredModel | None, kind: str) -> Journal:
    pointer = _pointer(model, kind)
    run = _run(client, pointer)
    if run is None:
        return Journal([], whole=pointer is None)
    entries, whole = [], all(_KEY.fullmatch(key) for key in run.data.tags if key.partition(".")[0].isdecimal())
    before: tuple[str, ...] = (_digest(""),)
    for _, text in _texts(run):
        written = _parsed(text)
        whole = whole and written is not None and written["before"] in before
        before = (_digest(text),)
        if written:
            entries.append(written["entry"])
            before = (*before, written["before"])  # of an entry with the same number
    return Journal(entries, whole)


def _parsed(text: str) -> dict[str, Any] | None:
    """What :func:`append` wrote; None if it no longer is that."""
    try:
        written = json.loads(text)
        form = {key: type(value) for key, value in written.items()}
    except (ValueError, AttributeError):
        return None
    return written if form == {"entry": dict, "before": str} else None


def begin_again(client: MlflowClient, name: str, kind: str) -> None:
    """Point to a new run, without entries; the old one stays where it is."""
    _begin(client, name, kind)


def _begin(client: MlflowClient, name: str, kind: str) -> Run:
    versions.create(client, name)
    experiment = versions.experiment(client, f"{_EXPERIMENT}{name}", _NOTE)
    run = client.create_run(experiment, run_name=f"{kind} of {name}", tags={versions.NOTE: _NOTE})
    client.set_terminated(run.info.run_id)
    client.set_registered_model_tag(name, f"{_POINTER}{kind}", run.info.run_id)
    return run


def _run(client: MlflowClient, pointer: str | None) -> Run | None:
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(pointer) if pointer else None
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return run if run and run.info.lifecycle_stage == "active" else None


def _pointer(model: RegisteredModel | None, kind: str) -> str | None:
    """The run's id."""
    return model.tags.get(f"{_POINTER}{kind}") if model else None


def _texts(run: Run) -> list[tuple[int, str]]:
    """The entries that are whole, with their numbers, in order."""
    pieces: dict[tuple[int, str, int], dict[int, str]] = defaultdict(dict)
    for key, value in run.data.tags.items():
        if form := _KEY.fullmatch(key):
            number, own, place, count = form.groups()
            pieces[int(number), own, int(count)][int(place)] = value
    return [
        (number, "".join(parts[place] for place in sorted(parts)))
        for (number, _, count), parts in sorted(pieces.items())
        if len(parts) == count
    ]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
