"""Is what a stranger hands in bounded before it is decoded, and read where it can be stopped?"""

import contextlib
import errno
import functools
import io
import json
import os
import resource
import signal
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet
from workspace import ROOT

from pipeline.base import params as params_file
from pipeline.base.errors import BadInput, TemporaryFault
from pipeline.data import handed_in, splits
from pipeline.data.datasets import decoders, labelled_pictures

LIMITS = params_file.load(ROOT / "params.yaml").batches.model_copy(update={"max_images": 1000, "max_mb": 20.0})


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "workspace").mkdir()
    monkeypatch.chdir(tmp_path / "workspace")


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = np.full((40, 40), 255, np.uint8)
    drawn[8:32, 18:22] = 0
    Image.fromarray(drawn).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A batch of one picture."""
    return picture(tmp_path / "batch/1/one.png").parents[1]


def refused(path: Path, limits: params_file.Batches = LIMITS) -> str:
    """What is said of the batch, whether it is looked over or read."""
    with pytest.raises(BadInput) as caught:
        kind = handed_in.kind(path)
        handed_in.look_over(path, limits)
        handed_in.read(path, kind, limits)
    assert all(line.isprintable() for line in str(caught.value).splitlines())
    return str(caught.value)


def test_a_folder_of_pictures_is_read(folder: Path):
    handed_in.look_over(folder, LIMITS)
    whole = handed_in.read(folder, handed_in.kind(folder), LIMITS)
    assert whole.labels.tolist() == [1] and whole.images.shape == (1, 28, 28)


MANY_CORES = """
import os, sys
os.sched_getaffinity = lambda _: set(range(64))
from pathlib import Path
from pipeline.base import params
from pipeline.data import handed_in
handed_in._decode(Path(sys.argv[1]), "folder", params.load(Path(sys.argv[2])).batches, Path(sys.argv[3]))
"""


def test_a_folder_of_pictures_is_read_in_the_same_memory_on_a_machine_of_many_cores(tmp_path: Path):
    for number in range(200):
        picture(tmp_path / f"batch/1/{number}.png")
    (tmp_path / "read").mkdir()
    arguments = [tmp_path / "batch", ROOT / "params.yaml", tmp_path / "read"]
    subprocess.run([sys.executable, "-c", MANY_CORES, *map(str, arguments)], cwd=ROOT, check=True)
    assert sorted(path.name for path in (tmp_path / "read").iterdir()) == ["images.npy", "labels.npy"]


def test_a_pipe_among_the_pictures_is_refused(folder: Path):
    os.mkfifo(folder / "1/two.png")
    assert "two.png: is no regular file" in refused(folder)
    with pytest.raises(BadInput, match="is no regular file"):  # and if it comes after the look
        handed_in.read(folder, "folder", LIMITS)
    with pytest.raises(BadInput, match="is no regular file"):
        handed_in.copy(folder, Path("copy"), LIMITS)


@pytest.mark.parametrize("name", ["endless.npz", "endless.csv"])
def test_a_link_to_a_device_is_refused(tmp_path: Path, name: str):
    (tmp_path / name).symlink_to("/dev/zero")
    assert "is no regular file" in refused(tmp_path / name)
    with pytest.raises(BadInput, match="is no regular file"):
        handed_in.read(tmp_path / name, name[-3:], LIMITS)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, folder: Path):
    (folder / "1/two.png").symlink_to(picture(tmp_path / "elsewhere.png"))
    assert "two.png: is a link out of the batch" in refused(folder)


def test_a_link_within_the_folder_is_the_file(folder: Path):
    (folder / "1/two.png").symlink_to(folder / "1/one.png")
    handed_in.look_over(folder, LIMITS)
    assert len(handed_in.read(folder, "folder", LIMITS).labels) == 2


def test_a_circle_of_links_is_one_line(tmp_path: Path, folder: Path):
    (folder / "1/two.png").symlink_to(folder / "1/two.png")
    assert "two.png: is no regular file" in refused(folder)
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    assert refused(tmp_path / "circle").count("\n") == 0


@pytest.mark.parametrize("name", ["two\nerror: forged.png", "two\x1b[31m.png", os.fsdecode(b"two\xff.png")])
def test_a_name_that_cannot_be_printed_is_refused_in_one_line(folder: Path, name: str):
    picture(folder / "1/plain.png").rename(folder / "1" / name)
    message = refused(folder)
    assert message.count("\n") == 0 and "cannot be printed: rename it" in message
    message.encode()  # the report is UTF-8


def test_a_path_that_cannot_be_printed_or_is_too_long_is_one_line(tmp_path: Path):
    assert "cannot be printed" in refused(tmp_path / "a\nb.npz")
    assert "cannot be looked at" in refused(tmp_path / ("x" * 300))


def test_a_deep_folder_is_refused(folder: Path):
    picture(folder / "1/a/b/c/d/e/f/deep.png")
    assert "is a folder too deep" in refused(folder)


def test_too_many_files_are_refused_before_one_is_opened(folder: Path):
    for number in range(1200):
        (folder / f"1/{number}.png").touch()
    limits = LIMITS.model_copy(update={"max_images": 100})
    assert "holds more than 100 files" in refused(folder, limits)
    with pytest.raises(BadInput, match="holds 101 images, allowed 100"):
        handed_in.read(folder, "folder", limits)


def test_findings_of_many_pictures_are_the_first_and_how_many_more(folder: Path):
    for number in range(50):
        (folder / f"1/{number:02}.png").write_bytes(b"no picture")
    lines = refused(folder).splitlines()
    assert len(lines) == labelled_pictures.FINDINGS + 1 and lines[-1] == "and 30 more"


def npz_bomb(path: Path, images: int) -> Path:
    """Zeros, packed a thousand times smaller."""
    np.savez_compressed(path, images=np.zeros((images, 28, 28), np.uint8), labels=np.zeros(images, np.uint8))
    return path


def test_an_npz_that_unpacks_to_too_much_is_refused(tmp_path: Path):
    path = npz_bomb(tmp_path / "bomb.npz", 30_000)
    assert path.stat().st_size < 1e6
    assert "unpacks to more than it may, allowed 20 MB" in refused(path)


def test_an_npz_of_too_many_images_is_refused(tmp_path: Path):
    assert "holds 2,000 images, allowed 1,000" in refused(npz_bomb(tmp_path / "many.npz", 2000))


def test_an_npz_whose_header_declares_billions_is_refused(tmp_path: Path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (900, 1 << 20, 1 << 20)}
    )
    with zipfile.ZipFile(tmp_path / "lies.npz", "w") as archive:
        archive.writestr("images.npy", header.getvalue() + bytes(100))
        archive.writestr("labels.npy", header.getvalue() + bytes(100))
    assert "declares (900, 1048576, 1048576)" in refused(tmp_path / "lies.npz")


def test_an_npz_of_many_members_is_refused(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "crowd.npz", "w") as archive:
        for number in range(500):
            archive.writestr(f"{number}.npy", b"")
    assert "holds more than 64 arrays" in refused(tmp_path / "crowd.npz")


def test_a_csv_of_an_endless_line_or_of_too_many_is_refused(tmp_path: Path):
    path = tmp_path / "long.csv"
    path.write_bytes(b"label" + b",pixel0" * 1_000_000)
    assert "line 1 is longer than 16,384 bytes" in refused(path)
    path.write_bytes(b"label\n" * 5000)
    assert "holds 1,001 images, allowed 1,000" in refused(path)


def test_an_idx_header_that_declares_billions_is_refused(tmp_path: Path):
    folder = tmp_path / "idx"
    folder.mkdir()
    lie = struct.pack(">HBB3I", 0, 8, 3, 4_000_000_000, 28, 28)
    (folder / decoders.IDX_FILES[0]).write_bytes(lie)
    (folder / decoders.IDX_FILES[1]).write_bytes(decoders.encode_idx(np.zeros(5, np.uint8)))
    assert "holds 4,000,000,000 images, allowed 1,000" in refused(folder)


@pytest.mark.parametrize("label", ["\x1b[2J7", "7\nwarning: all is well", "\ud800", "x" * 10_000])
def test_what_a_label_says_is_written_out_on_one_short_line(tmp_path: Path, folder: Path, label: str):
    images = np.zeros((20, 28, 28), np.uint8)
    np.savez(tmp_path / "batch.npz", images=images, labels=np.array([label] * 20))
    line = json.dumps({"path": "1/one.png", "label": label})
    (folder / "metadata.jsonl").write_text(line, encoding="utf-8")
    for path in (tmp_path / "batch.npz", folder):
        said = refused(path)
        assert "labels must be whole numbers" in said and len(said.splitlines()) == 1 and len(said) < 500


def test_what_a_cell_of_a_csv_says_is_written_out_on_one_short_line(tmp_path: Path):
    header = ",".join(["label", *(f"pixel{at}" for at in range(784))])
    cells = ["\x1b[2J" + "7" * 10_000, *["0"] * 784]
    (tmp_path / "batch.csv").write_text(f"{header}\n{','.join(cells)}\n", encoding="utf-8")
    said = refused(tmp_path / "batch.csv")
    assert "line 2: label is" in said and len(said) < 500


def test_a_parquet_of_dates_that_there_are_not_is_refused(tmp_path: Path):
    dates = pyarrow.array([2**30] * 20, pyarrow.date32())
    table = pyarrow.table({"image": [b"x"] * 20, "label": dates})
    parquet.write_table(table, tmp_path / "batch.parquet")
    assert "cut off or damaged" in refused(tmp_path / "batch.parquet")
    parquet.write_table(pyarrow.table({"\x1b[2J" + "x" * 1000: [1]}), tmp_path / "odd.parquet")
    said = refused(tmp_path / "odd.parquet")
    assert "has the columns" in said and len(said) < 500


def test_a_gzip_that_unpacks_to_too_much_is_refused(tmp_path: Path):
    import gzip

    folder = tmp_path / "idx"
    folder.mkdir()
    (folder / f"{decoders.IDX_FILES[0]}.gz").write_bytes(gzip.compress(bytes(100_000_000)))
    assert "unpacks to more than 20 MB" in refused(folder)


def test_what_takes_too_long_or_too_much_memory_to_read_is_refused(tmp_path: Path, folder: Path):
    assert "takes more than 0.001 s to read" in refused(folder, LIMITS.model_copy(update={"max_seconds": 0.001}))
    generous = LIMITS.model_copy(update={"max_images": 10**7, "max_mb": 1e5, "max_memory_mb": 20.0})
    path = npz_bomb(tmp_path / "bomb.npz", 100_000)
    assert "takes more than 20 MB of memory" in refused(path, generous)


def ending(code: int) -> Callable[..., None]:
    """Stands for a reading process that ends so without a word."""
    return functools.partial(_end, code)


def _end(code: int, *_: object) -> None:
    if code < 0:
        os.kill(os.getpid(), -code)
    raise SystemExit(code)


def test_only_a_process_that_was_killed_had_too_little_memory(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(handed_in, "_decode", ending(-signal.SIGKILL))
    assert "could not be read within the memory" in refused(folder)
    monkeypatch.setattr(handed_in, "_decode", ending(1))
    with pytest.raises(RuntimeError, match="ended with 1"):
        handed_in.read(folder, "folder", LIMITS)


def failing(error: BaseException) -> Callable[..., None]:
    def save(*_: object) -> None:
        raise error

    return save


def decoded(folder: Path, to: Path, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the reading process says when the split cannot be saved."""
    monkeypatch.setattr(splits, "save", failing(error))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with contextlib.suppress(SystemExit):
        handed_in._decode(folder, "folder", LIMITS, to)
    return (to / handed_in.FAULT).read_text()


