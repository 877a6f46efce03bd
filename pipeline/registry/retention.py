"""Which old versions, runs and cached data may go? By params.yaml's retention, never what somebody still needs.

A version stays if it is among the newest, is young, has an alias, or ever was champion (a rollback may want it). With a
version go its run and its files. Of DVC's cache stays what this workspace, the retraining's and any version that stays
refer to.
"""

import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from pipeline.base import files, places, processes
from pipeline.base.errors import BadInput, TemporaryFault
from pipeline.base.params import Retention
from pipeline.registry import artifacts, history, versions

RECORDS = (places.DVC_YAML, places.DVC_LOCK, places.PARAMS)


def prune(client: MlflowClient, name: str, rule: Retention, dry_run: bool) -> dict[str, Any]:
    """Remove what the rule lets go, or only say what it would be: ``{"removed", "kept", "cache"}``.

    :class:`TemporaryFault` while a retraining is at work: its data is referred to by nothing yet.
    """
    files.private_folder(places.RETRAIN_LOCK.parent)
    try:
        with FileLock(places.RETRAIN_LOCK, timeout=0):
            with versions.locked():
                there = _versions(client, name)
                needed = _needed(client, name, there, rule)
                old = [version for version in there if str(version.version) not in needed]
                for version in old if not dry_run else []:
                    artifacts.erase(client, version)
            with tempfile.TemporaryDirectory() as folder:
                stays = _recorded(client, {(v.name, str(v.version)) for v in old})
                projects = [_records(client, version, Path(folder)) for version in stays]
                cache = _prune_cache([place for place in projects if place], dry_run)
    except Timeout:
        raise TemporaryFault("a retraining is at work, and prune could take its data away: try again later") from None
    return {
        "model": name,
        "dry_run": dry_run,
        "removed": [str(version.version) for version in old],
        "kept": {str(v.version): needed[str(v.version)] for v in there if v not in old},
        "cache": cache,
    }


def _versions(client: MlflowClient, name: str) -> list[ModelVersion]:
    """All versions, newest first."""
    found: list[ModelVersion] = []
    token = None
    while True:
        page = client.search_model_versions(f"name = '{name}'", page_token=token)
        found += page
        token = page.token
        if not token:
            return sorted(found, key=lambda version: -int(version.version))


def _needed(client: MlflowClient, name: str, there: list[ModelVersion], rule: Retention) -> dict[str, str]:
    """Why each version that stays does so: number → reason."""
    young = (datetime.now(UTC) - timedelta(days=rule.days)).timestamp() * 1000
    reasons = {str(v.version): f"younger than {rule.days} days" for v in there if v.creation_timestamp > young}
    reasons |= {str(v.version): f"one of the newest {rule.versions}" for v in there[: rule.versions]}
    for event in history.events(client, name):
        if event.event in ("promoted", "rolled back"):
            reasons |= {number: "was champion" for number in (event.version, event.previous) if number}
    for alias in (versions.CHAMPION, versions.CHALLENGER):
        if pointed := versions.aliased(client, name, alias):
            reasons[str(pointed.version)] = f"is {alias}"
    return reasons


def _recorded(client: MlflowClient, gone: set[tuple[str, str]]) -> list[ModelVersion]:
    """The versions of every model that stay and say what data they were made from: one cache serves them all."""
    names = [model.name for model in client.search_registered_models(max_results=1000)]
    found = [version for name in names for version in _versions(client, name)]
    return [v for v in found if v.run_id and (v.name, str(v.version)) not in gone]


def _records(client: MlflowClient, version: ModelVersion, folder: Path) -> Path | None:
    """A DVC project made of the version's records, which refers to its data; None if it has none."""
    place = folder / version.name / str(version.version)
    place.mkdir(parents=True)
    try:
        client.download_artifacts(str(version.run_id), places.RUN_LINEAGE, str(place))
    except (MlflowException, OSError):
        return None  # it was registered by other means
    for name in RECORDS:
        if (place / places.RUN_LINEAGE / name).is_file():
            shutil.move(place / places.RUN_LINEAGE / name, place / name)
    if not (place / places.DVC_LOCK).is_file():
        return None
    _dvc("init", "--no-scm", "-q", place=place)
    return place


def _prune_cache(projects: list[Path], dry_run: bool) -> str:
    """`dvc gc` for this workspace, the retraining's, and these."""
    projects = [path for path in (places.RETRAIN, *projects) if (path / places.DVC_YAML).is_file()]
    return _dvc(
        *("gc", "--workspace", "--force"),
        *(["--projects", *map(str, projects)] if projects else []),
        *(["--dry"] if dry_run else []),
    )


def _dvc(*arguments: str, place: Path | None = None) -> str:
    """The last line that DVC says; :class:`BadInput` if it fails."""
    try:
        said = processes.call(processes.dvc(*arguments), cwd=place)
    except processes.Failed as error:
        raise BadInput(f"{error}: mend that and prune again") from None
    return (said.strip().splitlines() or ["nothing to remove"])[-1]
