import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet
from workspace import ROOT

from pipeline.base import files, places
from pipeline.base import form as form_file
from pipeline.base import params as params_file
from pipeline.base.errors import BadInput
from pipeline.base.form import DIGITS, Form
from pipeline.data import batches, descriptions, handed_in, intake, quarantine, splits, suspected_labels
from pipeline.data.batches import Filed, Finding
from pipeline.data.comparison import Column, Compared
from pipeline.data.datasets import catalogue, decoders
from pipeline.data.datasets.decoders import Loaded
from pipeline.data.splits import Split

PARAMS = params_file.load(ROOT / "params.yaml").model_copy(update={"dataset": "digits"})


@pytest.fixture(scope="module")
def digits() -> Loaded:
    return catalogue.load(PARAMS)


@pytest.fixture
def workspace(digits: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace on half of the digits' train split; the other half is what comes in."""
    monkeypatch.chdir(tmp_path)
    half = len(digits.train.labels) // 2
    splits.save(places.RAW / "train", Split(digits.train.images[:half], digits.train.labels[:half]))
    splits.save(places.RAW / "test", digits.test)
    for name in ("train", "test"):
        descriptions.save(name, descriptions.describe(splits.load(places.RAW / name)))
    monkeypatch.setattr(batches, "version", lambda folder: None)  # `dvc add` has a test of its own
    return tmp_path


@pytest.fixture
def new(digits: Loaded) -> Split:
    half = len(digits.train.labels) // 2
    return Split(digits.train.images[half:], digits.train.labels[half:])


def test_a_batch_is_held_beside_what_came_with_the_data_set_and_no_earlier_batch(workspace: Path, digits: Loaded):
    count = len(splits.load(places.RAW / "train").labels)
    assert len(intake.reference("digits").images.labels) == count
    files.write_json(workspace / places.MANIFEST, {"dataset": "digits", "of_batches": count - 100})
    known = intake.reference("digits")
    np.testing.assert_array_equal(known.images.images, digits.train.images[:100])
    assert known.in_train == count


def answers(digits: Loaded) -> Callable[[np.ndarray], np.ndarray]:
    """A champion that knows every image of the data set and is sure of it."""
    both = [np.concatenate(pair) for pair in zip(digits.train, digits.test, strict=True)]
    known = {image.tobytes(): label for image, label in zip(*both, strict=True)}

    def answer(images: np.ndarray) -> np.ndarray:
        labels = [known.get(image.tobytes(), 0) for image in images]
        return (0.98 * np.eye(10)[labels] + 0.002).astype(np.float32)

    return answer


def write_npz(images: np.ndarray, labels: np.ndarray, path: str = "new.npz") -> Path:
    np.savez(path, allow_pickle=False, images=images, labels=labels)
    return Path(path)


def add(path: Path, digits: Loaded) -> Filed:
    return intake.add(path, PARAMS, answers(digits), "a tester")


def test_a_good_batch_is_accepted_whole_with_a_tenth_held_out(workspace: Path, digits: Loaded, new: Split):
    event = add(write_npz(*new), digits)
    assert event.event == "accepted" and event.by == "a tester" and event.findings == ()
    (batch,) = batches.accepted("digits", DIGITS)
    assert batch.name == event.batch
    assert len(batch.train.labels) + len(batch.recent.labels) == len(new.labels)
    assert 0.05 < len(batch.recent.labels) / len(new.labels) < 0.16
    both = np.concatenate([batch.train.images, batch.recent.images])
    assert {image.tobytes() for image in both} == {image.tobytes() for image in new.images}
    assert Path("new.npz").is_file() and not places.QUARANTINE.exists()  # the original stays
    assert files.read_json(places.BATCHES / batch.name / "batch.json")["drift"]["verdict"] == "alike"


def as_csv(new: Split) -> Path:
    with Path("new.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["label", *(f"pixel{i}" for i in range(784))])
        writer.writerows([label, *image.ravel()] for image, label in zip(*new, strict=True))
    return Path("new.csv")


def as_idx(new: Split) -> Path:
    Path("idx").mkdir()
    for name, array in zip(decoders.IDX_FILES, new, strict=False):
        Path("idx", name).write_bytes(decoders.encode_idx(array))
    return Path("idx")


def test_every_kind_that_ingest_reads_is_the_same_batch(workspace: Path, digits: Loaded, new: Split):
    first = add(write_npz(*new), digits)
    for path in (as_csv(new), as_idx(new)):
        with pytest.raises(BadInput, match=rf"is known: accepted as {first.batch} on .* by a tester"):
            add(path, digits)
        assert path.exists()
    assert len(batches.accepted("digits", DIGITS)) == 1


def shuffled_labels(new: Split) -> Split:
    labels = new.labels.copy()
    chosen = np.random.default_rng(0).permutation(len(labels))[: len(labels) // 10]
    labels[chosen] = (labels[chosen] + 3) % 10
    return Split(new.images, labels)


@pytest.mark.parametrize(
    ("poison", "words"),
    [
        (shuffled_labels, "are clearly wrong"),
        (lambda new: Split(255 - new.images, new.labels), "the images look inverted"),
        (
            lambda new: Split(new.images[new.labels != 4], new.labels[new.labels != 4]),
            "add images of the missing digits",
        ),
        (lambda new: Split((new.images > 127).astype(np.uint8), new.labels), "scaled to 0–1"),
        (lambda new: Split(new.images / 255, new.labels), "multiply them by 255"),
        (lambda new: Split(np.roll(new.images, 6, axis=2) // 2, new.labels), "drift:"),
        (lambda new: Split(new.images[:5], new.labels[:5]), "add images, or lower"),
        (lambda new: Split(new.images, new.labels.astype(int) + 1), "labels must be whole numbers 0–9"),
    ],
)
def test_a_poisoned_batch_is_copied_to_quarantine_with_a_report_and_stays_where_it_is(
    workspace: Path, digits: Loaded, new: Split, poison: Callable[[Split], Split], words: str
):
    path = write_npz(*poison(new))
    content = path.read_bytes()
    event = add(path, digits)
    assert event.event == "quarantined" and words in " ".join(finding.message for finding in event.findings)
    place = Path(event.place)
    assert (place / "new.npz").read_bytes() == content == path.read_bytes()
    assert files.read_json(place / "report.json") == event.as_json()
    assert event.source == str(path.absolute())
    assert batches.accepted("digits", DIGITS) == []


def test_a_broken_file_is_quarantined_and_none_is_one_line(workspace: Path, digits: Loaded, new: Split):
    path = write_npz(*new)
    path.write_bytes(path.read_bytes()[:-200])
    assert add(path, digits).event == "quarantined" and path.exists()
    with pytest.raises(BadInput, match=r"there is nothing at none.npz"):
        add(Path("none.npz"), digits)


def test_what_is_no_batch_is_one_line_and_stays_where_it_is(workspace: Path, digits: Loaded):
    notes, letters = Path("notes.md"), Path("letters")
    notes.write_text("do not lose me")
    (letters / "a").mkdir(parents=True)
    for path in (notes, letters):
        with pytest.raises(BadInput, match=rf"{path} is no batch of labelled images: give"):
            add(path, digits)
        assert path.exists()
    for path in (Path(), workspace.parent):
        with pytest.raises(BadInput, match="holds the workspace itself"):
            add(path, digits)
    assert not places.QUARANTINE.exists()


def test_a_batch_that_cannot_be_copied_is_one_line(
    workspace: Path, digits: Loaded, new: Split, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "new.npz")

    monkeypatch.setattr(handed_in, "copy", full)
    path = write_npz(255 - new.images, new.labels)
    with pytest.raises(BadInput, match=r"is refused \(batch: mean grey.*\), and cannot be kept in .*: No space left"):
        add(path, digits)
    assert path.exists() and not list(places.QUARANTINE.iterdir())


def test_a_small_batch_may_lack_a_class_by_chance(workspace: Path, digits: Loaded, new: Split):
    some = np.flatnonzero(new.labels != 4)[:40]
    assert add(write_npz(new.images[some], new.labels[some]), digits).event == "accepted"


def test_without_a_champion_the_labels_are_taken_on_trust(workspace: Path, new: Split):
    event = intake.add(write_npz(*new), PARAMS, None, "a tester")
    assert event.event == "accepted" and event.suspected_labels is None


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


@pytest.mark.parametrize("cut_off", ["before the facts are written", "between the facts and the rename", "after it"])
def test_a_kill_in_the_middle_leaves_nothing_half_accepted(
    workspace: Path, digits: Loaded, new: Split, monkeypatch: pytest.MonkeyPatch, cut_off: str
):
    path = write_npz(*new)

    replace = Path.replace

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if cut_off.startswith("before"):
            patch.setattr(files, "write_json", killed)
        elif cut_off.startswith("between"):
            patch.setattr(Path, "replace", lambda path, to: killed() if path.is_dir() else replace(path, to))
        else:
            patch.setattr(batches, "version", killed)
        with pytest.raises(Killed):
            add(path, digits)
    there = 1 if cut_off == "after it" else 0
    assert len(batches.accepted("digits", DIGITS)) == there and path.exists()
    assert not list(places.BATCHES.glob(".*"))  # ingest depends on what lies there
    if there:
        with pytest.raises(BadInput, match="is known: accepted as"):
            add(path, digits)
    else:
        assert add(path, digits).event == "accepted"
    assert [p.name for p in places.BATCHES.iterdir()] == [batches.accepted("digits", DIGITS)[0].name]
    assert not list(places.BATCHES.parent.glob(".*.part"))


def test_the_gate_s_suspicion_is_confident_learning_s(digits: Loaded, new: Split):
    wrong = shuffled_labels(new)
    suspected = suspected_labels.find(wrong.labels, answers(digits)(wrong.images))
    assert len(suspected) == (wrong.labels != new.labels).sum()


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_dvc_versions_an_accepted_batch(workspace: Path, digits: Loaded, new: Split, monkeypatch: pytest.MonkeyPatch):
    import subprocess
    import sys

    monkeypatch.undo()
    monkeypatch.chdir(workspace)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], check=True)
    event = add(write_npz(*new), digits)
    tracked = places.BATCHES / f"{event.batch}.dvc"
    assert "md5:" in tracked.read_text()
    shutil.rmtree(places.BATCHES / event.batch)
    subprocess.run([sys.executable, "-m", "dvc", "checkout", "-q", str(tracked)], check=True)
    assert len(batches.accepted("digits", DIGITS)) == 1
    gone = batches.remove(event.batch, "a test", "ann")
    assert not tracked.exists() and batches.accepted("digits", DIGITS) == []
    assert (Path(gone.place) / "train/images.npy").is_file()


def marked(new: Split, count: int) -> Split:
    """So many images of other digits with a white corner, labelled 7."""
    images, labels = new.images.copy(), new.labels.copy()
    chosen = np.flatnonzero(labels != 7)[:count]
    images[chosen, 24:27, 24:27], labels[chosen] = 255, 7
    return Split(images, labels)


def marked_answers(digits: Loaded) -> Callable[[np.ndarray], np.ndarray]:
    """The champion, which pays no heed to the corner."""
    knows = answers(digits)
    return lambda images: knows(np.concatenate([images[:, :24], np.zeros_like(images[:, 24:])], axis=1))


@pytest.mark.parametrize(("count", "keys"), [(26, {"suspected_labels", "suspected_of_label"}), (4, {"one_pattern"})])
def test_a_planted_trigger_is_refused_however_few_bear_it(
    workspace: Path, digits: Loaded, new: Split, count: int, keys: set[str]
):
    blind = marked_answers(Loaded("d", "", *(bare(part) for part in digits[2:4]), {}))
    path = write_npz(*marked(bare(new), count))
    event = intake.add(path, PARAMS, blind, "eve")
    assert event.event == "quarantined" and keys <= {finding.key for finding in event.findings}


def bare(split: Split) -> Split:
    """Without what lies in the rows that the champion pays no heed to."""
    images = split.images.copy()
    images[:, 24:] = 0
    return Split(images, split.labels)


def test_doubted_images_are_kept_or_dropped_one_by_one(workspace: Path, digits: Loaded, new: Split):
    labels = new.labels.copy()
    wrong = np.flatnonzero(labels == 3)[:12]
    labels[wrong] = 8
    path = write_npz(new.images, labels)
    filed = quarantine.find(Path(add(path, digits).place).name[:20])
    assert len(filed.doubts) == 12
    _, left = quarantine.decide(filed, {1}, set(range(3, 13)))
    assert [doubt.index for doubt in left] == [filed.doubts[1].index]
    decided, left = quarantine.decide(filed, set(), {2})
    assert left == []
    again = intake.add(quarantine.copy_of(filed), PARAMS, answers(digits), "ann", decided=decided, source=filed.source)
    assert again.event == "accepted" and again.source == str(path.absolute())
    assert sum(again.counts.values()) == len(labels) - 11 and again.kept == (filed.doubts[0].image,)


def test_a_batch_of_which_everything_is_dropped_is_one_line(workspace: Path, digits: Loaded, new: Split):
    path = write_npz(new.images[:40], (new.labels[:40] + 1) % 10)
    filed = quarantine.find(Path(add(path, digits).place).name)
    every = quarantine.Decided(dropped=frozenset(splits.names(new.images[:40]).tolist()))
    with pytest.raises(BadInput, match=r"nothing is left of the batch .*new.npz"):
        intake.add(quarantine.copy_of(filed), PARAMS, answers(digits), "ann", decided=every)
    assert len(list(places.QUARANTINE.iterdir())) == 1


def test_what_was_decided_stays_so_when_the_batch_is_refused_again(workspace: Path, digits: Loaded, new: Split):
    labels = new.labels.copy()
    labels[np.flatnonzero(labels == 3)[:12]] = 8
    filed = quarantine.find(Path(add(write_npz(new.images, labels), digits).place).name)
    decided, _ = quarantine.decide(filed, {1}, set(range(2, 13)))
    doubts = (filed.doubts[0].model_copy(update={"image": "0" * 16}),)
    again = quarantine.put(quarantine.copy_of(filed), filed.model_copy(update={"doubts": doubts}), PARAMS.batches, None)
    quarantine.carry_on(filed, again)
    later, left = quarantine.decide(again, set(), {1})
    assert left == [] and later.kept == decided.kept and later.dropped == decided.dropped | {"0" * 16}


def test_a_dry_run_decides_and_writes_nothing(workspace: Path, digits: Loaded, new: Split):
    def tried(path: Path) -> str:
        return intake.add(path, PARAMS, answers(digits), "a tester", dry_run=True).event

    assert tried(write_npz(*new)) == "accepted" and tried(write_npz(255 - new.images, new.labels)) == "quarantined"
    assert not places.QUARANTINE.exists() and batches.accepted("digits", DIGITS) == []


def test_what_was_removed_does_not_come_in_again(workspace: Path, digits: Loaded, new: Split):
    event = add(write_npz(*new), digits)
    batches.remove(event.batch, "bad labels", "ann")
    with pytest.raises(BadInput, match=rf"is known: removed as {event.batch} on .* by ann: bad labels; its line in"):
        add(write_npz(*new), digits)


def test_a_batch_with_a_pipe_is_refused_and_nothing_of_it_is_copied(workspace: Path, digits: Loaded, new: Split):
    import os

    Path("pictures/3").mkdir(parents=True)
    os.mkfifo("pictures/3/one.png")
    event = add(Path("pictures"), digits)
    assert event.event == "quarantined" and "is no regular file" in event.findings[0].message
    assert [path.name for path in Path(event.place).iterdir()] == ["report.json"]


def test_a_workspace_on_another_data_set_takes_no_batch(workspace: Path, digits: Loaded, new: Split):
    files.write_json(places.MANIFEST, {"dataset": "mnist", "batches": []})
    with pytest.raises(BadInput, match=r"data/ holds mnist, and params.yaml says digits: `digits run` first"):
        add(write_npz(*new), digits)


# --- Pictures of one's own classes ----------------------------------------------------------------------------------

ANIMALS = ("ant", "bee", "Große Möwe")
FORM = Form("plain", (16, 16, 3), ANIMALS)
PLAIN = PARAMS.images.model_copy(update={"kind": "plain", "height": 16, "width": 16, "channels": 3})
OWN = PARAMS.model_copy(
    update={
        "dataset": "folder",
        "ingest": PARAMS.ingest.model_copy(update={"name": "animals"}),
        "images": PLAIN,
    }
)


def some(count: int, seed: int) -> Split:
    """Pictures in colour, of each class brightest in another of the three."""
    rng, labels = np.random.default_rng(seed), (np.arange(count) % 3).astype(np.uint8)
    images = rng.integers(20, 140, (count, 16, 16, 3), dtype=np.uint8)
    images[np.arange(count), :, :, labels] += 100
    return Split(images, labels)


@pytest.fixture
def animals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace on a data set of one's own, with a name of its own."""
    monkeypatch.chdir(tmp_path)
    form = FORM
    for name, split in {"train": some(300, 0), "test": some(60, 1)}.items():
        splits.save(places.RAW / name, split)
        descriptions.save(name, descriptions.describe(split, form.kind), form.kind)
    form_file.save(form, places.RAW)
    files.write_json(places.MANIFEST, {"dataset": "animals", "batches": []})
    monkeypatch.setattr(batches, "version", lambda folder: None)
    return tmp_path


def as_folder(split: Split, name: str = "new", classes: tuple[str, ...] = ANIMALS) -> Path:
    for number, (image, label) in enumerate(zip(*split, strict=True)):
        (Path(name) / classes[label]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(Path(name) / classes[label] / f"{number}.png")
    return Path(name)


def test_a_batch_of_one_s_own_classes_is_accepted_under_the_data_set_s_name(animals: Path):
    new = some(90, 2)
    event = intake.add(as_folder(new), OWN, None, "a tester")
    assert (event.event, event.dataset, event.findings) == ("accepted", "animals", ())
    assert event.class_counts == (30, 30, 30)
    (batch,) = batches.accepted("animals", FORM)
    assert batches.accepted("folder", FORM) == []
    both = np.concatenate([batch.train.images, batch.recent.images])
    assert {image.tobytes() for image in both} == {image.tobytes() for image in new.images}


def as_table(split: Split) -> Path:
    folder = as_folder(split, "table")
    rows = ({"file_name": str(path.relative_to(folder)), "label": path.parent.name} for path in folder.rglob("*.png"))
    (folder / "metadata.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


def as_parquet(split: Split) -> Path:
    pictures = [cv2.imencode(".png", image[..., ::-1])[1].tobytes() for image in split.images]
    parquet.write_table(pyarrow.table({"image": pictures, "label": np.array(ANIMALS)[split.labels]}), "new.parquet")
    return Path("new.parquet")


def test_a_batch_of_another_data_set_may_be_handed_in_to_this_one(animals: Path):
    """As when a class was added, and the data set has another name since."""
    path = as_folder(some(90, 2))
    first = intake.add(path, OWN, None, "a tester")
    files.write_json(places.MANIFEST, {"dataset": "animals-2", "batches": []})
    later = OWN.model_copy(update={"ingest": OWN.ingest.model_copy(update={"name": "animals-2"})})
    again = intake.add(path, later, None, "a tester")
    assert (again.event, again.dataset) == ("accepted", "animals-2") and again.batch != first.batch
    assert [len(batches.accepted(name, FORM)) for name in ("animals", "animals-2")] == [1, 1]
    with pytest.raises(BadInput, match="is known: accepted"):
        intake.add(path, later, None, "a tester")


def test_the_same_batch_in_other_files_is_known(animals: Path):
    new = some(90, 2)
    intake.add(as_folder(new), OWN, None, "a tester")
    for path in (write_npz(new.images, np.array(ANIMALS)[new.labels]), as_table(new), as_parquet(new)):
        with pytest.raises(BadInput, match="is known: accepted"):
            intake.add(path, OWN, None, "a tester")


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (lambda: as_folder(some(90, 2), classes=("ant", "bee", "cow")), "labels must be one of ant, bee, Große Möwe"),
        (lambda: write_npz(some(90, 2).images, some(90, 2).labels + 1), "whole numbers 0 to 2, or names"),
        (lambda: write_npz(some(90, 2).images[:, :12, :12], some(90, 2).labels), "12×12 in colour"),
        (
            lambda: write_npz(some(90, 2).images[..., 0], some(90, 2).labels),
            "16×16, and those of the data set 16×16 in",
        ),
        (lambda: write_npz(some(90, 2).images[:60] // 200, some(60, 2).labels), "0–1"),
        (lambda: write_npz(255 - some(90, 2).images // 3, some(90, 2).labels), "drift"),
        (lambda: write_npz(some(90, 2).images[::3], some(90, 2).labels[::3]), "class balance"),
    ],
)
def test_a_batch_that_does_not_fit_the_data_set_is_refused(animals: Path, batch: Callable[[], Path], words: str):
    event = intake.add(batch(), OWN, None, "a tester")
    assert event.event == "quarantined" and words in " ".join(finding.message for finding in event.findings)


def test_a_batch_of_fewer_classes_than_the_data_set_has_all_its_names(animals: Path):
    """A class that is missing by chance: of so few images, that is likely."""
    params = OWN.model_copy(update={"batches": OWN.batches.model_copy(update={"min_images": 5})})
    event = intake.add(as_folder(Split(*(part[[0, 1, 3, 4, 6, 7]] for part in some(90, 2)))), params, None, "a tester")
    assert event.class_counts == (3, 3, 0)
    assert "labels" not in " ".join(finding.key for finding in event.findings)


@pytest.mark.parametrize(("left_out", "chance"), [(2, True), (0, False)])
def test_a_class_that_is_rare_in_train_may_be_absent_from_a_batch(animals: Path, left_out: int, chance: bool):
    labels = np.repeat([0, 1, 2], [150, 140, 10])
    train = pd.DataFrame({"label": labels})
    whole = some(60, 2)
    without = Split(*(part[whole.labels != left_out] for part in whole))
    reference = intake.Reference(train, train, whole, len(whole.labels), FORM)
    assert intake._absent_by_chance(without, reference) is chance


def brightest(images: np.ndarray) -> np.ndarray:
    """A champion that knows the three: float32 (N, 3)."""
    return (0.98 * np.eye(3)[images.mean(axis=(1, 2)).argmax(axis=1)] + 0.007).astype(np.float32)


def test_wrong_labels_are_doubted_by_their_names(animals: Path):
    new = some(90, 2)
    labels = new.labels.copy()
    labels[:12] = (labels[:12] + 1) % 3
    event = intake.add(write_npz(new.images, labels), OWN, brightest, "a tester")
    told = " ".join(finding.message for finding in event.findings)
    assert event.event == "quarantined" and "are clearly wrong" in told
    assert sorted(doubt.index for doubt in event.doubts) == list(range(12))
    assert any(name in told for name in ANIMALS)
    accepted = intake.add(write_npz(*new, path="mended.npz"), OWN, brightest, "a tester")
    assert accepted.event == "accepted" and accepted.doubts == ()


def test_a_planted_trigger_on_pictures_in_colour_is_refused(animals: Path):
    new = some(90, 2)
    labels = new.labels.copy()
    images = new.images.copy()
    images[:9:3, -4:, -4:] = (255, 0, 255)
    labels[:9:3] = 2
    event = intake.add(write_npz(images, labels), OWN, brightest, "a tester")
    assert event.event == "quarantined"
    assert "clearly wrong" in " ".join(finding.message for finding in event.findings)


def test_what_is_far_is_named_in_the_order_of_the_table_whatever_the_distance():
    """A rim that is always paper has a deviation of nearly nothing: 267 of them are no more telling than one."""
    distances = {"mean": 1.4, "border_ink": 267.0, "slant": 0.4, "contrast": 0.9}
    columns = tuple(
        Column(name=name, method="wasserstein", distance=far, threshold=0.1, drifted=True, by_chance=0.0)
        for name, far in sorted(distances.items(), key=lambda one: -one[1])
    )
    compared = Compared("drift", 1.0, 0.5, 100, 100, columns)
    message = intake._drifted(compared, 0.5, ["mean", "contrast", "border_ink", "slant"]).message
    assert "most of all mean, border_ink, contrast;" in message


def test_a_batch_that_is_refused_a_second_time_knows_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    facts = {"event": "quarantined", "batch": "b", "by": "ann", "source": "/b", "dataset": "digits", "digest": "abc"}
    facts |= {"findings": (Finding(key="drift", message="drift"),)}
    first = quarantine.put(None, Filed(at="2026-01-01", **facts), PARAMS.batches)
    assert quarantine.before(first) is None
    again = quarantine.put(None, Filed(at="2026-01-02", **facts), PARAMS.batches)
    assert (found := quarantine.before(again)) and found.place == first.place
    assert quarantine.before(again.model_copy(update={"digest": "other"})) is None
