"""Which images people are asked about, and what several people's labels come to."""

import json
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


def test_an_export_with_a_person_who_is_no_file_s_name_is_not_taken_in_by_half(folder: Path):
    choice = {"type": "choices", "value": {"choices": ["4"]}}
    made = [{"completed_by": {"email": by}, "result": [choice]} for by in ("ann+digits@example.org", "a/b")]
    (folder / "export.json").write_text(json.dumps([{"data": {"number": 0}, "annotations": made}]))
    with pytest.raises(BadInput, match="'a/b' is no name for a file"):
        labelling.from_label_studio(folder, folder / "export.json")
    assert labelling.of(folder, "ann+digits@example.org") == {}


@pytest.mark.parametrize("text", ["", "[1]", '{"x": "7"}'])
def test_a_damaged_file_of_labels_is_named(folder: Path, text: str):
    labelling.keep(folder, "ann", {0: "7"})
    (folder / labelling.LABELS / "ann.json").write_text(text)
    for use in (lambda: labelling.of(folder, "ann"), lambda: labelling.merge(folder)):
        with pytest.raises(BadInput, match=r"ann\.json holds no labels by image: mend or remove it"):
            use()


@pytest.mark.parametrize("text", ["", "[1]", '[{"annotations": [{}]}]', "{}x", '{"a": 1}'])
def test_another_file_is_no_export(folder: Path, text: str):
    (folder / "export.json").write_text(text)
    with pytest.raises(BadInput, match="is no JSON export of Label Studio"):
        labelling.from_label_studio(folder, folder / "export.json")


@pytest.mark.parametrize("label", ["ten", ""])
def test_an_export_of_other_classes_is_refused(folder: Path, label: str):
    choice = {"type": "choices", "value": {"choices": [label or "4"]}}
    number = 0 if label else 99
    told = [{"data": {"number": number}, "annotations": [{"completed_by": 1, "result": [choice]}]}]
    (folder / "export.json").write_text(json.dumps(told))
    with pytest.raises(BadInput, match="labels an image that"):
        labelling.from_label_studio(folder, folder / "export.json")


def test_a_folder_of_other_things_is_refused(tmp_path: Path):
    with pytest.raises(BadInput, match="holds no images to label"):
        labelling.read(tmp_path)


@pytest.mark.parametrize("name", ["../ann", "", "a/b", ".hidden"])
def test_a_person_s_name_is_a_file_s(folder: Path, name: str):
    with pytest.raises(BadInput, match="is no name for a file"):
        labelling.keep(folder, name, {})
