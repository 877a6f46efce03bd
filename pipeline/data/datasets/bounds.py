"""How much may a data set's file hold? Judged by what it declares, before any of it is decoded.

Only regular files are opened: a pipe would block for ever, a device never end.
"""

import gzip
import io
import os
import stat
import zipfile
import zlib
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple

import numpy as np

from pipeline.base.errors import BadInput, brief
from pipeline.base.params import Ingest

CHUNK = 1 << 20  # bytes
LINE = 16 * 1024  # bytes of a CSV file's line, as many as four times a digit's has at most as whole numbers
READING = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # without O_NONBLOCK, a pipe's would wait for a writer
CELL = 20  # bytes to a value of larger images
ARRAYS = 64  # in an npz file
RECORD = 46  # bytes, the least that a zip's directory has for a member


class Bounds(NamedTuple):
    images: int
    bytes: int
    """of the files, as they lie there and unpacked"""


def of(ingest: Ingest) -> Bounds:
    return Bounds(ingest.max_images, int(ingest.max_mb * 1e6))


def opened(path: Path, bounds: Bounds, within: Path | None = None) -> BinaryIO:
    """The file, if it is a regular one and no larger than allowed; else :class:`BadInput`. ``within`` is the folder,
    without links in its own path, that no link may lead out of: not even one that was put there just now."""
    try:
        descriptor = os.open(path, READING) if within is None else _opened_within(path, within)
    except ValueError:
        raise BadInput(f"{path}: is a link out of the batch: put the file itself there") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be opened ({error.strerror}): give a regular file that may be read") from None
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise BadInput(f"{path}: is no regular file: remove it")
    file = os.fdopen(descriptor, "rb")
    if found.st_size > bounds.bytes:
        file.close()
        raise BadInput(f"{path}: has {found.st_size / 1e6:,.0f} MB, {_allowed(bounds)}")
    return file


def _opened_within(path: Path, within: Path) -> int:
    """A descriptor of what ``path`` leads to; ValueError if that lies elsewhere, OSError where a link comes in the way
    once this was looked at."""
    parts = Path(os.path.realpath(path)).relative_to(within).parts
    descriptor = os.open(within, READING | os.O_NOFOLLOW)
    for part in parts:
        folder = descriptor
        try:
            descriptor = os.open(part, READING | os.O_NOFOLLOW, dir_fd=folder)
        finally:
            os.close(folder)
    return descriptor


def content(path: Path, bounds: Bounds) -> bytes:
    """All bytes of a regular file."""
    with opened(path, bounds) as file:
        return file.read(os.fstat(file.fileno()).st_size)  # a buffer of all that is allowed may be too large


def gunzip(data: bytes, where: str, limit: int) -> bytes:
    """``data`` decompressed if it is gzip, else as it is; :class:`BadInput` if the gzip is broken, cut short, or holds
    more than ``limit`` bytes."""
    if not data.startswith(b"\x1f\x8b"):
        return data
    parts, size = [], 0
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
            while part := packed.read(CHUNK):
                parts.append(part)
                size += len(part)
                if size > limit:
                    raise BadInput(f"{where}: unpacks to more than {limit / 1e6:,.0f} MB: give smaller files")
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(f"{where}: the gzip is broken or cut short ({brief(error)}): fetch the file again") from None
    return b"".join(parts)


def counted(images: int, bounds: Bounds, where: str) -> None:
    """:class:`BadInput` if those are more images than allowed."""
    if images > bounds.images:
        raise BadInput(f"{where}: holds {images:,} images, allowed {bounds.images:,}: give them in parts")


def check_npz(file: BinaryIO, bounds: Bounds, where: str) -> None:
    """What the directory of a .npz file and the headers of its arrays declare; :class:`BadInput` names ``where``."""
    size = file.seek(0, os.SEEK_END)
    if _members(file, size) > ARRAYS:
        raise BadInput(f"{where}: holds more than {ARRAYS} arrays: give images and labels alone")
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > bounds.bytes:
            raise BadInput(f"{where}: unpacks to more than it may, {_allowed(bounds)}")
        for member in members:
            if member.filename.endswith(".npy"):
                with archive.open(member) as array:
                    _check_npy(array, member.file_size, bounds, f"{where}: {member.filename.removesuffix('.npy')}")


def _members(file: BinaryIO, size: int) -> int:
    """How many members a zip file's last record says it has; zipfile itself would make an object of each."""
    file.seek(max(0, size - (1 << 16) - 22))
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) < at + 22:
        raise zipfile.BadZipFile("no directory")
    length = int.from_bytes(tail[at + 12 : at + 16], "little")
    return max(int.from_bytes(tail[at + 10 : at + 12], "little"), length // (4 * RECORD))


def _check_npy(array: IO[bytes], size: int, bounds: Bounds, where: str) -> None:
    """A header that declares just as much as there is, of no more images than allowed."""
    version = np.lib.format.read_magic(array)
    read = {(1, 0): np.lib.format.read_array_header_1_0}.get(version, np.lib.format.read_array_header_2_0)
    shape, _, dtype = read(array)
    values = 1
    for length in shape:  # Python's whole numbers do not overflow
        values *= length
    if not dtype.hasobject and values * dtype.itemsize > size:
        raise BadInput(f"{where}: declares {shape} of {dtype}, and holds {size:,} bytes: write it with numpy.savez")
    counted(shape[0] if shape else 0, bounds, where)


def check_lines(file: BinaryIO, bounds: Bounds, where: str, values: int) -> None:
    """The lines of a text file, in number and length; an image has so many values."""
    longest = max(LINE, CELL * values)
    for number in range(bounds.images + 2):  # a header, and an image a line
        line = file.readline(longest + 1)
        if len(line) > longest:
            raise BadInput(f"{where}: line {number + 1} is longer than {longest:,} bytes: no line of an image is")
        if not line:
            return
    counted(bounds.images + 1, bounds, where)


def check_idx(header: bytes, bounds: Bounds, where: str) -> None:
    """How many images or labels an IDX header declares, if it is one."""
    if header.startswith(b"\0\0\x08"):
        counted(int.from_bytes(header[4:8], "big"), bounds, where)


def _allowed(bounds: Bounds) -> str:
    return f"allowed {bounds.bytes / 1e6:,.0f} MB: give it in parts"
