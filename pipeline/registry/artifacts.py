"""Where do a version's files lie, and are they still the ones that were registered?"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pipeline.base import files, places
from pipeline.base.errors import BadInput, TemporaryFault, brief
from pipeline.registry import mlflow_errors, versions

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion


def onnx_file(client: MlflowClient, version: ModelVersion) -> Path:
    """The version's ONNX model on this disk, its digest checked against the one it was registered with."""
    return file(client, version, places.VERSION_ONNX)


def file(client: MlflowClient, version: ModelVersion, name: str) -> Path:
    """That file of the version on this disk, as it was registered; :class:`BadInput` if it is not."""
    versions.check_ours(version)
    path = download(client, version) / name
    registered = versions.digests(version).get(name)  # of some files, an earlier release registered none
    if not path.is_file() or (registered and files.sha256_file(path) != registered):
        shutil.rmtree(_kept(version), ignore_errors=True)  # a copy that was damaged here is fetched anew the next time
        raise BadInput(
            f"the file {path.name} of {version.name} version {version.version} is missing or not the one that was "
            f"registered ({path}): restore it from a backup, or `digits rollback`"
        )
    return path


def check(client: MlflowClient, version: ModelVersion) -> None:
    """:class:`BadInput` unless every file of the version is the one that was registered."""
    versions.check_ours(version)
    for name in versions.digests(version):
        file(client, version, name)


def download(client: MlflowClient, version: ModelVersion) -> Path:
    """The folder with the version's files: the artifact store's own where that is on this disk, else a copy that is
    kept in .cache/versions, so that it is fetched once and is there while the store is away.

    :class:`TemporaryFault` if the store does not answer, :class:`BadInput` if the files cannot be read.
    """
    from mlflow.artifacts import download_artifacts

    kept = _kept(version)
    if kept.is_dir():
        return kept
    with _fetching(version):
        place = _place(client, version)
        if _is_local(place):
            return Path(download_artifacts(place, tracking_uri=places.tracking_uri()))
        files.private_folder(kept.parent)
        with tempfile.TemporaryDirectory(dir=kept.parent) as part:
            folder = Path(download_artifacts(place, dst_path=part, tracking_uri=places.tracking_uri()))
            if not kept.is_dir():  # else another process was quicker
                folder.rename(kept)
    return kept


def recorded(client: MlflowClient, version: ModelVersion, name: str, most_bytes: int) -> Path:
    """A file that the version's run recorded, on this disk, fetched and kept as by :func:`download`.

    :class:`NotRecorded` if there is none, :class:`BadInput` if it is larger than ``most_bytes`` or cannot be read,
    :class:`TemporaryFault` if the store does not answer.
    """
    versions.check_ours(version)
    kept, run = _records(version) / name, str(version.run_id)
    if kept.is_file():
        return kept
    with _fetching(version):
        root = str(client.get_run(run).info.artifact_uri)
        if _is_local(root):  # MLflow would leave a copy among the temporary files each time
            size = _size_below(Path(urlsplit(root).path), name)
        else:
            there = client.list_artifacts(run, str(Path(name).parent))
            size = next((item.file_size or 0 for item in there if item.path == name and not item.is_dir), None)
        if size is None:
            raise NotRecorded(f"{version.name} version {version.version} was registered without {name}")
        if size > most_bytes:
            raise BadInput(f"{name} of {version.name} version {version.version} has more than {most_bytes:,} bytes")
        if _is_local(root):
            return Path(urlsplit(root).path) / name
        files.private_folder(kept.parent)
        with tempfile.TemporaryDirectory(dir=kept.parent) as part:
            Path(client.download_artifacts(run, name, part)).replace(kept)
    return kept


def _size_below(root: Path, name: str) -> int | None:
    """Bytes of a file of the store's folder; None if there is no regular one, or a link leads out of the folder."""
    path = root / name
    return path.stat().st_size if path.is_file() and path.resolve().is_relative_to(root.resolve()) else None


class NotRecorded(BadInput):
    """What a version of an earlier release did not keep."""


@contextmanager
def _fetching(version: ModelVersion) -> Iterator[None]:
    """What a store raises that cannot give a file, in our words."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except BadInput:
        raise
    except Exception as error:
        said = brief(error)
        failed = f"the files of {version.name} version {version.version} cannot be read: {said}"
        if mlflow_errors.is_away(error):
            raise TemporaryFault(f"{failed}: try again later") from None
        if isinstance(error, (MlflowException, OSError)):
            raise BadInput(failed) from None
        raise


def erase(client: MlflowClient, version: ModelVersion) -> None:
    """Delete the version, then its run and files: what is registered must never lack its files."""
    folder = _kept(version)
    with suppress(BadInput):  # files that are gone already are no reason to keep their name
        if _is_local(_place(client, version)):
            folder = download(client, version)
    client.delete_model_version(version.name, str(version.version))
    if version.run_id:
        client.delete_run(version.run_id)
    shutil.rmtree(_records(version), ignore_errors=True)
    if places.home() in folder.resolve().parents:  # a tracking server's own store is the server's to clean
        shutil.rmtree(folder, ignore_errors=True)


def discard(client: MlflowClient, run: Run) -> None:
    """Remove the files of a run that registered nothing, where they lie on this disk."""
    made = client.search_logged_models([run.info.experiment_id], filter_string=f"source_run_id = '{run.info.run_id}'")
    for place in (run.info.artifact_uri, *(model.artifact_location for model in made)):
        if _is_local(place):
            shutil.rmtree(urlsplit(place).path, ignore_errors=True)


def _place(client: MlflowClient, version: ModelVersion) -> str:
    """The address of the version's files: `models:/NAME/VERSION` would be looked up in whatever registry MLflow was
    last set to."""
    place: str = client.get_model_version_download_uri(version.name, str(version.version))
    return place


def _is_local(place: str) -> bool:
    return urlsplit(place).scheme in ("", "file")


def _kept(version: ModelVersion) -> Path:
    return places.home() / places.VERSIONS / version.name / f"{version.version}-{version.run_id}"


def _records(version: ModelVersion) -> Path:
    return places.home() / places.RECORDS / version.name / f"{version.version}-{version.run_id}"
