"""Which versions are there, and what do the aliases point to? MLflow's model registry.

A registered model ``<dataset>-cnn`` has at most one ``champion`` (in use) and one ``challenger`` (to be judged).
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.base import files, places
from pipeline.base.errors import BadInput, TemporaryFault

if TYPE_CHECKING:  # MLflow takes a second to import, and `digits predict` does without it where it can
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

CHAMPION = "champion"
CHALLENGER = "challenger"
LOCK_SECONDS = 60.0
NOTE = "mlflow.note.content"  # a tag that MLflow's pages show as a description
ABOUT = (
    "The alias `champion` is the version in use, `challenger` the one to be judged. Each version's description is its "
    "model card; its tag `verdict` says what the gate decided."
)
_HOLDER = "another promotion or registration: wait for it and try again"
_POSTGRES_LOCK = 0x6D6C666C6F77  # any number that every client agrees on
_LOCK_NOT_AVAILABLE = "55P03"  # Postgres' code for a lock that was waited for in vain


def model_name(dataset: str) -> str:
    return f"{dataset}-cnn"


def connect() -> MlflowClient:
    """The registry's client, with MLflow's bars for local copies off unless the environment says otherwise."""
    if database := places.registry_file():
        files.private_file(database)
    return _client(places.tracking_uri())


def _client(uri: str) -> MlflowClient:
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # It tells of each table it creates, and of each fault with a traceback, before it raises that.
    logging.getLogger("mlflow.store.db").setLevel(logging.CRITICAL)
    from mlflow import MlflowClient

    return MlflowClient(uri)


def connect_first() -> MlflowClient:
    """:func:`connect` where there may be no tables yet: one process makes them, another one waits for that.

    A SQLite file is there once all of them are: MLflow makes them in some seventy steps, and never opens a file again
    where it was killed between two.
    """
    with alone(places.TABLES_LOCK, LOCK_SECONDS):
        database = places.registry_file()
        if database and not (database.is_file() and database.stat().st_size):
            with files.atomic(database) as part:
                _make_tables(part)
        return connect()


def _make_tables(database: Path) -> None:
    """MLflow's, in a new SQLite file."""
    files.private_file(database)
    client = _client(f"sqlite:///{database}")
    client.search_registered_models(max_results=1)  # the tables of runs come with the client's first question
    client.get_experiment("0")


def create(client: MlflowClient, name: str) -> None:
    """The registered model of that name, made if it is not there."""
    if find(client, name) is None:
        client.create_registered_model(name, description=ABOUT)


