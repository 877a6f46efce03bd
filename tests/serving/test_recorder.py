"""The store's writer, without a server: it never blocks, never grows without end, and outlives a full disk."""

import os
import sqlite3
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from waiting import until
from workspace import ROOT

from pipeline.base import params as params_file
from pipeline.base import places
from pipeline.base.errors import BadInput
from pipeline.base.form import DIGITS, Form
from pipeline.monitoring import live
from pipeline.monitoring.live import Seen
from serving import recorder
from serving.recorder import Recorder, identities

SETTINGS = params_file.load(ROOT / "params.yaml").serving
NOBODY: Any = SimpleNamespace(challenger=None, form=DIGITS)


def seen(request: str, count: int) -> Seen:
    images = np.random.default_rng(len(request)).integers(0, 256, (count, 28, 28), np.uint8)
    return Seen(
        identities(request, count), "2026-01-01T00:00:00+00:00", "m", "1", images, np.arange(count) % 10, np.ones(count)
    )


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def test_what_was_put_is_written_when_it_stops():
    writer = Recorder(SETTINGS, NOBODY)
    writer.start()
    for number in range(50):
        writer.put(seen(f"r{number}", 7))
    writer.stop()
    assert (writer.written, writer.dropped) == (350, 0)
    with live.store() as store:
        last, rows = live.window(store, "m", "1", after=0, most=100)
        assert (last, len(rows)) == (350, 100) and set(rows["answer"]) <= set("0123456789")
        assert live.find(store, "r0-0") is None  # images are not kept unless that is asked for
        assert live.window(store, "m", "1", after=last, most=100)[0] == last


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has its process's priority")
def test_the_writer_stands_behind_the_rest_of_a_service_that_stands_behind_others(monkeypatch: pytest.MonkeyPatch):
    priorities: list[int] = []
    monkeypatch.setattr(live, "write", lambda *_: priorities.append(priority()))

    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def nice_service() -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 7)  # as `nice digits serve`; of this thread alone
        writer = Recorder(SETTINGS, NOBODY)
        writer.start()
        writer.put(seen("r", 1))
        writer.stop()
        priorities.append(priority())

    service = threading.Thread(target=nice_service)
    service.start()
    service.join()
    assert priorities == [7 + recorder.NICENESS, 7]


def test_a_full_queue_drops_and_counts_and_returns_at_once():
    writer = Recorder(SETTINGS, NOBODY)  # whose thread was never started
    for number in range(30):
        writer.put(seen(f"r{number}", 1000))
    assert writer.dropped == 30_000 - recorder.QUEUE_BYTES // (784 * 1000 + 1_000_000) * 1000
    assert sum(len(part.ids) for part in writer.recent.values()) == 10_000


def test_large_images_wait_and_are_remembered_in_the_same_memory():
    writer = Recorder(SETTINGS, NOBODY)
    form = Form("plain", (512, 512, 3), ("cat", "dog"))
    for number in range(100):
        images = np.zeros((2, *form.shape), np.uint8)
        writer.put(seen(f"r{number}", 2)._replace(images=images))
    assert sum(part.images.nbytes for part in writer.waiting) <= recorder.QUEUE_BYTES
    assert sum(part.images.nbytes for part in writer.recent.values()) <= recorder.RECENT_BYTES
    assert writer.dropped == 200 - 2 * len(writer.waiting) > 0
    assert sum(part.images.nbytes for part in writer._take()) < recorder.WRITE_BYTES + 2 * 512 * 512 * 3


def test_answers_of_champions_of_other_forms_are_written_apart_and_corrected_by_their_own():
    writer = Recorder(SETTINGS, NOBODY)
    large = seen("large", 1)._replace(images=np.zeros((1, 32, 32, 3), np.uint8))
    for part in (seen("a", 2), seen("b", 2), large):
        writer.put(part)
    assert [part.ids[0] for part in writer._take()] == ["a-0", "b-0"]
    assert [part.ids[0] for part in writer._take()] == ["large-0"]
    with pytest.raises(BadInput, match="no answer large-0 is remembered"):
        writer.correct("large-0", 1, "ann")


def test_a_disk_that_is_full_loses_rows_and_nothing_else(monkeypatch: pytest.MonkeyPatch):
    def full(*_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    writer = Recorder(SETTINGS, NOBODY)
    writer.start()
    with monkeypatch.context() as patch:
        patch.setattr(live, "write", full)
        writer.put(seen("lost", 3))
        until(lambda: writer.dropped == 3, "a drop")
    writer.put(seen("kept", 2))
    writer.stop()
    assert (writer.written, writer.dropped) == (2, 3)


def test_a_correction_is_kept_with_its_image_and_the_last_word_counts(home: Path):
    writer = Recorder(SETTINGS, NOBODY)
    writer.start()
    asked = seen("r", 3)
    writer.put(asked)
    writer.correct("r-1", 7, "ann")
    writer.correct("r-1", None, "ann")  # none of them
    with live.store() as store:
        assert live.corrections(store)[0] == [] and live.none_of_them(store)[0] == ["r-1"]
    writer.correct("r-1", 8, "bob")
    for unknown in ("r-3", "other-0", "nonsense"):
        with pytest.raises(BadInput, match=r"no answer .* is remembered"):
            writer.correct(unknown, 1, "ann")
    writer.stop()
    with live.store() as store:
        ids, corrected = live.corrections(store)
        assert ids == ["r-1"] and corrected.labels.tolist() == [8]
        np.testing.assert_array_equal(corrected.images[0], asked.images[1])
        live.file_under(store, ids, ["7"], "a-batch")  # as it was before bob's word: that one is to wait for the next
        assert live.corrections(store)[0] == ids
        live.file_under(store, ids, ["8"], "a-batch")
        assert live.corrections(store)[0] == []
    writer.correct("r-1", 8, "ann")  # says what the batch says
    with pytest.raises(live.InBatch, match="went into batch a-batch as 8"):
        writer.correct("r-1", 7, "ann")
    with live.store() as store:
        assert live.corrections(store)[0] == []


def test_a_challenger_that_fails_is_left_out_and_what_the_champion_said_is_kept():
    broken: Any = SimpleNamespace(challenger=SimpleNamespace(number="2", model=None), form=DIGITS)
    writer = Recorder(SETTINGS, broken)
    writer.start()
    writer.put(seen("r", 3))
    writer.stop()
    assert (writer.written, writer.dropped) == (3, 0)


def test_kept_images_can_be_corrected_after_a_restart():
    first = Recorder(SETTINGS.model_copy(update={"keep_images": True}), NOBODY)
    first.start()
    first.put(asked := seen("r", 3))
    first.stop()
    second = Recorder(SETTINGS, NOBODY)
    second.correct("r-2", 4, "ann")
    with live.store() as store:
        np.testing.assert_array_equal(live.corrections(store)[1].images[0], asked.images[2])


def test_the_file_stops_growing_at_its_limit(home: Path):
    limit, features = 2_000_000, np.zeros((500, 12))
    with live.store() as store:
        for number in range(60):
            live.write(store, [seen(f"r{number}", 500)], features, keep_images=True)
            live.spare(store, limit)
            store.commit()
        assert store.execute("SELECT max(id = 'r59-499') FROM seen").fetchone() == (1,)  # the newest are there
    assert (home / places.SEEN).stat().st_size < 1.5 * limit