def test_a_full_disk_is_told_and_is_not_the_batch_s_fault(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    full = OSError(errno.ENOSPC, "No space left on device", "images.npy")
    assert "the disk is full while writing images.npy" in decoded(folder, tmp_path, full, monkeypatch)
    monkeypatch.setattr(handed_in, "_decode", functools.partial(_full, "the disk is full"))
    with pytest.raises(TemporaryFault, match="the disk is full"):
        handed_in.read(folder, "folder", LIMITS)


def _full(said: str, _path: Path, _kind: str, _limits: params_file.Batches, to: Path, *_: object) -> None:
    (to / handed_in.FAULT).write_text(said)
    raise SystemExit(os.EX_TEMPFAIL)


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.ENOMEM, "Cannot allocate memory")])
def test_memory_that_is_refused_is_told_whoever_asked_for_it(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
):
    assert "MB of memory to read" in decoded(folder, tmp_path, error, monkeypatch)


def test_a_defect_of_the_reading_process_keeps_its_traceback(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(OSError, match="odd"):
        decoded(folder, tmp_path, OSError(errno.EIO, "odd"), monkeypatch)


def test_a_copy_is_of_the_same_bytes(tmp_path: Path, folder: Path):
    handed_in.copy(folder, tmp_path / "copy", LIMITS)
    assert (tmp_path / "copy/1/one.png").read_bytes() == (folder / "1/one.png").read_bytes()


@pytest.mark.parametrize("swapped", ["1/one.png", "1"])
def test_what_became_a_link_out_of_the_folder_meanwhile_is_not_copied(tmp_path: Path, folder: Path, swapped: str):
    """The copy lies in data/quarantine, which others may read."""
    private = tmp_path / "private"
    private.mkdir()
    (private / "key").write_text("a secret")
    handed_in.look_over(folder, LIMITS)
    (folder / swapped).rename(tmp_path / "moved")
    (folder / swapped).symlink_to(private if swapped == "1" else private / "key")
    with pytest.raises(BadInput, match="is a link out of the batch"):
        handed_in.copy(folder, tmp_path / "copy", LIMITS)


def test_a_link_that_is_put_there_while_a_file_is_opened_is_not_followed(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "key").write_text("a secret")
    resolved = os.path.realpath

    def swapped(path: str | Path) -> str:
        found = resolved(path)
        if found.endswith("one.png") and not Path(found).is_symlink():
            Path(found).unlink()
            Path(found).symlink_to(tmp_path / "key")
        return found

    monkeypatch.setattr(os.path, "realpath", swapped)
    with pytest.raises(BadInput, match="cannot be opened"):
        handed_in.copy(folder, tmp_path / "copy", LIMITS)


def test_a_link_within_the_folder_is_copied_as_the_file(tmp_path: Path, folder: Path):
    (folder / "1/two.png").symlink_to("one.png")
    handed_in.copy(folder, tmp_path / "copy", LIMITS)
    assert (tmp_path / "copy/1/two.png").read_bytes() == (folder / "1/one.png").read_bytes()


def test_a_folder_that_grew_meanwhile_is_not_copied_without_end(tmp_path: Path, folder: Path):
    handed_in.look_over(folder, LIMITS)
    for name in "ab":
        (folder / name).write_bytes(bytes(12_000_000))
    with pytest.raises(BadInput, match="has 12 MB, allowed"):
        handed_in.copy(folder, tmp_path / "copy", LIMITS)
