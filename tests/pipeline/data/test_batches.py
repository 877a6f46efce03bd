"""Whose is an accepted batch, and how is it taken out again?"""

from pathlib import Path

import numpy as np
import pytest

from pipeline.base import files, places
from pipeline.base.errors import BadInput
from pipeline.base.form import DIGITS, Form
from pipeline.data import batches
from pipeline.data.batches import Batch, Doubt, Filed
from pipeline.data.splits import Split


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(batches, "version", lambda folder: None)
    (tmp_path / ".cache").mkdir()


def accept(name: str, dataset: str = "digits", **more: object) -> None:
    images = np.zeros((3, 28, 28), np.uint8)
    part = Split(images, np.arange(3, dtype=np.uint8))
    facts = {"batch": name, "at": f"2026-01-01T00:00:0{name[-1]}+00:00", "by": "ann", "source": "/new.npz"}
    filed = Filed(event="accepted", dataset=dataset, digest=name, counts={"train": 3, "recent": 3}, **facts | more)
    batches.accept(Batch(name, part, part), filed)


def manifest(dataset: str, *names: str, others: tuple[str, ...] = ()) -> None:
    files.write_json(places.MANIFEST, {"dataset": dataset, "batches": list(names), "other_batches": list(others)})


def names(dataset: str) -> list[str]:
    return [batch.name for batch in batches.accepted(dataset, DIGITS)]


def test_a_batch_belongs_to_the_data_set_that_it_was_accepted_on():
    accept("b1", "digits")
    accept("b2", "mnist")
    assert names("digits") == ["b1"] and names("mnist") == ["b2"] and names("kaggle") == []
    assert batches.of_dataset("digits")[1] == ["b2"]


def test_a_batch_of_an_earlier_release_stays_where_it_was_and_does_not_follow_to_another_data_set():
    accept("b1", dataset="")
    assert names("digits") == ["b1"]  # nothing was ever run: it can only be this one's
    manifest("digits", "b1")
    assert names("digits") == ["b1"] and names("mnist") == []
    manifest("mnist", others=("b1",))  # what the run on MNIST leaves
    assert names("mnist") == [] and names("digits") == ["b1"]


WAS = Form("digits", (28, 28), ("tit", "wren", "owl"))


def test_the_labels_of_a_batch_stay_its_classes_when_others_come():
    accept("b1", form=WAS, doubts=(Doubt(index=0, image="00", label=1, suggested=2, clear=True),))
    later = Form("digits", (28, 28), ("auk", "owl", "tit", "wren"))
    (batch,) = batches.accepted("digits", later)
    assert [later.classes[label] for label in batch.train.labels] == ["tit", "wren", "owl"]
    doubt = batches.relabelled(batches.filed()[0], later).doubts[0]
    assert (later.classes[doubt.label], later.classes[doubt.suggested]) == ("wren", "owl")


@pytest.mark.parametrize(
    ("now", "line"),
    [
        (Form("digits", (28, 28), ("tit", "wren")), "batch b1: owl (1 image) is no class of the data set any more"),
        (Form("plain", (28, 28), WAS.classes), "batch b1: its images are 28×28 of kind digits, and those of the data"),
        (Form("digits", (32, 28), WAS.classes), "and those of the data set 32×28 of kind digits"),
    ],
)
def test_a_batch_that_no_longer_fits_the_data_set_is_named(now: Form, line: str):
    accept("b1", form=WAS)
    with pytest.raises(BadInput) as caught:
        batches.accepted("digits", now)
    assert line in str(caught.value) and "`digits batches remove b1`" in str(caught.value)


def test_what_a_kill_left_unfinished_is_no_batch():
    accept("b1")
    part = places.BATCHES / ".b2.part"
    part.mkdir()
    (part / places.BATCH_FACTS).write_text("{")  # of a release before: within data/batches, and cut off
    assert names("digits") == ["b1"]
    accept("b3")
    assert not part.exists()


def test_a_removed_batch_is_gone_and_its_history_stays():
    accept("b1")
    accept("b2")
    record = batches.remove("b1", "bad labels", "eve")
    assert names("digits") == ["b2"] and not (places.BATCHES / "b1").exists()
    assert (record.event, record.reason, record.by) == ("removed", "bad labels", "eve")
    assert (Path(record.place) / "train/images.npy").is_file()
    (kept,) = batches.removed()
    assert kept == record and kept.digest == "b1" and kept.source == "/new.npz"
    with pytest.raises(BadInput, match="there is no accepted batch b1: `digits batches` lists them"):
        batches.remove("b1", "again", "eve")
    with pytest.raises(BadInput, match="there is no accepted batch"):
        batches.remove("../batches/b2", "a path", "eve")


def test_a_removal_that_was_killed_counts_and_is_finished_by_the_same_command(monkeypatch: pytest.MonkeyPatch):
    accept("b1")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(Path, "replace", killed)
        batches.remove("b1", "bad labels", "eve")
    assert (places.BATCHES / "b1").is_dir() and names("digits") == []
    batches.remove("b1", "bad labels", "eve")
    assert not (places.BATCHES / "b1").exists() and len(batches.removed()) == 1


def test_a_removal_keeps_when_and_by_whom_the_batch_was_accepted():
    accept("b1")
    record = batches.remove("b1", "bad labels", "ben")
    assert (record.accepted_at, record.accepted_by, record.by) == ("2026-01-01T00:00:01+00:00", "ann", "ben")
    assert batches.removed() == [record]
