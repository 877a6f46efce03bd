"""How do files reach the disk whole or not at all, and what is their digest?"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.base.stored import Images

_BLOCK = 1 << 16  # bytes read at once


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success it takes ``path``'s place, on an error it is removed.

    The temporary name keeps the suffix, because many writers choose their format by it. It is no other's, on whatever
    machine of those that share the folder.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.part{path.suffix}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def swapped(folder: Path) -> Iterator[Path]:
    """Give an empty folder beside ``folder``; at the end it takes ``folder``'s place whole, on an error it is removed.

    What an earlier, killed one left is dropped; if that ended between the two renames, the old folder comes back. Who
    still writes for an earlier one, on another machine, does so elsewhere. For one process at a time.
    """
    _settle(folder)
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.part")
    try:
        part.mkdir(parents=True)
        yield part
        if folder.exists():
            folder.replace(_old(folder))
        part.replace(folder)
    finally:
        _settle(folder)


def _settle(folder: Path) -> None:
    if _old(folder).exists() and not folder.exists():
        _old(folder).replace(folder)
    for left in (_old(folder), *folder.parent.glob(f".{folder.name}.*.part")):
        shutil.rmtree(left, ignore_errors=True)


def _old(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.old")


def linked(source: Path | str, target: Path | str) -> None:
    """Give a file another name, or where the disk cannot, a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def private_file(path: Path | str) -> None:
    """Make an empty file that no other user may read, unless it is there: a database's, before its library does."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def private_folder(path: Path | str) -> None:
    """Make a folder, and those above it that are missing, that no other user may enter."""
    for folder in [*reversed(Path(path).parents), Path(path)]:
        folder.mkdir(mode=0o700, exist_ok=True)


def write_text(path: Path | str, text: str) -> None:
    with atomic(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path | str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def append_json_line(path: Path | str, value: Any) -> None:
    """Append a line of JSON, in one write: lines of several processes do not mix."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        if file.seek(0, os.SEEK_END):  # what was cut off by a full disk is not to take this line along
            file.seek(-1, os.SEEK_END)
        torn = file.read(1) not in (b"", b"\n")
        file.write(b"\n" * torn + json.dumps(value, ensure_ascii=False).encode() + b"\n")


def read_json_lines(path: Path | str) -> list[Any]:
    """What was appended, oldest first, without what a full disk cut off; nothing if there is no such file."""
    found = []
    for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines() if Path(path).is_file() else []:
        with suppress(ValueError):
            found.append(json.loads(line))
    return found


def json_lines_backwards(path: Path | str) -> Iterator[Any]:
    """The same, the newest first, and no more of the file read than is asked for."""
    if not Path(path).is_file():
        return
    with Path(path).open("rb") as file:
        at, rest = file.seek(0, os.SEEK_END), b""
        while at:
            step = min(_BLOCK, at)
            at = file.seek(at - step)
            first, *whole = (file.read(step) + rest).split(b"\n")
            rest = first if at else b""
            for line in reversed(whole if at else [first, *whole]):
                with suppress(ValueError):
                    yield json.loads(line)


def write_npy(path: Path | str, array: np.ndarray) -> None:
    """Write a ``.npy`` file. Not by numpy.save: on a full disk its OSError carries no errno to tell it by."""
    array = np.ascontiguousarray(array)
    with atomic(path) as part, part.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.data)


def sha256_file(path: Path | str) -> str:
    """Hex SHA-256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_text(text: str) -> str:
    """Hex SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_array(array: Images) -> str:
    """Hex SHA-256 of an array's dtype, shape and C-ordered values: the digest does not depend on the file's format."""
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    for start in range(0, len(array), 8192):  # in chunks, so that a memory-mapped array is never read whole
        digest.update(np.ascontiguousarray(array[start : start + 8192]).tobytes())
    return digest.hexdigest()
