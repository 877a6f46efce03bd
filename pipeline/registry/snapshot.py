"""What did the registry last say, and does that still hold? Answers to look at, without MLflow's import of two seconds.

A registry that is an SQLite file is asked once and not again while the file is the very one of that answer: no alias
can have moved. Any other registry is asked each time.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pydantic import ValidationError

from pipeline.base import files, places
from pipeline.base.errors import BadInput
from pipeline.registry import artifacts, history, versions
from pipeline.registry.records import Event, Facts, Record

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

FORM = 1
DESCRIBED = 10  # of the newest versions; an older one is looked up when it is asked for
_CHANGE_COUNTER = slice(24, 28)  # of an SQLite file: https://www.sqlite.org/fileformat.html, section 1.3.9


class Snapshot(Record):
    """A registered model as it stood."""

    form: int
    """which fields there are: another release's snapshot is none"""
    database: list[list[Any]]
    """the state of the registry's file"""
    aliases: dict[str, str]
    facts: dict[str, Facts]
    """of the newest versions and the champion, by number; without those that cannot be described"""
    events: tuple[Event, ...]
    onnx: str | None
    """the champion's file, if it is there and whole"""
    onnx_sha256: str | None


def read(name: str) -> Snapshot:
    """The model as it stands."""
    return _kept(name) or take(versions.connect(), name)


def refresh(client: MlflowClient, name: str) -> None:
    """Keep what the registry says now, after a change that was made: a fault of this is none of the change."""
    with suppress(Exception):
        if places.registry_file():
            take(client, name)


def take(client: MlflowClient, name: str) -> Snapshot:
    """Ask the registry, and keep what it says where its file can tell that it still holds."""
    database = state()
    aliases, events = versions.aliases(client, name), history.events(client, name)
    asked = {str(version.version): version for version in versions.newest(client, name, DESCRIBED) if database}
    onnx = sha256 = None
    if number := aliases.get(versions.CHAMPION):
        champion = asked.setdefault(number, client.get_model_version(name, number))
        with suppress(BadInput):  # who wants the file is told then
            onnx, sha256 = str(artifacts.onnx_file(client, champion)), champion.tags["onnx_sha256"]
    snapshot = Snapshot(
        form=FORM,
        database=database,
        aliases=aliases,
        facts=_described(client, asked, aliases, events),
        events=tuple(events),
        onnx=onnx,
        onnx_sha256=sha256,
    )
    if database:
        with suppress(OSError):  # a full disk: the answer is known all the same
            files.private_folder(_place(name).parent)
            files.write_json(_place(name), snapshot.model_dump(mode="json", exclude_unset=True))
    return snapshot


def _described(
    client: MlflowClient, asked: dict[str, ModelVersion], aliases: dict[str, str], events: list[Event]
) -> dict[str, Facts]:
    from mlflow.exceptions import MlflowException

    facts = {}
    for number, version in asked.items():
        with suppress(BadInput, MlflowException):  # of other means, or its run was deleted: told when it is asked for
            facts[number] = history.describe(client, version, aliases, events)
    return facts


def _kept(name: str) -> Snapshot | None:
    with suppress(OSError, ValidationError):
        kept = Snapshot.model_validate_json(_place(name).read_bytes())
        if kept.form == FORM and kept.database and kept.database == state():
            return kept
    return None


def _place(name: str) -> Path:
    return places.home() / places.SNAPSHOTS / f"{quote(name, safe='')}.json"


def state() -> list[list[Any]]:
    """What changes with every change of the registry's SQLite file; empty for any other registry."""
    database = places.registry_file()
    if database is None or not database.is_file():
        return []
    with database.open("rb") as file:
        counter = file.read(_CHANGE_COUNTER.stop)[_CHANGE_COUNTER].hex()
    found: list[list[Any]] = []
    for path in (database, Path(f"{database}-wal"), Path(f"{database}-journal")):
        with suppress(FileNotFoundError):  # a journal comes and goes with a change
            stat = path.stat()
            found.append([str(path), stat.st_mtime_ns, stat.st_size, counter])
    return found


def champion(name: str) -> Facts:
    """The champion's facts; :class:`BadInput` if there is none yet."""
    snapshot = read(name)
    number = snapshot.aliases.get(versions.CHAMPION)
    if number is None:
        raise versions.no_champion(versions.connect(), name)
    return snapshot.facts.get(number) or version(name, number)


def version(name: str, number: str) -> Facts:
    """The facts of the version of that number or alias; :class:`BadInput` if there is none, or none of ours."""
    kept = _kept(name)
    known = kept and kept.facts.get(kept.aliases.get(number, number))
    if known:
        return known
    client = versions.connect()
    return history.describe(client, versions.version(client, name, number))


def events(name: str) -> tuple[Event, ...]:
    """Every decision on the model's versions, oldest first; :class:`BadInput` if there are other models alone."""
    kept = _kept(name)
    if kept and kept.events:
        return kept.events
    client = versions.connect()
    if versions.instead_of(client, name):
        raise versions.no_champion(client, name)
    return tuple(history.events(client, name))


def champion_file(name: str) -> tuple[str, Path]:
    """The champion's number and its ONNX file, digest checked; :class:`BadInput` if there is none."""
    snapshot = read(name)
    number = snapshot.aliases.get(versions.CHAMPION)
    path = Path(snapshot.onnx or "")
    if number and path.is_file() and files.sha256_file(path) == snapshot.onnx_sha256:
        return number, path
    client = versions.connect()
    found = versions.champion(client, name)
    return str(found.version), artifacts.onnx_file(client, found)
