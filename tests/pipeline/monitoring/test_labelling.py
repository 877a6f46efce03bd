"""Which images people are asked about, and what several people's labels come to."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from pipeline.base import files
from pipeline.base.errors import BadInput
from pipeline.base.form import DIGITS
from pipeline.data import handed_in
from pipeline.digits import features
from pipeline.monitoring import labelling, live
from pipeline.monitoring.live import Seen

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 28, 28), np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    labelling.write(tmp_path / "asked", IMAGES, DIGITS)
    return tmp_path / "asked"


def test_the_least_sure_come_first_each_once_and_none_that_was_corrected(tmp_path: Path):
    confidences = np.array([0.9, 0.3, 0.5, 0.2, 0.8, 0.4])
    seen = Seen([f"a-{i}" for i in range(6)], "", "digits-cnn", "1", IMAGES, np.zeros(6, int), confidences)
    with live.store(tmp_path / "live.db") as store:
        for part, kept in ((seen, True), (seen, True), (seen._replace(model="another"), True), (seen, False)):
            live.write(store, [part], features.describe(IMAGES).to_numpy(), keep_images=kept)
        live.correct(store, seen._replace(ids=["a-3"], images=IMAGES[3:4], answers=np.zeros(1, int)), 1, "ann", 10**7)
        chosen = labelling.choose(store, "digits-cnn", most=3)
    np.testing.assert_array_equal(chosen, IMAGES[[1, 5, 2]])


def test_what_most_say_is_the_label_and_a_tie_is_disputed(folder: Path):
    labelling.keep(folder, "ann", {0: "7", 1: "1", 2: "3", 3: labelling.SKIPPED})
    labelling.keep(folder, "bob", {0: "7", 1: "1", 2: "5", 3: labelling.SKIPPED, 4: "9"})
    labelling.keep(folder, "cy", {1: "7"})
    merged = labelling.merge(folder)
    assert merged == labelling.Merged({0: "7", 1: "1", 4: "9"}, agreed=3, disputed=[2], skipped=1)
    batch = labelling.write_batch(folder, merged)
    assert handed_in.kind(batch) == "npz"
    with np.load(batch) as arrays:
        np.testing.assert_array_equal(arrays["images"], IMAGES[[0, 1, 4]])
        assert arrays["labels"].tolist() == ["7", "1", "9"]


def test_without_labels_there_is_no_batch(folder: Path):
    with pytest.raises(BadInput, match=r"no image of .* has a label that people agree on"):
        labelling.write_batch(folder, labelling.merge(folder))


def test_label_studio_s_export_of_the_tasks_is_taken_in_by_person(folder: Path):
    tasks = files.read_json(folder / labelling.TASKS)
    assert all(task["data"]["image"].startswith("data:image/png;base64,") for task in tasks)
    choice = {"type": "choices", "value": {"choices": ["4"]}}
    tasks[2]["annotations"] = [
        {"completed_by": {"id": 1, "email": "ann@example.org"}, "result": [choice]},
        {"completed_by": 2, "result": []},
    ]
    export = folder / "export.json"
    export.write_text(json.dumps([tasks[2]]))
    assert labelling.from_label_studio(folder, export) == {"ann@example.org": 1, "label-studio-2": 1}
    assert labelling.of(folder, "ann@example.org") == {2: "4"}
    assert labelling.merge(folder).disputed == [2]


@pytest.mark.parametrize(
    "text",
    ["", "[1]", '[{"annotations": [{}]}]', "{}x", '{"a": 1}', "[" * 100_000, '[{"annotations":' + "[" * 100_000],
    ids=lambda text: text[:20],
)
def test_another_file_is_no_export(folder: Path, text: str):
    (folder / "export.json").write_text(text)
    with pytest.raises(BadInput, match="is no JSON export of Label Studio"):
        labelling.from_label_studio(folder, folder / "export.json")


def exported(folder: Path, at: int, *people: object, label: str = "4", numbered: object = 0) -> Path:
    """An export in which these people called one of the folder's images that, under this number."""
    task = files.read_json(folder / labelling.TASKS)[at]
    task["data"]["number"] = numbered
    choice = {"type": "choices", "value": {"choices": [label]}}
    task["annotations"] = [{"completed_by": person, "result": [choice]} for person in people]
    (folder / "export.json").write_text(json.dumps([task]))
    return folder / "export.json"


