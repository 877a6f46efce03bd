"""Who reads the pictures of requests, and in which order? The processes of :mod:`serving.reader_process`.

Some read what takes little, one what takes more: whoever sends a few large pictures, or bombs, does not hold up those
who send small ones. The pictures of a request are handed in one after the other, and clients take turns.
"""

import asyncio
import json
import math
import os
import secrets
import signal
import socket
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import numpy as np

from pipeline.base.form import DIGITS, Form
from pipeline.base.params import Serving
from serving import reader_process
from serving.problems import Problem
from serving.reader_process import Limits
from serving.requests import Item, Picture

QUICK = 2  # readers of what takes little
LITTLE = 4_000_000  # pixels of a PNG; a photo of 16 million as JPEG is as much work
MOST_WAITING = 256  # requests to be read at once; more are refused rather than kept
MOST_OF_ONE = 64  # of a client
BUFFER = 2**21  # bytes of an answer that are taken in before they are asked for
ENDED = b""  # what is found where a reader has ended on a piece


class Reader:
    """The service's side of one process, which reads a piece after the other."""

    def __init__(self, end: socket.socket, token: bytes) -> None:
        self.end, self.token = end, token
        self.number = 0
        self.process: int | None = None
        """that is there, and waits; None while a new one is to come"""

    async def open(self) -> None:
        self.incoming, self.outgoing = await asyncio.open_unix_connection(sock=self.end, limit=BUFFER)

    async def ask(self, kind: bytes, name: str, content: bytes, form: Form) -> tuple[bytes, bytes]:
        """What was found, and what is said of it; ENDED if the process ended on it, as it does if this is cut off."""
        self.number = (self.number + 1) % 2**32
        named = json.dumps([name, form.kind, form.shape]).encode()
        try:
            if self.process is None:
                await self.incoming.readuntil(self.token)
                await self._greeted()
            head = self.token + reader_process.ASKED.pack(self.number, kind, len(named), len(content))
            self.outgoing.writelines([head, named, content])
            await self.outgoing.drain()
            return await self._answer()
        except BaseException:  # what it may still say must not be taken for the next answer
            if self.process is not None:
                with suppress(ProcessLookupError):
                    os.kill(self.process, signal.SIGKILL)
            self.process = None
            raise

    async def _answer(self) -> tuple[bytes, bytes]:
        while True:
            head = await self.incoming.readexactly(reader_process.ANSWERED.size)
            if self.token.startswith(head):  # another reader, in place of the one that was asked
                await self.incoming.readexactly(len(self.token) - len(head))
                await self._greeted()
                return ENDED, b""
            number, ends, found, length = reader_process.ANSWERED.unpack(head)
            said = await self.incoming.readexactly(length)
            if number == self.number:  # else it was asked of one that ended before it began
                self.process = None if ends else self.process
                return found, said

    async def _greeted(self) -> None:
        (self.process,) = reader_process.PROCESS.unpack(await self.incoming.readexactly(reader_process.PROCESS.size))


class Lane:
    """Readers of which any will do. Clients take turns, so that who has many pictures does not hold up who has one."""

    def __init__(self, readers: Sequence[Reader]) -> None:
        self.readers = readers
        self.free: list[Reader] = []
        self.waiting: dict[str, deque[asyncio.Future[Reader]]] = {}  # by client, in the order of their turns

    async def open(self) -> None:
        for reader in self.readers:
            await reader.open()
            self.free.append(reader)

    async def ask(self, client: str, kind: bytes, name: str, content: bytes, form: Form) -> tuple[bytes, bytes]:
        reader = self.free.pop() if self.free else await self._turn(client)
        try:
            return await reader.ask(kind, name, content, form)
        finally:
            self._give(reader)

    async def _turn(self, client: str) -> Reader:
        turn: asyncio.Future[Reader] = asyncio.get_running_loop().create_future()
        self.waiting.setdefault(client, deque()).append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it had just been given one
                self._give(turn.result())
            raise

    def _give(self, reader: Reader) -> None:
        """To whose turn it is; a client that waits for more comes last then."""
        while self.waiting:
            client = next(iter(self.waiting))
            turns = self.waiting.pop(client)
            turn = turns.popleft()
            if turns:
                self.waiting[client] = turns
            if not turn.done():  # else it was cancelled
                turn.set_result(reader)
                return
        self.free.append(reader)


