"""Which old versions, runs and cached data may go? By params.yaml's retention, never what somebody still needs.

A version stays if it is among the newest, is young, has an alias, or ever was champion (a rollback may want it). With a
version go its run and its files. Of DVC's cache stays what this workspace, the retraining's and any version that stays
refer to.
"""

import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from pipeline import registry, run
from pipeline.errors import BadInput
from pipeline.params import Retention

LINEAGE = ("dvc.yaml", "dvc.lock", "params.yaml")
WORKTREE = Path(".cache/retrain")


def prune(client: MlflowClient, name: str, rule: Retention, dry_run: bool) -> dict[str, Any]:
    """Remove what the rule lets go, or only say what it would be: ``{"removed", "kept", "cache"}``.

    :class:`BadInput` while a retraining is at work: its data is referred to by nothing yet.
    """
    lock = FileLock(run.RETRAINING)
    run.RETRAINING.parent.mkdir(exist_ok=True)
    try:
        with lock.acquire(timeout=0), registry.locked():
            versions = _versions(client, name)
            needed = _needed(client, name, versions, rule)
            old = [version for version in versions if str(version.version) not in needed]
            kept = [version for version in versions if str(version.version) in needed]
            if not dry_run:
                for version in old:
                    registry.erase(client, version)
            cache = _prune_cache(client, kept, dry_run)
    except Timeout:
        raise BadInput("a retraining is at work, and prune could take its data away: try again later") from None
    return {
        "model": name,
        "dry_run": dry_run,
        "removed": [str(version.version) for version in old],
        "kept": {str(version.version): needed[str(version.version)] for version in kept},
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


def _needed(client: MlflowClient, name: str, versions: list[ModelVersion], rule: Retention) -> dict[str, str]:
    """Why each version that stays does so: number → reason."""
    young = (datetime.now(UTC) - timedelta(days=rule.days)).timestamp() * 1000
    reasons = {str(v.version): f"younger than {rule.days} days" for v in versions if v.creation_timestamp > young}
    reasons |= {str(v.version): f"one of the newest {rule.versions}" for v in versions[: rule.versions]}
    for event in registry.history(client, name):
        if event["event"] in (registry.PROMOTED, registry.ROLLED_BACK):
            reasons |= {number: "was champion" for number in (event["version"], event["previous"]) if number}
    for alias in (registry.CHAMPION, registry.CHALLENGER):
        if pointed := registry.aliased(client, name, alias):
            reasons[str(pointed.version)] = f"is {alias}"
    return reasons


def _prune_cache(client: MlflowClient, kept: list[ModelVersion], dry_run: bool) -> str:
    """`dvc gc` for this workspace, the retraining's, and one made of the records of each version that stays."""
    with tempfile.TemporaryDirectory() as folder:
        projects = [path for path in (WORKTREE,) if (path / "dvc.yaml").is_file()]
        for version in kept:
            place = Path(folder) / str(version.version)
            client.download_artifacts(str(version.run_id), "lineage", str(_new(place)))
            for name in LINEAGE:
                if (place / "lineage" / name).is_file():
                    shutil.move(place / "lineage" / name, place / name)
            if (place / "dvc.lock").is_file():
                subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], cwd=place, check=True)
                projects.append(place)
        command = [sys.executable, "-m", "dvc", "gc", "--workspace", "--force"]
        command += ["--projects", *map(str, projects)] if projects else []
        command += ["--dry"] if dry_run else []
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"`dvc gc` ended with {done.returncode}: {' '.join(done.stderr.split())[-300:]}")
    return (done.stdout.strip().splitlines() or ["nothing to remove"])[-1]


def _new(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
