"""How do files reach the disk whole or not at all, and what is their digest?"""

import hashlib
import json
import os
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

    The temporary name keeps the suffix, because many writers choose their format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


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
