"""A store of what was seen outlives the features that it was begun with."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.base.form import Form
from pipeline.data import comparison, descriptions, kinds
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
MOST = int(live.CORRECTIONS * LIMIT / 1400)  # corrections of 28×28 that it has room for


def correct(store: sqlite3.Connection, number: int, by: str = "ann", label: int = 1) -> None:
    live.correct(store, seen(0, 1)._replace(ids=[f"c-{number}"]), label, by, LIMIT)


def test_corrections_that_wait_are_refused_rather_than_dropped_when_they_have_taken_their_share(tmp_path: Path):
    most = MOST
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
        live.file_under(store, ["c-1"], ["1"], "a-batch")
        correct(store, most)
    assert (tmp_path / "live.db").stat().st_size < LIMIT


def test_what_was_seen_is_never_emptied_for_corrections_nor_those_that_wait_for_it(tmp_path: Path):
    """As many of one as there may be, and then more and more of the other."""
    with live.store(tmp_path / "live.db") as store:
        for number in range(MOST):
            correct(store, number)
        for number in range(40):
            rows = seen(0, 150)._replace(ids=[f"s{number}-{index}" for index in range(150)])
            live.write(store, [rows], np.zeros((150, 12)), keep_images=True)
            live.spare(store, LIMIT)
            store.commit()
        left = store.execute("SELECT count(*), max(id = 's39-149') FROM seen").fetchone()
        assert left[0] > 200 and left[1] == 1
        assert len(live.corrections(store)[0]) == MOST
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
        assert store.execute("SELECT count(*) FROM corrections").fetchone() == (MOST,)
        assert store.execute("SELECT count(*) FROM seen").fetchone()[0] > 50


def coloured(number: int, side: int) -> Seen:
    images = np.full((1, side, side, 3), number % 256, np.uint8)
    return Seen([f"c-{number}"], "2026-01-01T00:00:00+00:00", "birds-cnn", "1", images, np.zeros(1, int), np.ones(1))


@pytest.mark.parametrize("side", [17, 20, 64, 512])
def test_large_corrections_keep_to_their_share_of_the_file(tmp_path: Path, side: int):
    """The limit is in bytes, whatever the images' size, and holds with what SQLite puts around them."""
    form = Form("plain", (side, side, 3), ("tit", "wren" * 20))
    limit = 4_000_000
    with live.store(tmp_path / "live.db", form.kind) as store:
        live.write(store, [coloured(0, side)], np.zeros((1, len(kinds.features(form.kind).FEATURES))), True, form.kind)
        with pytest.raises(live.Full):
            for number in range(5000):
                live.correct(store, coloured(number, side), 1, "\N{GRINNING FACE}" * 64, limit, form)
        kept = len(live.corrections(store, None, form)[0])
        live.spare(store, limit)
        assert kept >= 1 and len(live.corrections(store, None, form)[0]) == kept
        assert store.execute("SELECT count(*) FROM seen").fetchone() == (1,)
        assert live._used(store) < 0.6 * limit


def test_a_correction_keeps_its_class_whatever_classes_come_later(tmp_path: Path):
    form, later = (Form("plain", (17, 17, 3), names) for names in (("tit", "wren"), ("owl", "tit", "wren")))
    with live.store(tmp_path / "live.db", form.kind) as store:
        live.correct(store, coloured(1, 17), 1, "ann", LIMIT, form)
        assert live.corrections(store, "birds-cnn", later)[1].labels.tolist() == [2]
        for other in (Form("plain", (17, 17, 3), ("owl", "tit")), Form("digits", (17, 17, 3), later.classes)):
            assert live.corrections(store, "birds-cnn", other)[0] == []
        live.file_under(store, ["c-1"], ["wren"], "b")
        with pytest.raises(live.InBatch, match="went into batch b as wren"):
            live.correct(store, coloured(1, 17), 0, "ann", LIMIT, later)


def test_corrections_of_an_earlier_release_are_the_digits_that_they_were(tmp_path: Path):
    with live.store(tmp_path / "live.db") as store:
        correct(store, 1, label=7)
    with closing(sqlite3.connect(tmp_path / "live.db")) as store, store:
        store.executescript("""
            DROP INDEX corrections_bytes;
            ALTER TABLE corrections ADD COLUMN label INTEGER;
            UPDATE corrections SET label = class;
            ALTER TABLE corrections DROP COLUMN class; ALTER TABLE corrections DROP COLUMN kind;
            ALTER TABLE corrections DROP COLUMN pixels; ALTER TABLE corrections DROP COLUMN bytes;
            CREATE INDEX corrections_waiting ON corrections (id) WHERE batch IS NULL;
            """)
    with live.store(tmp_path / "live.db") as store:
        assert live.corrections(store)[1].labels.tolist() == [7]
        correct(store, 1, label=3)
        assert live.corrections(store)[1].labels.tolist() == [3]


def test_the_store_is_its_owner_s_alone(tmp_path: Path):
    write(tmp_path / "live.db", seen(0, 1))
    assert (tmp_path / "live.db").stat().st_mode & 0o077 == 0


def test_what_waits_for_the_next_window_is_counted_up_to_what_it_needs(tmp_path: Path):
    path = tmp_path / "live.db"
    assert live.waiting("digits-cnn", "1", 0, 100, path) == 0
    write(path, seen(0, 30))
    assert live.waiting("digits-cnn", "1", 0, 100, path) == 30
    assert live.waiting("digits-cnn", "1", 25, 100, path) == 5
    assert live.waiting("digits-cnn", "1", 0, 20, path) == 20
    assert live.waiting("digits-cnn", "2", 0, 100, path) == 0
    assert live.waiting("digits-cnn", "1", 1000, 100, path) == 30  # the store was begun anew since
