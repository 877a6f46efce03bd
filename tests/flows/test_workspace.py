"""Where scheduled runs work: a worktree at the last commit, beside a checkout that a person is at work in."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock, Timeout
from workspace import Workspace

from flows import workspace
from pipeline.base import files, places
from pipeline.base import params as params_file
from pipeline.base.errors import BadInput


@pytest.fixture
def checkout(new_workspace: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch) -> Workspace:
    made = new_workspace()
    made.run("dvc", "config", "core.analytics")  # it is a DVC project
    monkeypatch.setenv("DIGITS_HOME", str(made.folder))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # held() sets it; monkeypatch brings the old value back
    monkeypatch.delenv("MNIST_DIR", raising=False)
    return made


def seed(place: Path) -> int:
    return params_file.load(place / "params.yaml").train.seed


def test_it_is_at_the_last_commit_whatever_is_being_edited(checkout: Workspace):
    before = seed(checkout.folder)
    checkout.edit("seed", "99")
    with workspace.held() as place:
        assert place == checkout.folder / places.RETRAIN and seed(place) == before
        assert os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{checkout.folder}/mlflow.db"
        (place / "params.yaml").write_text("left by a run that was killed")
        (place / ".dvc/tmp").mkdir(exist_ok=True)
        (place / ".dvc/tmp/rwlock").touch()
        (place / "dvc.lock").write_text("schema: '2.0'\nstages:\n  ingest:\n    cmd: py")
    checkout.commit("another seed")
    with workspace.held() as place:
        assert seed(place) == 99
        assert json.loads((place / ".dvc/tmp/rwlock").read_text()) in ({}, {"write": {}})  # whole: DVC's own again
    assert seed(checkout.folder) == 99


def test_no_batch_is_taken_in_or_out_while_they_are_brought_in(checkout: Workspace, monkeypatch: pytest.MonkeyPatch):
    mirror, refused = workspace._mirror, []

    def looked_at(source: Path, target: Path) -> None:
        with pytest.raises(Timeout) as held:
            FileLock(checkout.folder / places.BATCHES_LOCK, timeout=0).acquire()
        refused.append(held)
        mirror(source, target)

    monkeypatch.setattr(workspace, "_mirror", looked_at)
    with workspace.held():
        assert len(refused) == 2
        FileLock(checkout.folder / places.BATCHES_LOCK, timeout=0).acquire().lock.release()


def test_it_shares_the_cache_and_brings_in_what_git_does_not_hold(checkout: Workspace):
    (checkout.folder / "data/incoming/new.csv").write_text("label\n")
    (checkout.folder / "data/batches/b1").mkdir(parents=True)
    files.write_json(checkout.folder / "data/batches/b1/batch.json", {})
    with workspace.held() as place:
        assert (place / "data/incoming/new.csv").samefile(checkout.folder / "data/incoming/new.csv")
        assert Path(checkout.run("dvc", "cache", "dir").stdout.strip()) == checkout.folder / ".dvc/cache"
        own = (place / ".dvc/config.local").read_text().splitlines()
        assert own[-1].strip() == f"dir = {checkout.folder}/.dvc/cache"
        files.write_json(place / "data/raw/manifest.json", {"batches": ["b1"]})
        assert workspace.missed(place) == set()
        (checkout.folder / "data/batches/b2").mkdir()
        assert workspace.missed(place) == set()  # no batch: it says nothing of itself
        files.write_json(checkout.folder / "data/batches/b2/batch.json", {})
        assert workspace.missed(place) == {"b2"}


def test_a_data_set_that_is_one_file_is_brought_in(checkout: Workspace):
    text = (checkout.folder / "params.yaml").read_text()
    (checkout.folder / "params.yaml").write_text(text.replace("local_dir: data/incoming", "local_dir: mine/digits.csv"))
    checkout.commit("my own data")
    (checkout.folder / "mine").mkdir()
    (checkout.folder / "mine/digits.csv").write_text("label\n")
    for _ in range(2):
        with workspace.held() as place:
            assert (place / "mine/digits.csv").read_text() == "label\n"


def test_one_run_at_a_time(checkout: Workspace):
    with workspace.held(), pytest.raises(BadInput, match="another retraining is at work"), workspace.held():
        pass


def test_another_data_set_or_recipe_is_for_that_run_alone(checkout: Workspace):
    with workspace.held(dataset="mnist", recipe="accurate") as place:
        chosen = params_file.load(place / "params.yaml")
        assert (chosen.dataset, chosen.train.recipe) == ("mnist", "accurate")
    again = params_file.load(place / "params.yaml")
    assert (again.dataset, again.train.recipe) == ("digits", "fast")


def test_a_checkout_that_was_moved_finds_its_worktree_again(checkout: Workspace, monkeypatch: pytest.MonkeyPatch):
    with workspace.held():
        pass
    moved = checkout.folder.with_name("moved")
    checkout.folder.rename(moved)
    monkeypatch.setenv("DIGITS_HOME", str(moved))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    with workspace.held() as place:
        assert place.is_relative_to(moved) and seed(place) == seed(moved)


def test_a_folder_that_is_no_checkout_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DIGITS_HOME", str(tmp_path))
    with pytest.raises(
        BadInput, match=r"there is no params.yaml in .*: start this in the checkout, or set DIGITS_HOME"
    ):
        workspace.held().__enter__()


@pytest.mark.parametrize("torn", ["schema: '2.0'\nstages:\n  ingest:\n    cmd: py", "<<<<<<< HEAD\n=======\n", ""])
def test_a_torn_lock_of_the_checkout_is_no_state_to_go_on_from(checkout: Workspace, torn: str):
    (checkout.folder / "dvc.lock").write_text(torn)
    with workspace.held() as place:
        assert not (place / "dvc.lock").exists() and "ingest" in workspace.stale(place)
    assert (checkout.folder / "dvc.lock").read_text() == torn
