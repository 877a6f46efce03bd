"""A store of what was seen outlives the features that it was begun with."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.data import comparison, descriptions
from pipeline.digits import features
from pipeline.monitoring import live, monitor
from pipeline.monitoring.live import Seen

IMAGES = np.random.default_rng(0).integers(0, 256, (150, 28, 28), np.uint8)


def seen(first: int, count: int) -> Seen:
    ids = [f"a-{number}" for number in range(first, first + count)]
    answers = np.arange(count) % 10
    at = "2026-01-01T00:00:00+00:00"
    return Seen(ids, at, "digits-cnn", "1", IMAGES[first : first + count], answers, np.full(count, 0.9))


def write(path: Path, part: Seen) -> None:
    with live.store(path) as store:
        live.write(store, [part], features.measure(part.images), keep_images=False)


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A store of 100 rows, made before there was a feature `slant`."""
    path = tmp_path / "live.db"
    write(path, seen(0, 100))
    with closing(sqlite3.connect(path)) as store, store:
        store.execute("ALTER TABLE seen DROP COLUMN slant")
        store.execute("PRAGMA user_version = 0")
    return path


def test_a_store_of_earlier_features_takes_rows_of_today_s(older: Path):
    write(older, seen(100, 50))
    with live.store(older) as store:
        assert store.execute("SELECT count(*), count(slant) FROM seen").fetchone() == (150, 50)


def test_a_window_of_older_rows_alone_lacks_the_feature_and_one_of_both_holds_the_newer_rows(older: Path):
    with live.store(older) as store:
        last, before = live.window(store, "digits-cnn", "1", after=0, most=150)
    assert last == 100 and len(before) == 100 and set(features.FEATURES) - set(before) == {"slant"}
    write(older, seen(100, 50))
    with live.store(older) as store:
        last, whole = live.window(store, "digits-cnn", "1", after=0, most=150)
    assert last == 150 and len(whole) == 50 and set(features.FEATURES) <= set(whole)


def test_a_reference_of_earlier_features_is_compared_in_those_that_both_have(tmp_path: Path):
    rows = comparison.answered(features.describe(IMAGES), np.eye(10, dtype=np.float32)[np.arange(150) % 10])
    descriptions.write(tmp_path / "reference.parquet", rows.drop(columns="slant"))
    reference = pd.read_parquet(tmp_path / "reference.parquet")
    rules = monitor.Monitor(min_images=1, max_images=150, max_distance=0.25, max_drifted_share=0.1, bad=2, of=3)
    compared, _ = monitor.compare(reference, rows.assign(curl=1.0), rules)
    assert compared.verdict == "alike"
    assert {column.name for column in compared.columns} == {*features.FEATURES, "answer", "confidence"} - {"slant"}


def test_a_table_says_which_features_it_was_made_with(tmp_path: Path):
    from pyarrow import parquet

    descriptions.write(tmp_path / "some.parquet", features.describe(IMAGES))
    metadata = parquet.read_schema(tmp_path / "some.parquet").metadata
    assert metadata[descriptions.VERSION_KEY.encode()] == str(features.VERSION).encode()


LIMIT = 1_000_000  # bytes


def correct(store: sqlite3.Connection, number: int, by: str = "ann", label: int = 1) -> None:
    live.correct(store, seen(0, 1)._replace(ids=[f"c-{number}"]), label, by, LIMIT)


def test_corrections_that_wait_are_refused_rather_than_dropped_when_they_have_taken_their_share(tmp_path: Path):
    most = live.most_corrections(LIMIT)
    with live.store(tmp_path / "live.db") as store:
        for number in range(most):
            correct(store, number, by="\N{GRINNING FACE}" * 2_000_000 if number % 50 == 0 else "a" * 500)
        with pytest.raises(live.Full, match=f"{most} corrections wait"):
            correct(store, most)
        correct(store, 0, label=2)  # a later word takes no more room
        live.write(store, [seen(0, 150)], np.zeros((150, 12)), keep_images=False)
        live.spare(store, LIMIT)
        assert len(live.corrections(store)[0]) == most
        assert store.execute("SELECT count(*) FROM seen").fetchone() == (150,)
        assert store.execute("SELECT max(length(by)) FROM corrections").fetchone() == (live.MOST_NAMED,)
        live.file_under(store, ["c-1"], [1], "a-batch")
        correct(store, most)
    assert (tmp_path / "live.db").stat().st_size < LIMIT


def test_what_was_seen_is_never_emptied_for_corrections_nor_those_that_wait_for_it(tmp_path: Path):
    """As many of one as there may be, and then more and more of the other."""
    with live.store(tmp_path / "live.db") as store:
        for number in range(live.most_corrections(LIMIT)):
            correct(store, number)
        for number in range(40):
            rows = seen(0, 150)._replace(ids=[f"s{number}-{index}" for index in range(150)])
            live.write(store, [rows], np.zeros((150, 12)), keep_images=True)
            live.spare(store, LIMIT)
            store.commit()
        left = store.execute("SELECT count(*), max(id = 's39-149') FROM seen").fetchone()
        assert left[0] > 200 and left[1] == 1
        assert len(live.corrections(store)[0]) == live.most_corrections(LIMIT)
    assert (tmp_path / "live.db").stat().st_size < 1.5 * LIMIT


def test_a_store_that_an_older_release_let_grow_keeps_to_its_limit_again(tmp_path: Path):
    """Corrections that are in a batch go first, and long names are cut short."""
    with live.store(tmp_path / "live.db") as store:
        for number in range(2_000):
            live.correct(store, seen(0, 1)._replace(ids=[f"c-{number}"]), 1, "ann", 10 * LIMIT)
        store.execute("UPDATE corrections SET batch = 'b' WHERE id NOT IN ('c-0', 'c-1')")
        store.execute("UPDATE corrections SET by = hex(zeroblob(50000)) WHERE id = 'c-1'")
        live.write(store, [seen(0, 150)], np.zeros((150, 12)), keep_images=True)
        live.spare(store, LIMIT)
        assert live.corrections(store)[0] == ["c-0", "c-1"]
        assert store.execute("SELECT count(*) FROM corrections").fetchone() == (live.most_corrections(LIMIT),)
        assert store.execute("SELECT count(*) FROM seen").fetchone()[0] > 50


def test_the_store_is_its_owner_s_alone(tmp_path: Path):
    write(tmp_path / "live.db", seen(0, 1))
    assert (tmp_path / "live.db").stat().st_mode & 0o077 == 0