def find(client: MlflowClient, name: str) -> RegisteredModel | None:
    """The registered model of that name, with its aliases and tags; None if there is none."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def experiment(client: MlflowClient, name: str, note: str = "") -> str:
    """The experiment's id; ``note`` is its description, in Markdown, if it has none yet.

    Its artifacts lie where DIGITS_ARTIFACTS says (a folder, or an address as s3://models), else beside the registry's
    database; a tracking server has a place of its own for them.
    """
    tags = {"mlflow.experimentKind": "custom_model_development"}  # its page shows models, not traces
    tags |= {NOTE: note} if note else {}
    found = client.get_experiment_by_name(name)
    if found:
        for key, value in tags.items():
            if key not in found.tags:  # of an earlier release
                client.set_experiment_tag(found.experiment_id, key, value)
        return str(found.experiment_id)
    served = places.tracking_uri().startswith("http")
    place = None if served else os.environ.get("DIGITS_ARTIFACTS") or str(places.home() / places.ARTIFACTS)
    return str(client.create_experiment(name, artifact_location=place, tags=tags))


@contextmanager
def locked() -> Iterator[None]:
    """One change of the registry at a time; :class:`TemporaryFault` if another one does not end. For changes alone:
    what takes its time (downloads, inference, `dvc gc`) is done before or after, and seen to hold still.

    A registry in Postgres is locked for every machine, by an advisory lock; another one for this machine.
    """
    in_postgres = places.tracking_uri().startswith("postgresql")
    with _locked_in_postgres() if in_postgres else alone(places.REGISTRY_LOCK, LOCK_SECONDS):
        yield


@contextmanager
def alone(lock: Path, seconds: float) -> Iterator[None]:
    """One process of this machine at a time; :class:`TemporaryFault` if another one does not end within so long."""
    from filelock import FileLock, Timeout

    path = places.home() / lock
    files.private_folder(path.parent)
    try:
        with FileLock(path, timeout=seconds):
            yield
    except Timeout:
        raise TemporaryFault(f"{path} is held by {_HOLDER}") from None


@contextmanager
def _locked_in_postgres() -> Iterator[None]:
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import OperationalError
    from sqlalchemy.pool import NullPool

    with create_engine(places.tracking_uri(), poolclass=NullPool).connect() as connection:
        connection.execute(text(f"SET lock_timeout = {int(1000 * LOCK_SECONDS)}"))
        try:
            connection.execute(text(f"SELECT pg_advisory_lock({_POSTGRES_LOCK})"))
        except OperationalError as error:
            if getattr(error.orig, "pgcode", None) != _LOCK_NOT_AVAILABLE:
                raise
            raise TemporaryFault(f"the registry's lock in Postgres is held by {_HOLDER}") from None
        yield  # closing the connection lets the lock go, whatever happened


def aliases(client: MlflowClient, name: str) -> dict[str, str]:
    """Which alias points to which version; empty if the model does not exist."""
    model = find(client, name)
    return {alias: str(number) for alias, number in model.aliases.items()} if model else {}


def aliased(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """The version that ``alias`` points to; None if the model or the alias does not exist."""
    number = aliases(client, name).get(alias)
    return client.get_model_version(name, number) if number else None


def champion(client: MlflowClient, name: str) -> ModelVersion:
    """The champion; :class:`BadInput` if there is none yet."""
    version = aliased(client, name, CHAMPION)
    if version is None:
        raise no_champion(client, name)
    return version


def no_champion(client: MlflowClient, name: str) -> BadInput:
    """What to say where a model has none: another one's name may have been meant."""
    if there := instead_of(client, name):
        named = ", ".join(there)
        return BadInput(f"{name} has no champion yet, nor a version: name one that is there ({named}) or `digits run`")
    return BadInput(f"{name} has no champion yet: run `digits run`")


def instead_of(client: MlflowClient, name: str) -> list[str]:
    """The registered models, if there are some and none of that name."""
    registered = sorted(model.name for model in client.search_registered_models())
    return [] if name in registered else registered


def newest(client: MlflowClient, name: str, count: int) -> list[ModelVersion]:
    """At most so many versions, the newest first."""
    return list(client.search_model_versions(f"name='{name}'", max_results=count, order_by=["version_number DESC"]))


def version(client: MlflowClient, name: str, number: str) -> ModelVersion:
    """The version of that number, or the one an alias of that name points to; :class:`BadInput` if there is none."""
    from mlflow.exceptions import MlflowException

    found = aliased(client, name, number)
    if found is None and number.isdecimal() and len(number) < 10:  # no database of MLflow's holds a longer one
        try:
            found = client.get_model_version(name, number)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
    if found is None:
        raise BadInput(f"{name} has no version {number}: `digits history` lists those judged")
    return found


def identical(client: MlflowClient, name: str, identity: Mapping[str, str]) -> ModelVersion | None:
    """The version of these tags, if it was registered before: its weights, its graph and its data, as whatever of them
    differs may answer differently. What a version of an older release does not say is not held against it."""
    weights = identity["weights_sha256"]
    for version in client.search_model_versions(f"name='{name}' and tag.weights_sha256='{weights}'"):
        if all(version.tags.get(key, value) == value for key, value in identity.items()):
            return version
    return None


def metrics(version: ModelVersion) -> dict[str, Any]:
    """What the version measured when it was registered."""
    return _written(version, "metrics")


def digests(version: ModelVersion) -> dict[str, str]:
    """The SHA-256 of each of its files that was registered, by its name among them."""
    others = _written(version, "files_sha256") if "files_sha256" in version.tags else {}
    return {places.VERSION_ONNX: version.tags["onnx_sha256"], **others}


def _written(version: ModelVersion, tag: str) -> dict[str, Any]:
    """What stands in a tag as JSON."""
    try:
        written = json.loads(version.tags[tag])
    except (ValueError, RecursionError):
        written = None
    if not isinstance(written, dict):
        raise spoilt(version, tag)
    return written


def spoilt(version: ModelVersion, tag: str) -> BadInput:
    """What to say of a version whose tag somebody changed."""
    return BadInput(
        f"{version.name} version {version.version}: its tag {tag} is not what was written there: restore it from a "
        "backup of the registry, or name another version"
    )


def is_ours(version: ModelVersion) -> bool:
    """Whether the version was registered by this pipeline."""
    return {"onnx_sha256", "weights_sha256", "metrics"} <= set(version.tags) and bool(version.run_id)


def check_ours(version: ModelVersion) -> None:
    """:class:`BadInput` if the version was not registered by this pipeline."""
    if not is_ours(version):
        raise BadInput(f"{version.name} version {version.version} was not registered by this pipeline: name another")
