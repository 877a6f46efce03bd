"""How is what a stranger sends decoded where it can be stopped? In processes, with so much time and memory a piece.

A picture of a few bytes may ask its decoder for gigabytes or for minutes, and a thread that decodes cannot be stopped.
So a process beside the service, the nursery, forks the readers and, whenever one has ended, the next one: within
milliseconds, as all that it needs was imported before. The kernel ends a reader that takes too much processor time and
gives it no memory beyond its limit. All end with the service, as its ends of their sockets are then closed.
"""

import gc
import io
import json
import os
import resource
import signal
import socket
import struct
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn, get_args

import cv2
import numpy as np

from pipeline.base import pictures
from pipeline.base.errors import BadInput
from pipeline.base.form import Form
from pipeline.base.params import Kind
from pipeline.data import kinds
from pipeline.digits import framing, sheet
from serving import requests
from serving.problems import Problem

ASKED = struct.Struct(
    "!IcHI"
)  # a number, what comes, the lengths of its name and form and of its content, which follow
PICTURE, SHEET, JSON = b"P", b"S", b"J"
ANSWERED = struct.Struct("!I?cI")  # that number, whether the reader then ends, what was found, and the length of more
IMAGES, NO_DIGIT, REFUSED, TOO_MUCH, DEFECT = b"I", b"N", b"R", b"T", b"D"
BOX = struct.Struct("!4I")  # of a SHEET's digit: left, top, width, height, before its image
STATUS = struct.Struct("!H")  # of what was REFUSED, before the words
PROCESS = struct.Struct("!I")  # its id, with which a new reader begins
STATM = Path("/proc/self/statm")
PAUSE = 0.02  # seconds from the end of a reader to the next one
WALL = 4  # times its seconds of the processor is how long a reader may take, should it wait for something
KEPT = 64_000_000  # bytes more than at first, with which a reader ends: what freed memory lies between is never large


class Limits(NamedTuple):
    """What a reader may spend on one piece."""

    images: int
    """of a body of JSON"""
    pixels: int
    work: float
    """in pixels of a PNG; what takes more is answered by TOO_MUCH"""
    seconds: float
    """of the processor"""
    memory: int
    """bytes"""


def fork(readers: Sequence[Limits], token: bytes) -> tuple[int, list[socket.socket]]:
    """Start the nursery, before this process has threads: its process id, and the socket of each reader.

    ``token`` stands before each piece that is asked, so that a new reader finds where the next one begins, and before
    its own greeting; nobody outside knows it, so that it is in no picture.
    """
    pairs = [socket.socketpair() for _ in readers]
    gc.collect()
    gc.freeze()  # what is there now is shared, as long as nobody touches it
    nursery = os.fork()
    if not nursery:
        for ours, _ in pairs:
            ours.close()
        _nurse([theirs for _, theirs in pairs], readers, token)
    os.setpgid(nursery, nursery)  # Ctrl-C is the service's business; and a group can be ended whole
    for _, theirs in pairs:
        theirs.close()
    return nursery, [ours for ours, _ in pairs]


def _nurse(ends: list[socket.socket], readers: Sequence[Limits], token: bytes) -> NoReturn:
    """Have a reader at each socket until the other ends are closed."""
    try:
        os.setpgid(0, 0)  # too: whichever of the two comes first
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)  # those of others would not be there after a fork
        _warm_up()
        alive = {_start(ends, index, limits, token, threads): index for index, limits in enumerate(readers)}
        while alive:
            process, status = os.wait()
            index = alive.pop(process)
            if status:
                time.sleep(PAUSE)
                alive[_start(ends, index, readers[index], token, threads)] = index
    finally:
        os._exit(0)  # whatever happens, it must not go on as if it were the service


def _warm_up() -> None:
    """Read a picture, so that no reader begins with what is done once: Pillow looks for its formats, OpenCV for its
    processor."""
    paper = np.full((2 * framing.WORKING_SIDE, framing.WORKING_SIDE), 255, np.uint8)
    cv2.line(paper, (300, 300), (300, 900), 0, 40)
    for suffix in (".png", ".jpg"):
        for kind in get_args(Kind):
            kinds.framing(kind).frame(io.BytesIO(cv2.imencode(suffix, paper)[1].tobytes()), "a line", (28, 28))


