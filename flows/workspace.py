"""Where does a scheduled retraining work, so that it does not fight with a person in the checkout?

In a git worktree of its own at the checkout's last commit, under .cache/retrain: what a person is in the middle of
editing is not what an unattended run should train. It shares git's objects and DVC's cache, makes no commits, and
takes the data that lies outside git (ingest.local_dir, data/batches) as hard links of what is there when it starts.
Lineage goes to the checkout's MLflow. Without git (a container, where nobody edits) the checkout itself is used.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline import run
from pipeline.base import files, params
from pipeline.base.errors import BadInput
from pipeline.data import splits
from pipeline.registry import versions

PLACE = Path(".cache/retrain")


def home() -> Path:
    """The checkout that the flows serve: DIGITS_HOME if set, else the folder that they were started in."""
    return Path(os.environ.get("DIGITS_HOME", ".")).resolve()


@contextmanager
def held(dataset: str | None = None, recipe: str | None = None) -> Iterator[Path]:
    """The retraining's workspace, brought up to date, for one run at a time; MLflow's address is the checkout's.

    ``dataset`` and ``recipe`` put it on others than the commit's own. :class:`BadInput` if another run is in it.
    """
    top = home()
    if not (top / params.PATH).is_file():
        raise BadInput(f"there is no params.yaml in {top}: start this in the checkout, or set DIGITS_HOME")
    (top / run.RETRAINING).parent.mkdir(exist_ok=True)
    try:
        with FileLock(top / run.RETRAINING, timeout=1):
            os.environ["MLFLOW_TRACKING_URI"] = versions.tracking_uri(top)
            if given := os.environ.get("MNIST_DIR"):
                os.environ["MNIST_DIR"] = str(top / given)
            place = _worktree(top) if _has_commits(top) else top
            run.mend(place)
            settings = place / params.PATH
            before = settings.read_text(encoding="utf-8")
            params.choose(settings, dataset=dataset, recipe=recipe)
            try:
                yield place
            finally:
                if settings.read_text(encoding="utf-8") != before:  # it was for this run
                    files.write_text(settings, before)
    except Timeout:
        raise BadInput(f"another retraining is at work in {top / PLACE}: wait for it to end") from None


def _has_commits(top: Path) -> bool:
    try:
        return _git(top, "rev-parse", "--verify", "--quiet", "HEAD", check=False).returncode == 0
    except FileNotFoundError:  # no git on this machine
        return False


def _worktree(top: Path) -> Path:
    """The worktree at the checkout's commit, its own changes dropped, its outputs of earlier runs kept."""
    place = top / PLACE
    if (place / ".git").is_file():
        _git(top, "worktree", "repair", str(place), check=False)  # the checkout may have been moved
    else:
        shutil.rmtree(place, ignore_errors=True)
        _git(top, "worktree", "prune")
        _git(top, "worktree", "add", "--detach", str(place), "HEAD")
    commit = _git(top, "rev-parse", "HEAD").stdout.strip()
    for lock in _git_folder(place).glob("*.lock"):  # of a git that was killed; nobody else works here
        lock.unlink()
    _git(place, "checkout", "--quiet", "--detach", "--force", commit)
    _dvc(place, "config", "--local", "cache.dir", str(_cache(top)))
    for shared in (splits.ACCEPTED, Path(params.load(place / params.PATH).ingest.local_dir)):
        if not shared.is_absolute():
            _mirror(top / shared, place / shared)
    return place


def missed(place: Path) -> set[str]:
    """The batches that were accepted since the run in ``place`` read what there was."""
    there = {path.parent.name for path in (home() / splits.ACCEPTED).glob(f"[!.]*/{splits.FACTS}")}
    return there - set(files.read_json(place / splits.RAW / "manifest.json").get("batches", []))


def _git_folder(place: Path) -> Path:
    return Path((place / ".git").read_text().removeprefix("gitdir:").strip())


def _cache(top: Path) -> Path:
    """DVC's cache of the checkout, wherever its configuration puts it."""
    return Path(_dvc(top, "cache", "dir").stdout.strip() or ".dvc/cache")


def _mirror(source: Path, target: Path) -> None:
    """Make ``target`` hold what ``source`` holds, by hard links where both lie on one disk."""
    part = target.with_name(f"{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    if source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        _link(str(source), str(target))
        return
    if source.is_dir():
        shutil.copytree(source, part, copy_function=_link, ignore=shutil.ignore_patterns(".*.part"))
    else:
        part.mkdir(parents=True)
    shutil.rmtree(target, ignore_errors=True)
    part.replace(target)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _git(folder: Path, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    return _called(folder, ["git", *arguments], check)


def _dvc(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return _called(folder, [sys.executable, "-m", "dvc", *arguments], check=True)


def _called(folder: Path, command: list[str], check: bool) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if check and done.returncode:
        said = " ".join(done.stderr.split())[-300:]
        raise RuntimeError(f"`{' '.join(command)}` in {folder} ended with {done.returncode}: {said}")
    return done
