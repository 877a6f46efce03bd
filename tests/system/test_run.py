"""Whole runs: what a person types, on real DVC, Great Expectations, Keras, Evidently and MLflow."""

import json
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image, ImageDraw
from workspace import ROOT, Workspace

from pipeline import run

STAGES = list(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])
DVC = (sys.executable, "-m", "dvc")


@pytest.fixture(scope="module")
def trained(demo: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A copy for this file: its tests change what is in it and bring it back."""
    return demo.copy(tmp_path_factory.mktemp("trained") / "workspace")


@pytest.fixture
def type_digits(trained: Workspace, typed: Callable[..., Any]) -> Callable[..., Any]:
    return partial(typed, trained)


def everything_in(folder: Path) -> dict[str, int]:
    """Each file a run leaves behind and when it was last written."""
    kept = ("data", "models", "reports", "mlartifacts", "mlflow.db", "dvc.lock")
    paths = [p for name in kept for p in [folder / name, *(folder / name).rglob("*")] if p.is_file()]
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in paths}


def test_a_run_leaves_what_the_design_names(trained: Workspace):
    left = everything_in(trained.folder)
    for path in (
        "data/raw/manifest.json",
        "data/processed/val/images.npy",
        "models/model.keras",
        "models/model.onnx",
        "models/weights.sha256",
        "reports/validation.json",
        "reports/validation/index.html",
        "reports/history.csv",
        "reports/curves.png",
        "reports/metrics.json",
        "reports/evaluation/confusion_images.png",
        "reports/drift.html",
        "reports/index.html",
        "reports/registration.json",
    ):
        assert path in left
    assert not [path for path in left if "checkpoint" in path or ".part" in path]


def test_the_second_run_does_nothing(trained: Workspace):
    before = everything_in(trained.folder)
    done = trained.digits("run", "--dataset", "digits")
    assert "Running stage" not in done.stderr
    assert done.stderr.count("didn't change, skipping") == len(STAGES)
    assert "nothing to decide" in done.stdout
    assert everything_in(trained.folder) == before  # no file, no MLflow run, no version


def test_the_run_ends_with_the_champion_its_accuracy_and_the_report(trained: Workspace):
    accuracy = json.loads((trained.folder / "reports/metrics.json").read_text())["accuracy"]
    last = trained.digits("run").stdout.splitlines()[-1]
    assert last == f"champion: digits-cnn version 1, test accuracy {accuracy:.2%}, report reports/index.html"


def test_every_command_says_the_same_in_text_and_json(trained: Workspace, type_digits: Callable[..., Any]):
    champion = json.loads(type_digits("champion", "--json").stdout)
    assert champion["version"] == "1" and champion["aliases"] == ["champion"]
    assert champion["weights_sha256"] == (trained.folder / "models/weights.sha256").read_text().strip()
    (event,) = json.loads(type_digits("history", "--json").stdout)
    assert event["event"] == "promoted" and event["verdict"]["comparison"] is None
    assert "version 1 promoted by" in type_digits("history").stdout
    why = type_digits("why", "1").stdout
    for part in ("digits", "recipe.network.name", champion["lineage"]["git_commit"], "accuracy", "the first model"):
        assert part in why
    assert json.loads(type_digits("promote", "--json").stdout)["event"] == "unchanged"


def test_dvc_shows_metrics_and_plots(trained: Workspace):
    metrics = json.loads(trained.run(*DVC, "metrics", "show", "--json").stdout)
    assert metrics[""]["data"]["reports/metrics.json"]["data"]["accuracy"] > 0.3
    trained.run(*DVC, "plots", "show", "-o", "plots")
    page = (trained.folder / "plots/index.html").read_text()
    assert all(title in page for title in ("Confusion matrix", "Loss", "Accuracy"))


def draw_a_one(path: Path) -> None:
    page = Image.new("RGB", (300, 200), (240, 235, 220))
    ImageDraw.Draw(page).line([(190, 30), (195, 160)], fill=(20, 30, 90), width=14)
    page.save(path)


def test_predict_reads_a_picture_without_tensorflow(trained: Workspace):
    draw_a_one(trained.folder / "one.png")
    answer = json.loads(trained.digits("predict", "one.png", "--json").stdout)["answers"][0]
    assert len(answer["probabilities"]) == 10 and sum(answer["probabilities"]) == pytest.approx(1, abs=1e-4)
    assert answer["digit"] == int(np.argmax(answer["probabilities"]))
    imported = trained.run(sys.executable, "-X", "importtime", "-m", "cli", "predict", "one.png").stderr
    modules = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in imported.splitlines()}
    assert "onnxruntime" in modules and "tensorflow" not in modules


def test_predict_goes_on_after_what_cannot_be_read(trained: Workspace, type_digits: Callable[..., Any]):
    draw_a_one(trained.folder / "one.png")
    (trained.folder / "empty.png").touch()
    said = type_digits("predict", "absent.png", "empty.png", "one.png", code=1)
    assert said.stderr == "2 of 3 pictures could not be read\n"
    told = said.stdout.splitlines()
    assert told[:2] == [
        "absent.png: there is no such file",
        "empty.png: is not a picture: give a whole PNG, JPEG, GIF, WEBP, BMP, TIFF file",
    ]
    assert re.fullmatch(r"one.png: \d \(\d+\.\d%\)", told[2])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("predict", "one.png", "--out", "answers.xlsx"), "error: answers.xlsx: answers are written as .csv, "),
        (("why", "99"), "error: digits-cnn has no version 99: `digits history` lists those judged"),
        (
            ("champion", "--model", "svhn-cnn"),
            "error: svhn-cnn has no champion yet, nor a version: name one that is there (",
        ),
        (("rollback",), "error: digits-cnn has had no champion before version 1: there is nothing to undo"),
        (("run", "--dataset", "svhn"), "error: there is no data set 'svhn': choose one of digits, mnist, kaggle, "),
        (("frobnicate",), "error: no such command 'frobnicate' (see `digits --help`)"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    trained: Workspace, type_digits: Callable[..., Any], arguments: tuple[str, ...], line: str
):
    before = everything_in(trained.folder)
    done = type_digits(*arguments, code=2)
    assert line in done.stderr and "Traceback" not in done.stderr
    assert everything_in(trained.folder) == before


def test_wrong_params_stop_the_run_before_anything_is_touched(trained: Workspace):
    params, before = (trained.folder / "params.yaml").read_text(), everything_in(trained.folder)
    (trained.folder / "params.yaml").write_text(params.replace("  patience:", "  patiense:"))
    try:
        done = trained.digits("run", code=2)
    finally:
        (trained.folder / "params.yaml").write_text(params)
    assert "recipes.three-conv-early-stopping.patiense is an unknown key: did you mean patience?" in done.stderr
    assert everything_in(trained.folder) == before


def test_a_data_set_that_cannot_be_read_leaves_everything_as_it_was(trained: Workspace):
    before = everything_in(trained.folder)
    header = ",".join(["label", *(f"pixel{i}" for i in range(784))])
    csv = trained.folder / "data/incoming/train.csv"
    csv.write_text(f"{header}\n{','.join(['7', *['0'] * 783, 'dark'])}\n")
    done = trained.digits("run", "--dataset", "csv", code=2)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ") and "pixel783" in line]
    assert "train.csv" in line and "dark" in line and "Traceback" not in done.stderr
    csv.unlink()
    trained.edit("dataset", "digits")
    assert everything_in(trained.folder) == before


@pytest.mark.slow
def test_refused_data_stops_the_pipeline_and_the_champion_still_answers(trained: Workspace):
    """Inverted images: ingest takes them, validate stops them; going back to the good data set trains nothing again."""
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(10, dtype=np.uint8), 200)
    inked = np.stack([cv2.circle(np.zeros((28, 28), np.uint8), (14, 14), 5 + i % 4, 255, 2) for i in range(2000)])
    images = 255 - np.maximum(inked, rng.integers(0, 9, inked.shape, dtype=np.uint8))
    np.savez(trained.folder / "data/incoming/mine.npz", images=images, labels=labels)
    champion = trained.digits("champion", "--json").stdout

    done = trained.digits("run", "--dataset", "npz", code=2)
    said = [line for line in done.stderr.splitlines() if line.startswith("error: validate: train:")]
    assert any("the images look inverted: 0 must be paper and 255 ink" in line for line in said)
    assert "Traceback" not in done.stderr
    assert (trained.folder / "reports/validation/index.html").exists()
    assert trained.digits("champion", "--model", "digits-cnn", "--json").stdout == champion

    (trained.folder / "data/incoming/mine.npz").unlink()
    back = trained.digits("run", "--dataset", "digits")
    assert "train: epoch" not in back.stderr
    assert trained.digits("champion", "--json").stdout == champion


@pytest.mark.slow
def test_a_registry_that_was_lost_is_filled_again_though_no_stage_has_changed(trained: Workspace):
    (trained.folder / "mlflow.db").rename(trained.folder / "lost.db")
    try:
        done = trained.digits("run")
        assert "Running stage 'train'" not in done.stderr and "gate: version 1 promoted" in done.stdout
    finally:
        (trained.folder / "lost.db").replace(trained.folder / "mlflow.db")


def test_what_a_kill_cut_short_of_dvcs_own_files_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """On a small project; the slow test below is on a whole one."""
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    stages = {name: {"cmd": f"echo {name} > {name}", "outs": [name]} for name in ("one", "two")}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    monkeypatch.chdir(tmp_path)
    run.repro("-q")
    cut_short(tmp_path)
    run.repro()
    said = capfd.readouterr().err
    assert "rwlock was cut short" in said and "dvc.lock was cut short" in said
    assert set(yaml.safe_load((tmp_path / "dvc.lock").read_text())["stages"]) == {"one", "two"}


def cut_short(folder: Path) -> None:
    """Leave of DVC's own files what a kill leaves while they are being written."""
    (folder / ".dvc/tmp/rwlock").write_text("")
    whole = (folder / "dvc.lock").read_text()
    (folder / "dvc.lock").write_text(whole[: len(whole) // 2].rpartition("\n")[0] + "\n  tr")


@pytest.mark.slow
def test_dvcs_own_files_of_a_whole_workspace_are_mended(trained: Workspace):
    cut_short(trained.folder)
    done = trained.digits("run")
    assert "rwlock was cut short" in done.stderr and "dvc.lock was cut short" in done.stderr
    assert "gate: nothing to decide" in done.stdout
    assert set(yaml.safe_load((trained.folder / "dvc.lock").read_text())["stages"]) == set(STAGES)
