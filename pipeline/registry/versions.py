"""Which model is in use, which was, and why? The MLflow registry: versions, aliases, promotion, rollback, history.

A registered model ``<dataset>-cnn`` has at most one ``champion`` (in use) and one ``challenger`` (to be judged).
Aliases keep no history in MLflow, so each change is also an event in a tag of the registered model.
"""

from __future__ import annotations

import getpass
import json
import logging
import math
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipeline.base import files
from pipeline.base.errors import BadInput

if TYPE_CHECKING:  # MLflow takes a second to import, and `digits predict` does without it where it can
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

CHAMPION = "champion"
CHALLENGER = "challenger"
DATABASE = Path("mlflow.db")
ARTIFACTS = Path("mlartifacts")  # not mlruns: a folder of that name flips MLflow's default back to its file store
CACHE = Path(".cache/champion.json")
VERSIONS = Path(".cache/versions")
LOCK = Path(".cache/registry.lock")
LOCK_SECONDS = 60.0
PROMOTED, REFUSED, ROLLED_BACK = "promoted", "refused", "rolled back"
_HOLDER = "another promotion or registration: wait for it and try again"
_POSTGRES_LOCK = 0x6D6C666C6F77  # any number that every client agrees on
_LOCK_NOT_AVAILABLE = "55P03"  # Postgres' code for a lock that was waited for in vain
_SETTLED_NS = 1_000_000_000  # a file younger than this may change again without its time of change telling
_NOISE = "noise."  # tag keys: noise.<recipe>
_SQLITE = "sqlite:///"
_EVENT = "event."  # tag keys: event.<UTC time>, so that they sort by time


def model_name(dataset: str) -> str:
    return f"{dataset}-cnn"


def tracking_uri(workspace: Path = Path()) -> str:
    """MLFLOW_TRACKING_URI if set, else the workspace's own SQLite file; a relative path there is the workspace's."""
    given = os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}{DATABASE}"
    if not given.startswith(_SQLITE):
        return given
    return f"{_SQLITE}{(workspace / given.removeprefix(_SQLITE)).resolve()}"


def home() -> Path:
    """The folder in which the registry's artifacts and lock lie, and the alerts: its SQLite file's, else the checkout
    that scheduled runs serve (DIGITS_HOME), else the one that this runs in."""
    uri = tracking_uri()
    if uri.startswith("sqlite:///"):
        return Path(uri.removeprefix("sqlite:///")).parent
    return Path(os.environ.get("DIGITS_HOME", ".")).resolve()


def connect() -> MlflowClient:
    """The registry's client, with MLflow's bars for local copies off unless the environment says otherwise."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    logging.getLogger("mlflow.store.db").setLevel(logging.WARNING)  # it tells of each table it creates
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri())


def create(client: MlflowClient, name: str) -> None:
    """The registered model of that name, made if it is not there."""
    if _model(client, name) is None:
        client.create_registered_model(name, description="Reads handwritten digits; see each version's model card.")


def _model(client: MlflowClient, name: str) -> RegisteredModel | None:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def experiment(client: MlflowClient, name: str) -> str:
    """The experiment's id. Its artifacts lie where DIGITS_ARTIFACTS says (a folder, or an address as s3://models), else
    beside the registry's database; a tracking server has a place of its own for them."""
    found = client.get_experiment_by_name(name)
    if found:
        return str(found.experiment_id)
    served = tracking_uri().startswith("http")
    place = None if served else os.environ.get("DIGITS_ARTIFACTS") or str(home() / ARTIFACTS)
    return str(client.create_experiment(name, artifact_location=place))


@contextmanager
def locked() -> Iterator[None]:
    """One change of the registry at a time; :class:`BadInput` if another one does not end.

    A registry in Postgres is locked for every machine, by an advisory lock; another one for this machine.
    """
    with _locked_in_postgres() if tracking_uri().startswith("postgresql") else _locked_here():
        yield


