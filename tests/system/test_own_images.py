"""A data set that is no digits: small pictures in colour, of named classes, from the files to the service and back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from running import served
from workspace import ROOT, Workspace

pytestmark = pytest.mark.slow  # each room has tests of images that are no digits
CLASSES = ("blue sky", "green tea", "red fox")
COLOURS = np.array([(40, 60, 200), (40, 180, 60), (210, 60, 30)])


def pictures(each: int, side: int = 16, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Of each class so many, in its colour with a disc somewhere: uint8 (N, side, side, 3), and names (N,)."""
    rng = np.random.default_rng(seed)
    labels = np.tile(np.arange(len(CLASSES)), each)
    drawn = []
    for label in labels:
        image = (
            (COLOURS[label] * rng.uniform(0.6, 1) + rng.normal(0, 15, (side, side, 3))).clip(0, 255).astype(np.uint8)
        )
        place = tuple(map(int, rng.integers(side // 4, side - side // 4, 2)))
        drawn.append(cv2.circle(image, place, side // 5, tuple(map(int, rng.integers(0, 255, 3))), -1))
    return np.stack(drawn), np.array(CLASSES)[labels]


def write(folder: Path, images: np.ndarray, names: np.ndarray) -> Path:
    for number, (image, name) in enumerate(zip(images, names, strict=True)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name / f"{number}.png"), image[..., ::-1])
    return folder


@pytest.fixture(scope="module")
def workspace(new_workspace: Callable[..., Workspace]) -> Workspace:
    """With a champion of such pictures."""
    there = new_workspace()
    there.edit("dataset", "folder", **{"ingest.name": "foxes", "images.kind": "plain"})
    there.edit(height="16", width="16", channels="3", min_train="100", min_test="40")
    write(there.folder / "data/incoming", *pictures(120))
    there.digits("run")
    return there


def test_it_is_registered_under_its_name_with_its_classes_and_shape(workspace: Workspace):
    champion = json.loads(workspace.digits("champion", "--json").stdout)
    assert champion["model"] == "foxes-cnn" and champion["metrics"]["accuracy"] > 0.9
    manifest = json.loads((workspace.folder / "data/raw/manifest.json").read_text())
    assert (manifest["classes"], manifest["shape"], manifest["kind"]) == ([*CLASSES], [16, 16, 3], "plain")
    (card,) = workspace.folder.glob("mlartifacts/**/MODEL_CARD.md")
    assert ", ".join(CLASSES) in card.read_text() and "uint8 (N, 16, 16, 3)" in card.read_text()


def test_the_report_and_its_tables_name_the_classes(workspace: Workspace):
    page = (workspace.folder / "reports/index.html").read_text()
    assert "of unseen images read correctly" in page and "green tea" in page and "non-digits" not in page
    assert (workspace.folder / "reports/evaluation/per_class.csv").read_text().splitlines()[1].startswith("blue sky,")


def test_a_picture_is_said_to_be_of_a_class(workspace: Workspace, tmp_path: Path):
    images, names = pictures(1, side=50, seed=5)
    folder = write(tmp_path / "asked", images, names)
    (folder / "notes.png").write_text("no picture")
    found = json.loads(workspace.digits("predict", str(folder), "--json", code=1).stdout)["answers"]
    said = {Path(answer["file"]).parent.name: answer["label"] for answer in found}
    assert said == {name: name for name in CLASSES} | {"asked": None}
    (reason,) = [answer["reason"] for answer in found if answer["label"] is None]
    assert reason.startswith("is not a picture")


def test_a_batch_is_taken_in_by_its_classes_or_refused_by_name(workspace: Workspace, tmp_path: Path):
    images, names = pictures(20, seed=7)
    accepted = json.loads(workspace.digits("add-batch", str(write(tmp_path / "new", images, names)), "--json").stdout)
    assert accepted["event"] == "accepted" and accepted["class_counts"] == [20, 20, 20]
    np.savez(tmp_path / "foreign.npz", images=images, labels=np.where(names == "red fox", "wolf", names))
    assert "holds wolf" in workspace.digits("add-batch", str(tmp_path / "foreign.npz"), code=1).stdout
    np.savez(tmp_path / "grey.npz", images=images[..., 0], labels=names)
    assert "16×16 in colour" in workspace.digits("add-batch", str(tmp_path / "grey.npz"), code=1).stdout


def test_a_challenger_of_other_classes_is_refused_by_name(workspace: Workspace):
    workspace.register_again("the same once more")
    form = workspace.folder / "data/processed/form.json"
    kept = form.read_text()
    form.write_text(kept.replace("red fox", "wolf"))
    said = workspace.digits("promote", code=2).stderr
    form.write_text(kept)
    assert "data/ holds 16×16 in colour of 3 classes (blue sky, green tea, wolf)" in said and "red fox" in said


def test_the_service_answers_by_name_and_takes_corrections(workspace: Workspace, tmp_path: Path):
    images, _ = pictures(1, seed=9)
    with served(workspace) as service:
        told = service.client.get("/model").json()["images"]
        assert told["classes"] == [*CLASSES] and told["shape"] == [16, 16, 3]
        asked = service.client.post("/predict", json={"images": images.tolist()}).json()["answers"]
        assert [answer["label"] for answer in asked] == [*CLASSES] and [one["index"] for one in asked] == [0, 1, 2]
        photo = cv2.imencode(".jpg", cv2.resize(images[2], (90, 60))[..., ::-1])[1].tobytes()
        answer = _one(service.client.post("/predict", content=photo, headers={"content-type": "image/jpeg"}))
        assert answer["label"] == "red fox"
        taken, refused = ({"label": "red fox"}, {"none": True}, {"index": 1}), ({"label": "wolf"}, {})
        for said, status in (*((one, 201) for one in taken), *((one, 422) for one in refused)):
            assert service.client.post("/corrections", json={"id": answer["id"], **said}).status_code == status
        wrong = service.client.post("/predict", json={"images": images[..., 0].tolist()})
        assert wrong.status_code == 422 and "shape (16, 16, 3)" in wrong.json()["detail"]
        schema = service.client.get("/openapi.json").json()["paths"]["/predict"]["post"]["requestBody"]["content"]
        items = schema["application/json"]["schema"]["properties"]["images"]["items"]
        assert items["maxItems"] == 16 and items["items"]["items"]["maxItems"] == 3


def _one(response: httpx.Response) -> dict[str, Any]:
    (answer,) = response.json()["answers"]
    return answer


def test_a_notebook_has_the_models_as_objects(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    import digits

    monkeypatch.chdir(workspace.folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    images, names = pictures(3, seed=11)
    model = digits.champion()
    assert model.form.classes == CLASSES and model.metrics["accuracy"] > 0.9
    assert model.predict(images)["label"].tolist() == names.tolist()
    paths = [str(path) for path in sorted(write(tmp_path / "asked", images, names).rglob("*.png"))]
    assert model.predict(paths)["file"].tolist() == paths
    labels = np.array([CLASSES.index(name) for name in names])
    compared = digits.compare(model, digits.version(1), images, labels)
    assert compared["accuracy"].tolist() == [1, 1] and compared["alone_right"].tolist() == [0, 0]
    assert digits.history()["event"].tolist() == ["promoted"]


def test_the_notebook_in_docs_runs(workspace: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(workspace.folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    cells = json.loads((ROOT / "docs/models.ipynb").read_text())["cells"]
    scope: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), scope)  # noqa: S102  # of our own docs
    assert scope["model"].name == "foxes-cnn" and len(scope["answers"]) == len(scope["labels"])
