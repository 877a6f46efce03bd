"""How is what a stranger sends decoded where it can be stopped? In processes, with so much time and memory a piece.

A picture of a few bytes may ask its decoder for gigabytes or for minutes, and a thread that decodes cannot be stopped.
So a process beside the service, the nursery, forks the readers and, whenever one has ended, the next one: within
milliseconds, as all that it needs was imported before. The kernel ends a reader that takes too much processor time and
gives it no memory beyond its limit. All end with the service, as its ends of their sockets are then closed.
"""

import gc
import io
import os
import resource
import signal
import socket
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

import cv2

from pipeline.base.errors import BadInput
from pipeline.digits import framing
from serving import requests
from serving.problems import Problem

ASKED = struct.Struct("!IcHI")  # a number, what comes, and the lengths of its name and of its content, which follow
PICTURE, JSON = b"P", b"J"
ANSWERED = struct.Struct("!IcI")  # that number, what was found, and the length of what is said of it, which follows
IMAGES, NO_DIGIT, REFUSED, TOO_MUCH = b"I", b"N", b"R", b"T"
STATUS = struct.Struct("!H")  # of what was REFUSED, before the words
PROCESS = struct.Struct("!I")  # its id, with which a new reader begins
PAUSE = 0.02  # seconds from the end of a reader to the next one


class Limits(NamedTuple):
    """What a reader may spend on one piece."""

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
    for _, theirs in pairs:
        theirs.close()
    return nursery, [ours for ours, _ in pairs]


def _nurse(ends: list[socket.socket], readers: Sequence[Limits], token: bytes) -> NoReturn:
    """Have a reader at each socket until the other ends are closed."""
    try:
        os.setpgid(0, 0)  # Ctrl-C is the service's business
        alive = {_start(ends, index, limits, token): index for index, limits in enumerate(readers)}
        while alive:
            process, status = os.wait()
            index = alive.pop(process)
            if status:
                time.sleep(PAUSE)
                alive[_start(ends, index, readers[index], token)] = index
    finally:
        os._exit(0)  # whatever happens, it must not go on as if it were the service


def _start(ends: list[socket.socket], index: int, limits: Limits, token: bytes) -> int:
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        for other, end in enumerate(ends):
            if other != index:
                end.close()
        _confine(limits)
        with ends[index].makefile("rwb") as stream:
            _work(stream, limits, token)
        code = 0
    except (BrokenPipeError, ConnectionResetError):
        code = 0  # the service has gone
    finally:
        os._exit(code)


def _confine(limits: Limits) -> None:
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process, wherever it is
    cv2.setNumThreads(1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])  # of its data, before it has read
    most = pages * resource.getpagesize() + limits.memory
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _work(stream: io.BufferedRWPair, limits: Limits, token: bytes) -> None:
    """Answer until the other end is closed."""
    stream.write(token + PROCESS.pack(os.getpid()))
    stream.flush()
    while _find(token, stream):
        number, kind, name_length, length = ASKED.unpack(stream.read(ASKED.size))
        name = stream.read(name_length).decode()
        content = stream.read(length)
        signal.setitimer(signal.ITIMER_PROF, limits.seconds)
        found, said = _answer(kind, name, content, limits)
        signal.setitimer(signal.ITIMER_PROF, 0)
        stream.write(ANSWERED.pack(number, found, len(said)) + said)
        stream.flush()


def _find(token: bytes, stream: io.BufferedRWPair) -> bool:
    """Read up to the token, which comes at once unless the reader before has left half a piece; False at the end."""
    read = stream.read(len(token))
    while read != token:
        if not (byte := stream.read(1)):
            return False
        read = read[1:] + byte
    return True


def _answer(kind: bytes, name: str, content: bytes, limits: Limits) -> tuple[bytes, bytes]:
    try:
        if kind == JSON:
            return IMAGES, requests.from_json_text(content).tobytes()
        drawn = framing.read_image(io.BytesIO(content), name, limits.pixels, limits.work)
        return IMAGES, framing.to_mnist(drawn).tobytes()
    except framing.NoSingleDigit as error:
        return NO_DIGIT, _bytes(str(error))
    except (framing.TooMuchWork, MemoryError):
        return TOO_MUCH, b""
    except BadInput as error:
        return REFUSED, STATUS.pack(422) + _bytes(str(error))
    except Problem as problem:
        return REFUSED, STATUS.pack(problem.status_code) + _bytes(problem.detail)


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")