@contextmanager
def _locked_here() -> Iterator[None]:
    from filelock import FileLock, Timeout

    path = home() / LOCK
    path.parent.mkdir(exist_ok=True)
    try:
        with FileLock(path, timeout=LOCK_SECONDS):
            yield
    except Timeout:
        raise BadInput(f"{path} is held by {_HOLDER}") from None


@contextmanager
def _locked_in_postgres() -> Iterator[None]:
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import OperationalError
    from sqlalchemy.pool import NullPool

    with create_engine(tracking_uri(), poolclass=NullPool).connect() as connection:
        connection.execute(text(f"SET lock_timeout = {int(1000 * LOCK_SECONDS)}"))
        try:
            connection.execute(text(f"SELECT pg_advisory_lock({_POSTGRES_LOCK})"))
        except OperationalError as error:
            if getattr(error.orig, "pgcode", None) != _LOCK_NOT_AVAILABLE:
                raise
            raise BadInput(f"the registry's lock in Postgres is held by {_HOLDER}") from None
        yield  # closing the connection lets the lock go, whatever happened


def aliases(client: MlflowClient, name: str) -> dict[str, str]:
    """Which alias points to which version; empty if the model does not exist."""
    model = _model(client, name)
    return {alias: str(number) for alias, number in model.aliases.items()} if model else {}


