"""A version, handed out as a folder: whole, checked, and of use without this project."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image
from workspace import Workspace

from pipeline.base import files, places
from pipeline.base.errors import BadInput
from pipeline.base.form import Form
from pipeline.data import splits
from pipeline.learning import inference, litert
from pipeline.registry import artifacts, bundle, versions

NAME = "digits-cnn"


@pytest.fixture
def client(demo: Workspace, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.chdir(demo.folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return versions.connect()


@pytest.fixture(scope="module")
def exported(demo: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "below" / "champion"
    done = demo.digits("export", "champion", str(folder), "--json")
    told = json.loads(done.stdout)
    assert told["model"] == NAME and told["version"] == "1" and told["images"] == 256
    assert told["files"] == {path.name: files.sha256_file(path) for path in folder.iterdir()}
    assert done.stderr == ""  # no word of the libraries below
    assert told["int8"]["accuracy"] >= told["int8"]["float_accuracy"] - bundle.INT8_LOSS
    return folder


def test_the_folder_has_models_card_samples_and_their_digests(exported: Path):
    assert {path.name for path in exported.iterdir()} == {
        *("model.onnx", "model.tflite", "model-int8.tflite", "MODEL_CARD.md", "form.json"),
        *("example.json", "predict.py", "predict.mjs", "SHA256SUMS"),
    }
    lines = (exported / "SHA256SUMS").read_text().splitlines()
    assert {name: digest for digest, name in (line.split("  ") for line in lines)} == {
        path.name: files.sha256_file(path) for path in exported.iterdir() if path.name != "SHA256SUMS"
    }
    assert list(exported.parent.iterdir()) == [exported]  # nothing of the work is left beside it
    assert exported.stat().st_mode & 0o055 == 0o055


def test_onnx_and_litert_answer_as_the_registered_version(exported: Path, demo: Workspace):
    images = np.asarray(splits.load(demo.folder / places.PROCESSED / "test").images[:300])
    expected = inference.answers(inference.open_model(demo.folder / places.ONNX), images)
    for answered in (
        inference.answers(inference.open_model(exported / "model.onnx"), images),
        litert.answers(exported / "model.tflite", images),
    ):
        for one, other in zip(answered, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4)
    example = json.loads((exported / "example.json").read_text())
    assert example["images"] == images[:8].tolist()
    np.testing.assert_allclose(example["certainty"], expected.certainty[:8], atol=1e-6)


def test_the_int8_model_computes_in_integers_and_answers_nearly_as_the_float_model(exported: Path, demo: Workspace):
    images = np.asarray(splits.load(demo.folder / places.PROCESSED / "test").images[:200])
    of_int8, of_float = (litert.answers(exported / name, images) for name in ("model-int8.tflite", "model.tflite"))
    assert np.mean(of_int8.probabilities.argmax(axis=1) == of_float.probabilities.argmax(axis=1)) >= 0.98
    assert (of_int8.certainty == 1).all()  # it gives none
    assert (exported / "model-int8.tflite").stat().st_size < 0.5 * (exported / "model.tflite").stat().st_size


def test_without_images_of_its_form_there_is_no_int8_model(
    client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bundle.form, "load", lambda: Form("plain", (28, 28), ("a", "b")))
    made = bundle.export(client, versions.champion(client, NAME), tmp_path / "champion")
    assert made.int8 is None and bundle.INT8 not in made.files and not (tmp_path / "champion" / bundle.INT8).exists()


def test_an_int8_model_that_loses_too_much_is_left_out(
    client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    quantise = litert.quantise
    blank = np.zeros((1, 28, 28), np.uint8)  # by whose empty layers no scale can be told
    monkeypatch.setattr(litert, "quantise", lambda keras_file, path, sample: quantise(keras_file, path, blank))
    made = bundle.export(client, versions.champion(client, NAME), tmp_path / "champion")
    assert made.int8 and not made.int8.handed_out and bundle.INT8 not in made.files
    assert "and therefore left out" in str(made.int8)


def test_an_int8_model_that_stops_on_an_image_is_left_out(
    client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    answers = litert.answers

    def stopping(path: Path, images: np.ndarray) -> inference.Answers:
        if path.name == bundle.INT8:
            raise RuntimeError("Node number 182 (DIV) failed to invoke.")
        return answers(path, images)

    monkeypatch.setattr(litert, "answers", stopping)
    made = bundle.export(client, versions.champion(client, NAME), tmp_path / "champion")
    assert made.int8 and made.int8.accuracy == 0 and bundle.INT8 not in made.files


def test_the_python_sample_reads_pictures_by_itself(exported: Path, demo: Workspace, tmp_path: Path):
    alone = shutil.copytree(exported, tmp_path / "elsewhere")
    test = splits.load(demo.folder / places.PROCESSED / "test")
    paths = []
    for at in range(20):
        ink = np.kron(test.images[at], np.ones((6, 6), np.uint8))  # dark on light, and off the middle
        picture = Image.new("L", (400, 260), 235)
        picture.paste(Image.fromarray(235 - (ink * 0.8).astype(np.uint8)), (30 + at, 60))
        paths.append(tmp_path / f"{at}.png")
        picture.save(paths[-1])
    done = subprocess.run(
        [sys.executable, "-I", str(alone / "predict.py"), *map(str, paths)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    said = [line.rsplit(": ", 1)[1][0] for line in done.stdout.splitlines()]
    right = sum(one == str(label) for one, label in zip(said, test.labels[:20], strict=True))
    assert len(said) == 20 and right >= 18, done.stdout


def test_the_python_sample_says_in_a_line_what_is_no_picture(exported: Path, tmp_path: Path):
    notes = tmp_path / "notes.txt"
    notes.write_text("dear all")
    done = subprocess.run([sys.executable, "-I", exported / "predict.py", notes], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith(f"{notes}: is no picture that can be read: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_javascript_sample_is_well_formed(exported: Path):
    subprocess.run(["node", "--check", str(exported / "predict.mjs")], check=True)


def test_what_is_there_is_not_overwritten(client: MlflowClient, tmp_path: Path):
    with pytest.raises(BadInput, match="is there already"):
        bundle.export(client, versions.champion(client, NAME), tmp_path)
    with pytest.raises(BadInput, match="is there already"):
        bundle.export(client, versions.champion(client, NAME), tmp_path / "new" / "..")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["file/below", "loop/below", "n" * 256])
def test_where_no_folder_can_be_is_one_line(client: MlflowClient, tmp_path: Path, name: str):
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(BadInput, match=r"^\S+ cannot be made \(.+\): name another folder$"):
        bundle.export(client, versions.champion(client, NAME), tmp_path / name)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "loop"}


def test_a_name_as_long_as_the_disk_takes_will_do(client: MlflowClient, tmp_path: Path):
    made = bundle.export(client, versions.champion(client, NAME), tmp_path / ("n" * 255))
    assert {path.name for path in tmp_path.iterdir()} == {"n" * 255} and made.folder == str(tmp_path / ("n" * 255))


def test_no_folder_appears_when_litert_answers_otherwise(
    client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def another(path: Path, images: np.ndarray) -> inference.Answers:
        uniform = np.full((len(images), 10), 0.1, np.float32)
        return inference.Answers(uniform, np.ones(len(images), np.float32))

    monkeypatch.setattr(litert, "convert", lambda keras_file, path: path.write_bytes(b""))
    monkeypatch.setattr(litert, "answers", another)
    with pytest.raises(BadInput, match="its LiteRT model's answers differ from its ONNX model's by"):
        bundle.export(client, versions.champion(client, NAME), tmp_path / "new" / "below" / "champion")
    assert list(tmp_path.iterdir()) == []  # nor those above it


def test_what_a_killed_export_left_is_dropped_by_the_next(client: MlflowClient, tmp_path: Path):
    export = "from pathlib import Path; from pipeline.registry import bundle, versions; import os, signal;"
    export += "bundle._write = lambda *_: os.kill(os.getpid(), signal.SIGKILL); client = versions.connect();"
    export += f"bundle.export(client, versions.champion(client, {NAME!r}), Path({str(tmp_path / 'champion')!r}))"
    killed = subprocess.run([sys.executable, "-c", export], check=False)
    left = [path.suffix == ".lock" for path in tmp_path.iterdir()]
    assert killed.returncode == -signal.SIGKILL and sorted(left) == [False, True]  # the folder, and who was at work
    bundle.export(client, versions.champion(client, NAME), tmp_path / "champion")
    assert list(tmp_path.iterdir()) == [tmp_path / "champion"]


def test_of_two_exports_to_one_folder_the_second_is_refused_and_spoils_nothing(
    client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write, champion = bundle._write, versions.champion(client, NAME)

    def meanwhile(client: MlflowClient, version: Any, part: Path) -> float:
        difference = write(client, version, part)
        monkeypatch.setattr(bundle, "_write", write)
        with pytest.raises(BadInput, match=r"another export to .+champion is at work: wait"):
            bundle.export(client, version, tmp_path / "champion")
        return difference

    monkeypatch.setattr(bundle, "_write", meanwhile)
    made = bundle.export(client, champion, tmp_path / "champion")
    assert list(tmp_path.iterdir()) == [tmp_path / "champion"]
    assert made.files == {path.name: files.sha256_file(path) for path in (tmp_path / "champion").iterdir()}


def test_a_version_whose_files_are_not_those_registered_is_not_handed_out(
    client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    damaged = tmp_path / "damaged"
    shutil.copytree(artifacts.download(client, versions.champion(client, NAME)), damaged)
    (damaged / places.VERSION_KERAS).write_bytes(b"another")
    monkeypatch.setattr(artifacts, "download", lambda *_: damaged)
    with pytest.raises(BadInput, match=r"the file model\.keras of digits-cnn version 1 is missing or not the one"):
        bundle.export(client, versions.champion(client, NAME), tmp_path / "champion")
    assert not (tmp_path / "champion").exists()