@pytest.mark.parametrize("number", [3, 99, 1.9, float("inf"), None], ids=str)
def test_an_export_s_label_goes_to_the_image_that_was_shown(folder: Path, number: object):
    labelling.from_label_studio(folder, exported(folder, 0, 1, numbered=number))
    assert labelling.merge(folder).labels == {0: "4"}


def test_an_export_of_another_folder_s_tasks_is_refused(folder: Path):
    labelling.write(folder.parent / "week 2", 255 - IMAGES, DIGITS)
    with pytest.raises(BadInput, match="labels an image that"):
        labelling.from_label_studio(folder, exported(folder.parent / "week 2", 0, 1))


def test_an_export_of_another_class_is_refused_in_a_short_line(folder: Path):
    with pytest.raises(BadInput, match="as 'tententen") as told:
        labelling.from_label_studio(folder, exported(folder, 0, 1, label="ten" * 10**6))
    assert len(str(told.value)) < 1000


def test_of_an_export_all_is_taken_in_or_nothing(folder: Path):
    with pytest.raises(BadInput, match="is no name for a file"):
        labelling.from_label_studio(
            folder, exported(folder, 0, {"email": "ann+labels@example.org"}, {"email": "../bob"})
        )
    assert labelling.merge(folder).labels == {}


def test_an_export_of_more_people_than_there_can_be_is_refused(folder: Path):
    with pytest.raises(BadInput, match="more than 1,000 people"):
        labelling.from_label_studio(folder, exported(folder, 0, *range(1001)))


def test_an_export_that_never_ends_is_refused(folder: Path):
    with pytest.raises(BadInput, match="is no regular file"):
        labelling.from_label_studio(folder, Path("/dev/zero"))


def test_an_address_with_a_plus_is_a_person(folder: Path):
    export = exported(folder, 0, {"email": "ann+labels@example.org"})
    assert labelling.from_label_studio(folder, export) == {"ann+labels@example.org": 1}


def test_what_two_say_at_once_under_one_name_is_all_kept(folder: Path):
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: labelling.keep(folder, "ann", {number: "4"}), range(100)))
    assert labelling.of(folder, "ann") == dict.fromkeys(range(100), "4")


@pytest.mark.parametrize("text", ["{", "[1]", '{"x": "4"}', "[" * 100_000, '{"0": ["4"]}'], ids=lambda text: text[:10])
def test_labels_that_cannot_be_read_are_named(folder: Path, text: str):
    labelling.keep(folder, "ann", {0: "7"})
    (folder / labelling.LABELS / "ann.json").write_text(text)
    for read in (labelling.merge, lambda folder: labelling.of(folder, "ann")):
        with pytest.raises(BadInput, match=r"ann.json is no file of labels"):
            read(folder)


@pytest.mark.parametrize("content", [b"", b"PK\3\4 and no more", b"\x93NUMPY"], ids=["empty", "cut", "npy"])
def test_images_that_cannot_be_read_are_a_line(folder: Path, content: bytes):
    (folder / labelling.IMAGES).write_bytes(content)
    with pytest.raises(BadInput):
        labelling.read(folder)


@pytest.mark.parametrize(
    "images", [np.zeros((3, 28), np.uint8), np.zeros((3, 8, 8)), np.empty((0, 28, 28), np.uint8)], ids=lambda i: i.shape
)
def test_images_of_no_form_are_refused(folder: Path, images: np.ndarray):
    np.savez(folder / labelling.IMAGES, images=images, classes=np.array(DIGITS.classes))
    with pytest.raises(BadInput, match="holds no images to label"):
        labelling.read(folder)


def test_images_that_unpack_to_more_than_there_can_be_are_refused(folder: Path):
    np.savez_compressed(folder / labelling.IMAGES, images=np.zeros((1_001, 28, 28), np.uint8), classes=np.array(["a"]))
    with pytest.raises(BadInput, match="holds 1,001 images, allowed 1,000"):
        labelling.read(folder)


def test_a_folder_of_other_things_is_refused(tmp_path: Path):
    with pytest.raises(BadInput, match="holds no images to label"):
        labelling.read(tmp_path)


@pytest.mark.parametrize("name", ["../ann", "", "a/b", ".hidden"])
def test_a_person_s_name_is_a_file_s(folder: Path, name: str):
    with pytest.raises(BadInput, match="is no name for a file"):
        labelling.keep(folder, name, {})
