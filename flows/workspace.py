"""Where does a scheduled retraining work, so that it does not fight with a person in the checkout?

In a git worktree of its own at the checkout's last commit, under .cache/retrain: what a person is in the middle of
editing is not what an unattended run should train. It shares git's objects and DVC's cache, makes no commits, and
takes the data that lies outside git (ingest.local_dir, data/batches) as hard links of what is there when it starts. It
goes on from its own last state, or from the checkout's if that leaves nothing to do. Lineage goes to the checkout's
MLflow. Without git (a container, where nobody edits) the checkout itself is used.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml
from dvc.exceptions import DvcException
from dvc.repo import Repo
from filelock import FileLock, Timeout

from pipeline import run
from pipeline.base import files, params, places, processes
from pipeline.base.errors import BadInput


@contextmanager
def held(dataset: str | None = None, recipe: str | None = None) -> Iterator[Path]:
    """The retraining's workspace, brought up to date, for one run at a time; MLflow's address is the checkout's.

    ``dataset`` and ``recipe`` put it on others than the commit's own. :class:`BadInput` if another run is in it.
    """
    top = places.checkout()
    if not (top / places.PARAMS).is_file():
        raise BadInput(f"there is no params.yaml in {top}: start this in the checkout, or set DIGITS_HOME")
    files.private_folder((top / places.RETRAIN_LOCK).parent)
    try:
        with FileLock(top / places.RETRAIN_LOCK, timeout=1):
            os.environ["MLFLOW_TRACKING_URI"] = places.tracking_uri(top)
            if given := os.environ.get("MNIST_DIR"):
                os.environ["MNIST_DIR"] = str(top / given)
            place, locks = _worktree(top) if _has_commits(top) else (top, [])
            settings = place / places.PARAMS
            before = settings.read_text(encoding="utf-8")
            params.choose(settings, dataset=dataset, recipe=recipe)
            try:
                run.mend(place)
                _resume(place, locks)
                yield place
            finally:
                if settings.read_text(encoding="utf-8") != before:  # it was for this run
                    files.write_text(settings, before)
    except Timeout:
        raise BadInput(f"another retraining is at work in {top / places.RETRAIN}: wait for it to end") from None


def _has_commits(top: Path) -> bool:
    try:
        _git(top, "rev-parse", "--verify", "--quiet", "HEAD")
    except (processes.Failed, FileNotFoundError):  # no commit; no git on this machine
        return False
    return True


def _worktree(top: Path) -> tuple[Path, list[str]]:
    """The worktree at the checkout's commit, its own changes dropped, its outputs of earlier runs kept; and what
    dvc.lock may hold to go on from: its own, the checkout's, the commit's content."""
    place = top / places.RETRAIN
    if (place / ".git").is_file():
        with suppress(processes.Failed):
            _git(top, "worktree", "repair", str(place))  # the checkout may have been moved
    else:
        shutil.rmtree(place, ignore_errors=True)
        _git(top, "worktree", "prune")
        _git(top, "worktree", "add", "--detach", str(place), "HEAD")
    commit = _git(top, "rev-parse", "HEAD").strip()
    for lock in _git_folder(place).glob("*.lock"):  # of a git that was killed; nobody else works here
        lock.unlink()
    own = _read(place / places.DVC_LOCK)
    _git(place, "checkout", "--quiet", "--detach", "--force", commit)
    _share_cache(top, place)
    with FileLock(top / places.BATCHES_LOCK):  # a batch that is taken in or out meanwhile would be half there
        for shared in (places.BATCHES, Path(params.load(place / places.PARAMS).ingest.local_dir)):
            if not shared.is_absolute():
                _mirror(top / shared, place / shared)
    return place, [own, _read(top / places.DVC_LOCK), _read(place / places.DVC_LOCK)]


def _read(lock: Path) -> str:
    return lock.read_text(encoding="utf-8", errors="replace") if lock.is_file() else ""


def _resume(place: Path, locks: Sequence[str]) -> None:
    """Go on from the first of these contents of dvc.lock that leaves no stage to run, else from the first of all.

    That one is of what lies in ``place``; what another one names comes out of DVC's cache.
    """
    if not locks:
        return
    for number, lock in enumerate(dict.fromkeys(locks)):
        if _whole(lock):
            with suppress(DvcException):  # DVC cannot work with this one
                _put(place, lock, with_outs=number > 0)
                if not stale(place):
                    return
    if _whole(locks[0]):
        _put(place, locks[0], with_outs=True)
    else:
        (place / places.DVC_LOCK).unlink(missing_ok=True)


def _whole(lock: str) -> bool:
    """Whether that is a dvc.lock from its beginning to its end: DVC writes it in place, and people merge it."""
    try:
        run.parsed_lock(lock)
    except (ValueError, yaml.YAMLError):
        return False
    return True


def _put(place: Path, lock: str, with_outs: bool) -> None:
    files.write_text(place / places.DVC_LOCK, lock)
    if with_outs:
        with suppress(DvcException), _opened(place) as repo:  # of what the cache lacks; the stages then run
            repo.checkout(force=True, allow_missing=True)


def stale(place: Path) -> list[str]:
    """The stages that have something to do by what DVC knows now; those behind them may follow."""
    with _opened(place) as repo:
        return list(repo.status())


def missed(place: Path) -> set[str]:
    """The batches that were accepted since the run in ``place`` read what there was."""
    there = {path.parent.name for path in (places.checkout() / places.BATCHES).glob(f"[!.]*/{places.BATCH_FACTS}")}
    manifest = files.read_json(place / places.MANIFEST)
    return there - set(manifest.get("batches", [])) - set(manifest.get("other_batches", []))


def unlearnt() -> set[str]:
    """The accepted batches that no training has read, neither the checkout's own nor a scheduled one."""
    top = places.checkout()
    trained = [place for place in (top, top / places.RETRAIN) if (place / places.MANIFEST).is_file()]
    return set.intersection(*(missed(place) for place in trained)) if trained else set()


def _git_folder(place: Path) -> Path:
    return Path((place / ".git").read_text().removeprefix("gitdir:").strip())


def _share_cache(top: Path, place: Path) -> None:
    """Let DVC in ``place`` use the checkout's cache, wherever its configuration puts that."""
    with _opened(top) as repo:
        cache = repo.cache.local_cache_dir
    with _opened(place) as repo:
        if repo.cache.local_cache_dir != cache:
            with repo.config.edit("local") as settings:
                settings["cache"]["dir"] = cache


@contextmanager
def _opened(place: Path) -> Iterator[Repo]:
    """The folder's DVC, in this process: as a command it takes a second to start."""
    with contextlib.chdir(place), Repo() as repo:
        yield repo


def _mirror(source: Path, target: Path) -> None:
    """Make ``target`` hold what ``source`` holds, by hard links where both lie on one disk."""
    part = target.with_name(f"{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    if source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        files.linked(source, target)
        return
    if source.is_dir():
        shutil.copytree(source, part, copy_function=files.linked, ignore=shutil.ignore_patterns(".*.part"))
    else:
        part.mkdir(parents=True)
    shutil.rmtree(target, ignore_errors=True)
    part.replace(target)


def _git(folder: Path, *arguments: str) -> str:
    return processes.call(["git", *arguments], cwd=folder)