class Readers:
    """All of them. To be made before the process has threads."""

    def __init__(self, settings: Serving) -> None:
        self.settings = settings
        self.waiting: Counter[str] = Counter()  # requests, by client
        pixels, memory = int(settings.max_megapixels * 1e6), int(settings.max_picture_mb * 1e6)
        sent = 2 * int(settings.max_body_mb * 1e6)  # what was sent is there as well, and looked through
        images = settings.max_images
        quick = Limits(images, pixels, LITTLE, settings.max_picture_seconds / 5, sent + memory // 2)
        slow = Limits(images, pixels, math.inf, settings.max_picture_seconds, sent + memory)
        token = secrets.token_bytes(16)
        self.nursery, ends = reader_process.fork([*[quick] * QUICK, slow], token)
        readers = [Reader(end, token) for end in ends]
        self.lanes = (Lane(readers[:QUICK]), Lane(readers[QUICK:]))

    async def open(self) -> None:
        for lane in self.lanes:
            await lane.open()

    def stop(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.nursery, signal.SIGKILL)
        os.waitpid(self.nursery, 0)

    async def frame(self, pictures: list[Picture], client: str, form: Form = DIGITS, every: bool = False) -> list[Item]:
        """Each picture as an image of that form, or ``every`` digit of it; or why there is none.

        :class:`Problem` 422 if one cannot be read, 413 if together they take too long, 503 if too many requests wait.
        """
        items: list[Item] = []
        done = 0
        try:
            async with self._turn(client):
                for picture in pictures:
                    items += await self._framed(picture, client, form, every)
                    done += 1
                    if len(items) > self.settings.max_images:
                        raise Problem(413, f"there are more than {self.settings.max_images} digits: send fewer at once")
        except TimeoutError:
            seconds = f"{self.settings.max_seconds:g} s"
            raise Problem(
                413, f"{done} of {len(pictures)} pictures were read in {seconds}: send fewer at once"
            ) from None
        return items

    async def parse(self, body: bytes, client: str, form: Form = DIGITS) -> np.ndarray:
        """:func:`serving.requests.from_json_text` of a body so large that it would hold up other requests."""
        try:
            async with self._turn(client):
                images = _images((await self._read(client, reader_process.JSON, "the body", body, form))[1], form)
        except TimeoutError:
            raise Problem(413, "the body was not read in time: send less at once") from None
        return images

    @asynccontextmanager
    async def _turn(self, client: str) -> AsyncIterator[None]:
        """One of the requests that are read; TimeoutError when its time is over."""
        if self.waiting[client] >= MOST_OF_ONE or self.waiting.total() >= MOST_WAITING:
            raise Problem(503, "too many pictures wait already: try again in a moment", **{"retry-after": "1"})
        self.waiting[client] += 1
        try:
            async with asyncio.timeout(self.settings.max_seconds):
                yield
        finally:
            self.waiting[client] -= 1
            if not self.waiting[client]:
                del self.waiting[client]

    async def _framed(self, picture: Picture, client: str, form: Form, every: bool) -> list[Item]:
        kind = reader_process.SHEET if every else reader_process.PICTURE
        found, said = await self._read(client, kind, picture.name, picture.content, form)
        if found == reader_process.NO_DIGIT:
            return [Item(picture.name, None, said.decode())]
        if not every:
            return [Item(picture.name, _images(said, form)[0])]
        size = reader_process.BOX.size + math.prod(form.shape)
        parts = [said[start : start + size] for start in range(0, len(said), size)]
        return [
            Item(
                picture.name,
                _images(part[reader_process.BOX.size :], form)[0],
                box=reader_process.BOX.unpack_from(part),
            )
            for part in parts
        ]

    async def _read(self, client: str, kind: bytes, name: str, content: bytes, form: Form) -> tuple[bytes, bytes]:
        """By a reader of what takes little, else by the other one; :class:`Problem` if it is refused."""
        for lane in self.lanes:
            found, said = await lane.ask(client, kind, name, content, form)
            if found == reader_process.REFUSED:
                (status,) = reader_process.STATUS.unpack(said[: reader_process.STATUS.size])
                raise Problem(status, said[reader_process.STATUS.size :].decode())
            if found == reader_process.DEFECT:
                raise RuntimeError(said.decode())
            if found not in (reader_process.TOO_MUCH, ENDED):
                return found, said
        seconds, memory = f"{self.settings.max_picture_seconds:g} s", f"{self.settings.max_picture_mb:g} MB"
        raise Problem(422, f"{name}: takes more than {seconds} or {memory} to read: give a simpler picture")


def _images(content: bytes, form: Form) -> np.ndarray:
    return np.frombuffer(content, np.uint8).reshape(-1, *form.shape)
