"""The versions in use, without a registry: what a line of the watcher makes of them."""

import asyncio
from pathlib import Path
from typing import Any

import linear_model
import numpy as np
import pytest

from pipeline.base import files
from pipeline.base.errors import BadInput
from pipeline.base.form import Form
from serving.predictor import Batches, Busy, Predictor, most_at_once


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def facts(version: str, images: str = "images") -> dict[str, Any]:
    """A version's, with a model file of its own; ``images`` is the name of the model's input."""
    path = Path(f"{version}.onnx").resolve()
    linear_model.write(path, np.full((784, 10), float(version)), np.zeros(10), images)
    return {"model": "m", "version": version, "onnx": str(path), "onnx_sha256": files.sha256_file(path)}


def line(champion: dict[str, Any] | None, challenger: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"fault": None, "champion": champion, "challenger": challenger}


def test_a_challenger_that_cannot_be_opened_does_not_keep_the_champion_out():
    predictor = Predictor("m")
    predictor.take(line(facts("1")))
    predictor.take(line(facts("2"), facts("3", images="pictures")))
    assert predictor.champion and predictor.champion.number == "2"
    assert predictor.challenger is None and predictor.fault is None


def of_letters(version: str) -> dict[str, Any]:
    form = Form(classes=tuple("abcdefghijk"))
    path = Path(f"{version}.onnx").resolve()
    linear_model.write(path, np.zeros((784, 11)), np.zeros(11), form=form)
    return {"model": "m", "version": version, "onnx": str(path), "onnx_sha256": files.sha256_file(path)}


def test_a_challenger_of_other_images_or_classes_is_not_asked():
    predictor = Predictor("m")
    predictor.take(line(facts("1"), facts("2")))
    assert predictor.challenger and predictor.challenger.number == "2"
    predictor.take(line(facts("1"), of_letters("3")))
    assert predictor.challenger is None and predictor.fault is None
    predictor.take(line(of_letters("3"), of_letters("4")))
    assert predictor.challenger and predictor.challenger.number == "4"


def images(count: int, *shape: int) -> np.ndarray:
    return np.zeros((count, *shape), np.uint8)


def test_what_waits_is_bounded_in_bytes_and_computed_shape_by_shape():
    async def asked() -> None:
        batches = Batches(Predictor("m"))
        waiting = [
            asyncio.ensure_future(batches.answer(one)) for one in (images(3, 8, 8), images(2, 8, 8), images(1, 9, 9))
        ]
        await asyncio.sleep(0)
        assert [len(part) for part, _ in batches._take()] == [3, 2] and batches.bytes_waiting == 81
        assert [part.shape for part, _ in batches._take()] == [(1, 9, 9)] and batches.bytes_waiting == 0
        form = Form("plain", (512, 512, 3), ("a", "b"))
        most = images(most_at_once(form), *form.shape)
        waiting.append(asyncio.ensure_future(batches.answer(most)))
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await batches.answer(images(1, *form.shape))
        for task in waiting:
            task.cancel()

    asyncio.run(asked())


def test_a_champion_that_cannot_be_opened_leaves_the_one_before():
    predictor = Predictor("m")
    predictor.take(line(facts("1")))
    predictor.take(line(facts("2", images="pictures")))
    assert predictor.champion and predictor.champion.number == "1"
    assert "does not take uint8" in str(predictor.fault)
    predictor.take(line(facts("1")))
    assert predictor.fault is None


def test_a_disk_that_takes_no_files_is_no_reason_not_to_follow(home: Path):
    (home / ".cache").touch()  # not a folder
    predictor = Predictor("m")
    predictor.take(line(facts("1")))
    assert predictor.champion and predictor.champion.number == "1" and predictor.fault is None


def test_the_next_start_begins_with_what_was_known():
    Predictor("m").take(line(facts("1")))
    again = Predictor("m")
    again._recall()
    assert again.champion and again.champion.number == "1"
    assert "has not answered yet" in str(again.fault)


def test_while_the_registry_is_silent_nobody_says_that_there_is_no_champion():
    predictor = Predictor("m")
    batches, images = Batches(predictor), [np.zeros((1, 28, 28), np.uint8)]
    with pytest.raises(BadInput, match="the registry has not answered yet"):
        batches._compute(images)
    predictor.take(line(None))
    with pytest.raises(BadInput, match="m has no champion yet: run `digits run`"):
        batches._compute(images)
