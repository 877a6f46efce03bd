import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base import files


def test_a_failed_write_leaves_the_earlier_file_and_nothing_else(tmp_path: Path):
    path = tmp_path / "facts.json"
    files.write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), files.atomic(path) as part:
        part.write_text("half")
        raise RuntimeError("cut off")
    assert files.read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["facts.json"]


def test_the_temporary_file_keeps_the_suffix_that_writers_choose_the_format_by(tmp_path: Path):
    with files.atomic(tmp_path / "new" / "model.onnx") as part:
        assert part.suffix == ".onnx" and part.parent == tmp_path / "new"
        part.touch()
    assert (tmp_path / "new" / "model.onnx").exists()


def test_an_arrays_digest_is_of_values_shape_and_dtype_not_of_the_file(tmp_path: Path):
    array = np.arange(20_000 * 3, dtype=np.uint8).reshape(20_000, 3)
    files.write_npy(tmp_path / "a.npy", array)
    digest = files.sha256_array(array)
    assert files.sha256_array(np.load(tmp_path / "a.npy", mmap_mode="r")) == digest
    assert files.sha256_array(np.asfortranarray(array)) == digest
    others = [array.astype(np.int16), array.reshape(10_000, 6), array[:-1], np.roll(array, 1)]
    assert digest not in {files.sha256_array(other) for other in others}


def test_json_lines_are_read_back_in_order_and_a_torn_one_takes_no_other_along(tmp_path: Path):
    path = tmp_path / "new" / "lines.jsonl"
    assert files.read_json_lines(path) == []
    files.append_json_line(path, {"at": 1, "text": "é\n"})
    with path.open("a") as file:
        file.write('{"at": 2, "te')  # the disk was full
    files.append_json_line(path, {"at": 3})
    assert files.read_json_lines(path) == [{"at": 1, "text": "é\n"}, {"at": 3}]


def test_two_writers_of_one_file_never_share_a_temporary_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As two machines on one folder, whose processes may have the same number."""
    monkeypatch.setattr("os.getpid", lambda: 7)
    with files.atomic(tmp_path / "a.txt") as one, files.atomic(tmp_path / "a.txt") as other:
        one.write_text("one")
        other.write_text("other")
        assert one.read_text() == "one"


def test_a_folder_is_swapped_whole_or_not_at_all(tmp_path: Path):
    folder = tmp_path / "some"
    with files.swapped(folder) as part:
        (part / "a").touch()
        assert not folder.exists()
    with pytest.raises(RuntimeError), files.swapped(folder) as part:
        (part / "b").touch()
        raise RuntimeError("cut off")
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")] == ["some", "some/a"]
    with files.swapped(folder) as part:
        (part / "c").touch()
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")] == ["some", "some/c"]


@pytest.mark.parametrize("ended", ["before the swap", "within it", "after it"])
def test_what_a_killed_swap_left_is_dropped_or_comes_back(tmp_path: Path, ended: str):
    folder, old = tmp_path / "some", tmp_path / "some.old"
    for place in {"before the swap": (folder, tmp_path / ".some.1.part"), "within it": (old,)}.get(
        ended, (folder, old)
    ):
        place.mkdir()
        (place / "a").touch()
    with pytest.raises(RuntimeError), files.swapped(folder):
        raise RuntimeError("cut off")
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")] == ["some", "some/a"]


def test_who_still_writes_for_an_earlier_swap_writes_nothing_of_the_next(tmp_path: Path):
    folder = tmp_path / "some"
    with pytest.raises(RuntimeError), files.swapped(folder) as earlier:
        raise RuntimeError("cancelled")
    with files.swapped(folder) as part:
        files.write_text(part / "a", "new")
        files.write_text(earlier / "a", "of the straggler")
    assert (folder / "a").read_text() == "new" and [p.name for p in tmp_path.iterdir()] == ["some"]


@given(lines=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), max_size=30), cut=st.booleans())
def test_lines_read_from_the_end_are_those_read_from_the_start(lines: list[str], cut: bool):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as small:
        small.setattr(files, "_BLOCK", 16)  # bytes: a line lies in several
        path = Path(folder) / "lines.jsonl"
        assert list(files.json_lines_backwards(path)) == []
        for line in lines:
            files.append_json_line(path, line)
        if cut and lines:
            path.write_bytes(path.read_bytes()[:-2])  # as a full disk does
        expected = lines[:-1] if cut else lines
        assert list(files.json_lines_backwards(path)) == expected[::-1]