def _start(ends: list[socket.socket], index: int, limits: Limits, token: bytes, threads: int) -> int:
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        for other, end in enumerate(ends):
            if other != index:
                end.close()
        cv2.setNumThreads(threads)
        first = _confine(limits)
        with ends[index].makefile("rwb") as stream:
            code = int(_work(stream, limits, token, first + KEPT))
    except (BrokenPipeError, ConnectionResetError):
        code = 0  # the service has gone
    finally:
        os._exit(code)


def _confine(limits: Limits) -> int:
    """Bytes of data that the reader begins with."""
    for kind in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(kind, signal.SIG_DFL)  # ends the process, wherever it is
    with open(os.devnull, "wb") as nothing:  # noqa: PTH123
        for said in (1, 2):  # decoders write of what is wrong with a file, in the middle of the service's log
            os.dup2(nothing.fileno(), said)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    first = _data()
    if first:
        resource.setrlimit(resource.RLIMIT_DATA, (first + limits.memory,) * 2)
    return first


def _data() -> int:
    """Bytes of data that this process has, used or not; 0 where the system does not say, as only Linux does."""
    if not STATM.exists():
        return 0
    return int(STATM.read_text(encoding="ascii").split()[5]) * resource.getpagesize()


def _work(stream: io.BufferedRWPair, limits: Limits, token: bytes, most_data: int) -> bool:
    """Answer until the other end is closed, or there is so much data that another reader should go on: True."""
    stream.write(token + PROCESS.pack(os.getpid()))
    stream.flush()
    while _find(token, stream):
        number, kind, name_length, length = ASKED.unpack(stream.read(ASKED.size))
        name, image_kind, shape = json.loads(stream.read(name_length))
        content = stream.read(length)
        signal.setitimer(signal.ITIMER_PROF, limits.seconds)
        signal.setitimer(signal.ITIMER_REAL, limits.seconds * WALL)
        found, said = _answer(kind, name, content, limits, Form(image_kind, tuple(shape)))
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        del content
        ends = _data() > most_data
        stream.write(ANSWERED.pack(number, ends, found, len(said)) + said)
        stream.flush()
        if ends:
            return True
    return False


def _find(token: bytes, stream: io.BufferedRWPair) -> bool:
    """Read up to the token, which comes at once unless the reader before has left half a piece; False at the end."""
    read = stream.read(len(token))
    while read != token:
        if not (byte := stream.read(1)):
            return False
        read = read[1:] + byte
    return True


def _answer(kind: bytes, name: str, content: bytes, limits: Limits, form: Form) -> tuple[bytes, bytes]:
    try:
        if kind == JSON:
            return IMAGES, requests.from_json_text(content, limits.images, form).tobytes()
        allowed = pictures.Limits(limits.pixels, limits.work)
        if kind == SHEET:
            found = sheet.frame(io.BytesIO(content), name, allowed)
            return IMAGES, b"".join(BOX.pack(*one.box) + one.image.tobytes() for one in found)
        return IMAGES, kinds.framing(form.kind).frame(io.BytesIO(content), name, form.shape, allowed).tobytes()
    except framing.NoSingleDigit as error:
        return NO_DIGIT, _bytes(str(error).removeprefix(f"{name}: "))
    except (pictures.TooMuchWork, MemoryError):
        return TOO_MUCH, b""
    except BadInput as error:
        return REFUSED, STATUS.pack(422) + _bytes(str(error))
    except Problem as problem:
        return REFUSED, STATUS.pack(problem.status_code) + _bytes(problem.detail)
    except Exception as error:
        if isinstance(error, cv2.error) and error.code == cv2.Error.StsNoMem:
            return TOO_MUCH, b""
        return DEFECT, _bytes(traceback.format_exc())


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")
