"""Does a data set of many shards come to what it comes to in one, stage by stage, and is a spoilt shard named?"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from workspace import ROOT

from pipeline import describe, drift, ingest, preprocess, validate
from pipeline.base import cluster, files, places
from pipeline.base.errors import BadInput
from pipeline.base.stored import Images
from pipeline.data import batches, descriptions, splits
from pipeline.data.batches import Batch, Filed
from pipeline.data.splits import Split

STAGES = (ingest, describe, validate, preprocess, drift)
SIZE = 256  # images in a shard
SPLITS = ("train", "val", "test", "recent")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], Path]:
    """Runs the stages on the embedded digits in a folder of that name, with shards of so many images."""

    def stages(name: str, size: int) -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        monkeypatch.chdir(folder)
        (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
        with monkeypatch.context() as patched:
            patched.setattr(splits, "SHARD_IMAGES", size)
            for stage in STAGES:
                stage.main()
        return folder

    return stages


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """All work in this process: a cluster is tried in one test, and takes its time to start."""
    monkeypatch.setattr(cluster, "FEW", 100)


def left(folder: Path) -> dict[str, Split]:
    return {name: Split(*map(np.asarray, splits.load(folder / places.PROCESSED / name))) for name in SPLITS}


def test_the_same_comes_of_many_shards_as_of_one(
    run: Callable[[str, int], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    one = run("one", splits.SHARD_IMAGES)
    told = capsys.readouterr().out
    many = run("many", SIZE)  # on a cluster
    assert capsys.readouterr().out == told
    listed = splits.shards(many / places.RAW / "train")
    assert listed is not None and [shard.images for shard in listed] == [256, 256, 256, 256, 256, 160]
    assert splits.shards(one / places.RAW / "train") is None
    for name, split in left(one).items():
        np.testing.assert_array_equal(left(many)[name].images, split.images)
        np.testing.assert_array_equal(left(many)[name].labels, split.labels)
    for name in descriptions.SPLITS:
        pd.testing.assert_frame_equal(descriptions.load(name, many), descriptions.load(name, one))
    for report in (places.VALIDATION, places.DRIFT):
        assert files.read_json(many / report) == files.read_json(one / report)


def accept(seed: int, count: int = 60) -> None:
    """A batch of noise, of which nothing is held out."""
    images = np.random.default_rng(seed).integers(0, 256, (count, 28, 28), np.uint8)
    batch = Batch(
        f"of-{seed}", Split(images, np.arange(count, dtype=np.uint8) % 10), Split(images[:0], np.empty(0, np.uint8))
    )
    batches.accept(batch, Filed(event="accepted", batch=batch.name, at=f"2026-01-0{seed}", by="me", source="there"))


@pytest.mark.usefixtures("here")
def test_what_comes_later_leaves_the_earlier_shards_as_they_are(
    run: Callable[[str, int], Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(batches, "version", lambda folder: None)
    folder = run("grows", SIZE)
    before = {path: path.stat().st_mtime_ns for path in sorted((folder / places.FEATURES).glob("*.parquet"))}
    shards = splits.shards(folder / places.RAW / "train")
    inodes = {path: path.stat().st_ino for path in (folder / places.RAW / "train").glob("images-0000[0-4].npy")}
    assert len(inodes) == 5
    accept(1)
    capsys.readouterr()
    monkeypatch.setattr(splits, "SHARD_IMAGES", SIZE)
    ingest.main()
    describe.main()
    assert "7 of 9 shards known" in capsys.readouterr().out  # not the last of train, nor recent, which is in one
    assert splits.shards(folder / places.RAW / "train")[:5] == shards[:5]
    assert {path: path.stat().st_ino for path in inodes} == inodes
    after = {path: path.stat().st_mtime_ns for path in before}
    assert [path.name for path in before if before[path] != after[path]] == ["recent.parquet", "train-00005.parquet"]


@pytest.mark.usefixtures("here")
def test_what_preprocess_makes_anew_of_a_shard_and_is_the_same_stays_the_file_it_was(
    run: Callable[[str, int], Path], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(batches, "version", lambda folder: None)
    folder = run("grows", SIZE)
    made = {path: path.stat().st_ino for path in (folder / places.PROCESSED / "train").glob("*-0000[0-4].npy")}
    assert len(made) == 10
    accept(1)
    monkeypatch.setattr(splits, "SHARD_IMAGES", SIZE)
    ingest.main()
    preprocess.main()
    assert {path: path.stat().st_ino for path in made} == made
    assert sum(shard.images for shard in splits.shards(folder / places.PROCESSED / "train") or []) > 1000
    splits.check(folder / places.PROCESSED / "train")
    splits.check(folder / places.PROCESSED / "val")


@pytest.mark.usefixtures("here")
def test_a_table_that_is_missing_of_several_is_noticed(run: Callable[[str, int], Path]):
    folder = run("many", SIZE)
    assert len(pd.read_parquet(folder / places.FEATURES)) == 1797  # the list is in nobody's way
    (folder / places.FEATURES / "train-00002.parquet").unlink()
    with pytest.raises(BadInput, match=r"there is no .*train-00002.parquet: run `dvc repro`"):
        descriptions.sample("train")
    (folder / places.FEATURES / descriptions.INDEX).write_text("{}")
    with pytest.raises(BadInput, match=r"_tables.json is no list of tables: remove .* and run `dvc repro`"):
        descriptions.sample("train")


@pytest.mark.usefixtures("here")
def test_another_numpy_describes_all_shards_anew(
    run: Callable[[str, int], Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    run("grows", SIZE)
    capsys.readouterr()
    describe.main()
    assert "8 of 9 shards known" in capsys.readouterr().out
    monkeypatch.setattr(descriptions.metadata, "version", lambda library: f"{library} 99")
    describe.main()
    assert "known" not in capsys.readouterr().out


@pytest.mark.usefixtures("here")
def test_no_table_is_swapped_in_before_all_are_there(run: Callable[[str, int], Path], monkeypatch: pytest.MonkeyPatch):
    folder = run("grows", SIZE)
    before = {path.name: path.read_bytes() for path in (folder / places.FEATURES).iterdir()}
    monkeypatch.setattr(descriptions.metadata, "version", lambda library: f"{library} 99")
    measured = descriptions.measured

    def cut_off(images: Images, kind: str) -> pd.DataFrame:
        if len(images) < SIZE:
            raise KeyboardInterrupt
        return measured(images, kind)

    monkeypatch.setattr(descriptions, "measured", cut_off)
    with pytest.raises(KeyboardInterrupt):
        describe.main()
    assert {path.name: path.read_bytes() for path in (folder / places.FEATURES).iterdir()} == before


def lose(path: Path) -> None:
    path.unlink()


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def of_another_shape(path: Path) -> None:
    np.save(path, np.load(path)[:, 1:])


def of_floats(path: Path) -> None:
    np.save(path, np.load(path).astype(float))


def in_another_order(path: Path) -> None:
    np.save(path, np.asfortranarray(np.load(path)))


def shortened(path: Path) -> None:
    np.save(path, np.load(path)[1:])


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lose, "there is no .*images-00002.npy: run `dvc repro`"),
        (cut_off, r"images-00002.npy is not a whole .npy file \(.*\): remove it and run `dvc repro`"),
        (of_floats, "images-00002.npy: holds float64 in another order than a shard"),
        (in_another_order, "images-00002.npy: holds uint8 in another order than a shard"),
        (of_another_shape, "its shards are of different shapes"),
        (shortened, "images-00002.npy: has 255 images and 256 labels, .*shards.json says 256: remove .* and run"),
    ],
)
def test_a_spoilt_shard_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], None], line: str
):
    monkeypatch.setattr(splits, "SHARD_IMAGES", SIZE)
    splits.save(tmp_path, Split(np.zeros((700, 28, 28), np.uint8), np.zeros(700, np.uint8)))
    spoil(tmp_path / "images-00002.npy" if spoil is not shortened else tmp_path / "images-00001.npy")
    with pytest.raises(BadInput, match=line.replace("00002", "00001") if spoil is shortened else line):
        splits.load(tmp_path)


def test_a_shard_whose_content_was_changed_is_named_and_not_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(splits, "SHARD_IMAGES", SIZE)
    whole = Split(np.zeros((700, 28, 28), np.uint8), np.zeros(700, np.uint8))
    splits.save(tmp_path / "one", whole)
    splits.check(tmp_path / "one")
    changed = np.load(tmp_path / "one/images-00001.npy")
    changed[3] = 255
    np.save(tmp_path / "one/images-00001.npy", changed)
    with pytest.raises(BadInput, match=r"shard 1 is not what shards.json says: remove .* and run `dvc repro`"):
        splits.check(tmp_path / "one")
    splits.save(tmp_path / "again", whole, before=tmp_path / "one")
    splits.check(tmp_path / "again")
    inodes = [[(tmp_path / name / f"images-0000{n}.npy").stat().st_ino for n in range(3)] for name in ("one", "again")]
    assert [one == other for one, other in zip(*inodes, strict=True)] == [True, False, True]


@pytest.mark.parametrize("spoilt", ['[{"images": 3}]', "[]", "nonsense"])
def test_a_list_of_shards_that_is_spoilt_is_named(tmp_path: Path, spoilt: str):
    (tmp_path / splits.INDEX).write_text(spoilt)
    with pytest.raises(BadInput, match=r"shards.json is no list of shards: remove .* and run `dvc repro`"):
        splits.load(tmp_path)


def test_fewer_shards_leave_none_of_the_earlier_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    images = np.zeros((SIZE, 28, 28), np.uint8)
    with monkeypatch.context() as patched:
        patched.setattr(splits, "SHARD_IMAGES", 100)
        splits.save(tmp_path, Split(images, images[:, 0, 0]))
    splits.save(tmp_path, Split(images, images[:, 0, 0]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images.npy", "labels.npy"]


def test_one_shard_that_is_left_of_several_is_the_whole_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(splits, "SHARD_IMAGES", SIZE)
    images = np.zeros((700, 28, 28), np.uint8)
    splits.save(tmp_path / "many", Split(images, images[:, 0, 0]))
    splits.save(tmp_path / "one", Split(images[:SIZE], images[:SIZE, 0, 0]), before=tmp_path / "many")
    assert len(splits.load(tmp_path / "one").labels) == SIZE
