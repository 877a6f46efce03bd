"""Does ingest leave data/raw whole and the same each time, or else as it was?"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from workspace import ROOT

from pipeline import ingest
from pipeline.base import files, places
from pipeline.base.errors import BadInput, one_line
from pipeline.data import batches, splits
from pipeline.data.batches import Batch
from pipeline.data.datasets import mnist
from pipeline.data.datasets.decoders import Loaded
from pipeline.data.splits import Split


def some_data(count: int = 40, seed: int = 0) -> Split:
    images = np.random.default_rng(seed).integers(0, 256, (count, 28, 28)).astype(np.uint8)
    return Split(images, (np.arange(count) % 10).astype(np.uint8))


def some_loaded(seed: int = 0) -> Loaded:
    return Loaded("npz", "local folder", some_data(40, seed), some_data(20, seed + 1), {"own.npz": "0" * 64})


def write_params(folder: Path, dataset: str, local_dir: str) -> None:
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    values["dataset"] = dataset
    values["ingest"] |= {"local_dir": local_dir, "timeout_seconds": 0.2, "attempts": 1}
    (folder / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")


def write_npz(folder: Path, split: Split) -> None:
    (folder / "own").mkdir(exist_ok=True)
    np.savez(folder / "own" / "own.npz", images=split.images, labels=split.labels)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace on a small npz data set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MNIST_DIR", raising=False)
    write_params(tmp_path, "npz", "own")
    write_npz(tmp_path, some_data())
    return tmp_path


def test_leaves_the_splits_and_their_manifest(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ingest.main()
    train, test = splits.load("data/raw/train"), splits.load("data/raw/test")
    assert len(train.labels) + len(test.labels) == 40
    manifest = files.read_json("data/raw/manifest.json")
    assert manifest == {
        "dataset": "npz",
        "source": "local folder",
        "batches": [],
        "kind": "digits",
        "shape": [28, 28],
        "classes": list("0123456789"),
        "counts": {"train": len(train.labels), "test": len(test.labels), "recent": 0},
        "files": {"own.npz": files.sha256_file("own/own.npz")},
        "digests": {
            name: {"images": files.sha256_array(split.images), "labels": files.sha256_array(split.labels)}
            for name, split in {"train": train, "test": test, "recent": splits.load("data/raw/recent")}.items()
        },
    }
    expected = f"ingest: npz from local folder: {len(train.labels)} train, {len(test.labels)} test images\n"
    assert capsys.readouterr().out == expected
    assert sorted(path.name for path in (workspace / "data").iterdir()) == ["raw"]


def test_the_same_data_leaves_the_same_bytes(workspace: Path) -> None:
    ingest.main()
    first = content(Path("data/raw"))
    ingest.main()
    assert content(Path("data/raw")) == first
    assert str(workspace) not in first["manifest.json"].decode()


def test_other_data_replaces_the_old_whole(workspace: Path) -> None:
    ingest.main()
    (workspace / "data/raw/left-over").touch()
    first = content(Path("data/raw"))
    write_npz(workspace, some_data(30, seed=5))
    ingest.main()
    second = content(Path("data/raw"))
    assert sorted(first.keys() - {"left-over"}) == sorted(second)
    assert {name for name in second if first[name] == second[name]} == {
        "form.json",
        "recent/images.npy",
        "recent/labels.npy",
    }


def test_bad_data_leaves_the_old_untouched(workspace: Path) -> None:
    ingest.main()
    before = content(workspace / "data")
    write_npz(workspace, Split(some_data().images / 255, some_data().labels))
    with pytest.raises(BadInput):
        ingest.main()
    assert content(workspace / "data") == before


def test_a_write_that_fails_leaves_the_old_untouched(workspace: Path) -> None:
    ingest.main()
    before = content(workspace / "data")
    with pytest.raises(TypeError):  # the splits are written, the manifest cannot be
        ingest.save(some_loaded()._replace(name=object()), [])  # type: ignore[arg-type]
    assert content(workspace / "data") == before


def test_accepted_batches_come_with_train_and_what_is_held_out_of_them_apart(workspace: Path) -> None:
    ingest.main()
    alone = splits.load("data/raw/train")
    new = some_data(20, seed=8)
    batch = Batch("b", Split(new.images[:15], new.labels[:15]), Split(new.images[15:], new.labels[15:]))
    ingest.save(some_loaded(), [batch], ["c"])
    train, recent = splits.load("data/raw/train"), splits.load("data/raw/recent")
    assert len(train.labels) == len(some_loaded().train.labels) + 15 and len(alone.labels)
    np.testing.assert_array_equal(train.images[-15:], new.images[:15])
    np.testing.assert_array_equal(recent.labels, new.labels[15:])
    manifest = files.read_json("data/raw/manifest.json")
    assert (manifest["batches"], manifest["other_batches"], manifest["of_batches"]) == (["b"], ["c"], 15)


def test_what_was_known_when_it_came_is_not_held_out(workspace: Path) -> None:
    """Somebody may have trained on it: copies, nearly, of the data set's images and of an earlier batch's."""
    ingest.main()
    loaded, new = some_loaded(), some_data(30, seed=8)
    copies = np.concatenate([loaded.train.images[:3], loaded.test.images[:2]])
    lighter = np.where(copies < 255, copies + 1, copies).astype(np.uint8)
    first = Batch("a", Split(new.images[:10], new.labels[:10]), Split(lighter, new.labels[:5]))
    repeated = Split(np.concatenate([new.images[:10], new.images[20:]]), np.zeros(20, np.uint8))
    second = Batch("b", Split(new.images[20:], new.labels[20:]), repeated)
    ingest.save(loaded, [first, second])
    recent = splits.load("data/raw/recent")
    np.testing.assert_array_equal(recent.images, new.images[20:])  # of the same batch: preprocess keeps it out of train


@pytest.mark.parametrize("state", ["before the swap", "within the swap", "after the swap"])
def test_goes_on_after_a_kill(workspace: Path, state: str) -> None:
    ingest.main()
    expected = content(workspace / "data")
    raw = Path("data/raw")
    if state == "before the swap":
        splits.save("data/.raw.1.part/train", some_data())
    elif state == "within the swap":
        raw.replace("data/raw.old")
        splits.save("data/.raw.1.part/train", some_data())
    else:
        splits.save("data/raw.old/train", some_data())
    ingest.main()
    assert content(workspace / "data") == expected


def test_a_failure_after_a_kill_within_the_swap_brings_the_old_back(workspace: Path) -> None:
    ingest.main()
    before = content(workspace / "data")
    Path("data/raw").replace("data/raw.old")
    with pytest.raises(TypeError):
        ingest.save(some_loaded()._replace(name=object()), [])  # type: ignore[arg-type]
    assert content(workspace / "data") == before


# --- As a process ---------------------------------------------------------------------------------------------------


def run(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if key != "MNIST_DIR"}
    return subprocess.run(
        [sys.executable, "-m", "pipeline.ingest"],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
    )


def test_a_batch_that_a_kill_kept_from_its_place_is_none(workspace: Path) -> None:
    """Its facts are written and it was not yet renamed: data/batches/.NAME.part/batch.json."""
    files.write_json(places.BATCHES / ".b1.part" / places.BATCH_FACTS, {"event": "accepted"})
    ingest.main()
    assert files.read_json(places.MANIFEST)["batches"] == [] and batches.filed() == []


def assert_one_error(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    for part in parts:
        assert part in done.stderr
    assert done.stdout == ""


def test_a_good_run_ends_with_0_and_one_line(workspace: Path) -> None:
    done = run(workspace)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("ingest: npz from local folder: ")
    assert done.stdout.count("\n") == 1
    assert json.loads((workspace / "data/raw/manifest.json").read_text())["dataset"] == "npz"


def test_bad_input_ends_with_2_and_one_line(workspace: Path) -> None:
    write_npz(workspace, Split(some_data().images, some_data().labels + np.uint8(1)))
    assert_one_error(run(workspace), "own.npz", "0–9")
    assert not (workspace / "data").exists()


def test_a_wrong_mnist_dir_ends_with_2_and_one_line(workspace: Path) -> None:
    write_params(workspace, "mnist", "data/incoming")
    assert_one_error(run(workspace, MNIST_DIR="/nowhere"), "MNIST_DIR", "/nowhere")


def test_all_mirrors_down_is_a_temporary_failure_in_one_line(
    workspace: Path, mirrors: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ingest.main()
    before = content(workspace / "data")
    capsys.readouterr()
    write_params(workspace, "mnist", "data/incoming")
    monkeypatch.setattr(mnist, "MIRRORS", tuple(mirrors.url(each) for each in ("fails", "fails")))
    with pytest.raises(SystemExit) as end, one_line():
        ingest.main()
    assert end.value.code == 75
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.count("HTTP 500") == 2
    assert "MNIST_DIR" in error
    assert content(workspace / "data") == before


@pytest.fixture
def small_disk(workspace: Path) -> Iterator[Path]:
    """The workspace's data/ on a disk of 128 KB."""
    (workspace / "data").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(workspace / "data")]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small disk needs root")
    yield workspace
    subprocess.run(["umount", str(workspace / "data")], check=True)


@pytest.mark.parametrize("count", [400, 4000])
def test_a_full_disk_ends_with_2_and_one_line_and_no_part_file(small_disk: Path, count: int) -> None:
    assert run(small_disk).returncode == 0
    before = content(small_disk / "data")
    write_npz(small_disk, some_data(count))
    assert_one_error(run(small_disk), "disk is full")
    assert content(small_disk / "data") == before
    assert sorted(path.name for path in (small_disk / "data").iterdir()) == ["raw"]