def aliased(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """The version that ``alias`` points to; None if the model or the alias does not exist."""
    number = aliases(client, name).get(alias)
    return client.get_model_version(name, number) if number else None


def champion(client: MlflowClient, name: str) -> ModelVersion:
    """The champion; :class:`BadInput` if there is none yet."""
    version = aliased(client, name, CHAMPION)
    if version is None:
        raise BadInput(f"{name} has no champion yet: run `dvc repro`, then `digits promote`")
    return version


def version(client: MlflowClient, name: str, number: str) -> ModelVersion:
    """The version of that number, or the one an alias of that name points to; :class:`BadInput` if there is none."""
    from mlflow.exceptions import MlflowException

    found = aliased(client, name, number)
    if found is None and number.isdecimal():
        with suppress(MlflowException):
            found = client.get_model_version(name, number)
    if found is None:
        raise BadInput(f"{name} has no version {number}: `digits history` lists what there is")
    return found


def with_weights(client: MlflowClient, name: str, digest: str) -> ModelVersion | None:
    """The version that holds these weights, if they were registered before."""
    found = client.search_model_versions(f"name='{name}' and tag.weights_sha256='{digest}'")
    return found[0] if found else None


def note_noise(client: MlflowClient, name: str, recipe: str, accuracies: Sequence[float]) -> dict[str, Any]:
    """Keep with the model how far fits of a recipe that differ in their seed alone lie apart; returns what was kept."""
    noise = {
        "std": statistics.stdev(accuracies),
        "seeds": len(accuracies),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    create(client, name)
    client.set_registered_model_tag(name, f"{_NOISE}{recipe}", json.dumps(noise))
    return noise


def noise_margin(client: MlflowClient, name: str, recipe: str) -> float:
    """By how much two fits of the recipe may differ in accuracy by their seed alone; 0 where that was not measured."""
    model = _model(client, name)
    noted = model and model.tags.get(f"{_NOISE}{recipe}")
    return margin(json.loads(noted)["std"]) if noted else 0.0


def margin(std: float) -> float:
    """What the difference of two draws of that standard deviation exceeds once in twenty times."""
    return 1.96 * math.sqrt(2) * std


def describe(client: MlflowClient, version: ModelVersion) -> dict:
    """Where a version came from, what it measured, the verdict on it, and whom it replaced.

    :class:`BadInput` if it was not registered by this pipeline.
    """
    _check_ours(version)
    run = client.get_run(str(version.run_id))
    promotions = [
        e for e in history(client, version.name) if e["event"] == PROMOTED and e["version"] == str(version.version)
    ]
    lineage = ("dataset", "recipe", "git_commit", "git_clean", "machine")
    return {
        "model": version.name,
        "version": str(version.version),
        "aliases": [alias for alias in (CHAMPION, CHALLENGER) if _points_to(client, alias, version)],
        "created": datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).isoformat(timespec="seconds"),
        "run_id": version.run_id,
        "lineage": {key: value for key, value in version.tags.items() if key in lineage or key.startswith("dvc.")},
        "params": run.data.params,
        "weights_sha256": version.tags["weights_sha256"],
        "metrics": metrics(version),
        "verdict": json.loads(version.tags.get("gate", "null")),
        "replaced": promotions[-1]["previous"] if promotions else None,
    }


def metrics(version: ModelVersion) -> dict[str, Any]:
    """What the version measured when it was registered."""
    measured: dict[str, Any] = json.loads(version.tags["metrics"])
    return measured


def _points_to(client: MlflowClient, alias: str, version: ModelVersion) -> bool:
    found = aliased(client, version.name, alias)
    return found is not None and found.version == version.version


def onnx_file(client: MlflowClient, version: ModelVersion) -> Path:
    """The version's ONNX model on this disk, its digest checked against the one it was registered with."""
    _check_ours(version)
    path = download(client, version) / "model.onnx"
    if not path.is_file() or files.sha256_file(path) != version.tags["onnx_sha256"]:
        shutil.rmtree(_kept(version), ignore_errors=True)  # a copy that was damaged here is fetched anew the next time
        raise BadInput(
            f"the ONNX file of {version.name} version {version.version} is missing or not the one that was registered "
            f"({path}): restore it from a backup, or `digits rollback`"
        )
    return path


def _check_ours(version: ModelVersion) -> None:
    if not {"onnx_sha256", "weights_sha256", "metrics"} <= set(version.tags) or not version.run_id:
        raise BadInput(f"{version.name} version {version.version} was not registered by this pipeline: name another")


def champion_file(name: str) -> tuple[str, Path]:
    """The champion's number and its ONNX file, digest checked; :class:`BadInput` if there is none.

    Asking MLflow takes two seconds, most of them imports. A registry that is an SQLite file is not asked again while
    the file is the very one of the last answer: no alias can have moved.
    """
    database = _database_state()
    with suppress(OSError, ValueError, KeyError):
        known = files.read_json(CACHE)
        path = Path(known["onnx"])
        if [known["name"], known["database"]] == [name, database] and files.sha256_file(path) == known["sha256"]:
            return known["version"], path
    client = connect()
    version = champion(client, name)
    path = onnx_file(client, version)
    if database and time.time_ns() - max(state[1] for state in database) > _SETTLED_NS:
        facts = {"name": name, "database": database, "version": str(version.version), "onnx": str(path)}
        files.write_json(CACHE, {**facts, "sha256": files.sha256_file(path)})
    return str(version.version), path


def _database_state() -> list[list]:
    """Path, time of the last change and size of the registry's SQLite file and its journals; empty for any other."""
    uri = tracking_uri()
    if not uri.startswith("sqlite:///"):
        return []
    paths = [Path(uri.removeprefix("sqlite:///") + suffix) for suffix in ("", "-wal", "-journal")]
    return [[str(path), path.stat().st_mtime_ns, path.stat().st_size] for path in paths if path.is_file()]


def download(client: MlflowClient, version: ModelVersion) -> Path:
    """The folder with the version's files: the artifact store's own where that is on this disk, else a copy that is
    kept in .cache/versions, so that it is fetched once and is there while the store is away."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    kept = _kept(version)
    if kept.is_dir():
        return kept
    try:
        place = _place(client, version)
        if _is_local(place):
            return Path(download_artifacts(place, tracking_uri=tracking_uri()))
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as part:
            folder = Path(download_artifacts(place, dst_path=part, tracking_uri=tracking_uri()))
            if not kept.is_dir():  # else another process was quicker
                folder.rename(kept)
    except (MlflowException, OSError) as error:
        raise BadInput(f"the files of {version.name} version {version.version} cannot be read: {error}") from None
    return kept


def erase(client: MlflowClient, version: ModelVersion) -> None:
    """Delete the version, then its run and files: what is registered must never lack its files."""
    folder = _kept(version)
    with suppress(BadInput):  # files that are gone already are no reason to keep their name
        if _is_local(_place(client, version)):
            folder = download(client, version)
    client.delete_model_version(version.name, str(version.version))
    if version.run_id:
        client.delete_run(version.run_id)
    if home() in folder.resolve().parents:  # a tracking server's own store is the server's to clean
        shutil.rmtree(folder, ignore_errors=True)


def _place(client: MlflowClient, version: ModelVersion) -> str:
    """The address of the version's files: `models:/NAME/VERSION` would be looked up in whatever registry MLflow was
    last set to."""
    place: str = client.get_model_version_download_uri(version.name, str(version.version))
    return place


def _is_local(place: str) -> bool:
    return urlsplit(place).scheme in ("", "file")


def _kept(version: ModelVersion) -> Path:
    return home() / VERSIONS / version.name / f"{version.version}-{version.run_id}"


def crown(client: MlflowClient, version: ModelVersion, verdict: dict, **details: Any) -> dict:
    """Make ``version`` champion, write the event down and return it. The alias moves after it, in one call."""
    previous = aliased(client, version.name, CHAMPION)
    before = previous.version if previous else None
    event = record(client, version, PROMOTED, previous=before, verdict=verdict, **details)
    client.set_registered_model_alias(version.name, CHAMPION, version.version)
    challenger = aliased(client, version.name, CHALLENGER)
    if challenger and challenger.version == version.version:
        client.delete_registered_model_alias(version.name, CHALLENGER)
    return event


def reinstate(client: MlflowClient, version: ModelVersion, replaced: str, proof: dict, **details: Any) -> dict:
    """Give the champion's alias back to ``version``, write the event down and return it."""
    event = record(client, version, ROLLED_BACK, previous=replaced, proof=proof, **details)
    client.set_registered_model_alias(version.name, CHAMPION, version.version)
    return event


def record(client: MlflowClient, version: ModelVersion, event: str, previous: str | None, **details: Any) -> dict:
    """Append to the model's history: what happened to which version, when, by whom, and every number behind it."""
    now = datetime.now(UTC)
    entry = {
        "at": now.isoformat(timespec="seconds"),
        "event": event,
        "version": str(version.version),
        "previous": previous and str(previous),
        "by": person(),
        **details,
    }
    client.set_registered_model_tag(version.name, f"{_EVENT}{now:%Y%m%dT%H%M%S%fZ}", json.dumps(entry))
    if "verdict" in details:
        client.set_model_version_tag(version.name, version.version, "gate", json.dumps(details["verdict"]))
    return entry


def person() -> str:
    """Who does this: DIGITS_USER, else the name that the system knows."""
    return os.environ.get("DIGITS_USER") or getpass.getuser()


def history(client: MlflowClient, name: str) -> list[dict]:
    """Every decision on the model's versions, oldest first."""
    model = _model(client, name)
    if model is None:
        return []
    events = [json.loads(model.tags[key]) for key in sorted(model.tags) if key.startswith(_EVENT)]
    in_use = model.aliases.get(CHAMPION)
    return _took_effect(events, in_use and str(in_use))


def _took_effect(events: list[dict], in_use: str | None) -> list[dict]:
    """Leave out changes that were cut off between writing the event and moving the alias.

    Read backwards from the champion in use: such an event is one whose ``previous`` is still the champion after it.
    """
    kept = []
    for event in reversed(events):
        if event["event"] in (PROMOTED, ROLLED_BACK):
            if event["version"] != in_use == event["previous"]:
                continue
            in_use = event["previous"]
        kept.append(event)
    return kept[::-1]


def previous_champion(events: list[dict]) -> str | None:
    """Whom a rollback returns to: the champion before the one in use; a second rollback goes one further back."""
    reigns: list[str] = []
    for event in events:
        if event["event"] == PROMOTED:
            reigns.append(event["version"])
        elif event["event"] == ROLLED_BACK:
            reigns.pop()
    return reigns[-2] if len(reigns) > 1 else None
