"""Requests to a server on this machine, and how long each answer took: closed loops and an open one.

In a closed loop a client asks again when it was answered, so that a slow server is asked less. In an open loop requests
come when they come (a Poisson process, repeatable), and an answer's time counts from when its request was due: what
waits for a stalled server is not forgotten.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import numpy as np
import uvloop

from pipeline.base.errors import BadInput

WARMING = 50  # requests that are not counted
CLIENTS = 4  # addresses that an open loop's requests come from, as a server may bound what each has open
LATE_SECONDS = 30.0  # after which an open loop no longer waits for its answers
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


class Load(NamedTuple):
    """What came of some requests."""

    seconds: float
    """from the first request to the last answer"""
    times: np.ndarray
    """seconds of each request that was answered by 200, float (N,)"""
    refusals: np.ndarray
    """seconds of each that was answered by 429 or 503"""
    errors: int
    """other answers, and none"""

    @property
    def rate(self) -> float:
        """Requests answered a second."""
        return len(self.times) / self.seconds

    def within(self, seconds: float) -> int:
        """How many were answered in that time."""
        return int((self.times <= seconds).sum())

    def ms(self, quantile: float) -> float:
        """A quantile of the times, in ms."""
        return 1e3 * float(np.quantile(self.times, quantile)) if len(self.times) else float("nan")


class Connection(asyncio.Protocol):
    """A connection that is kept open, for a request after the other."""

    client = 1  # from which address: 127.0.0.1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.received = bytearray()
        self.answer: asyncio.Future[int] | None = None

    def ask(self, request: bytes) -> "asyncio.Future[int]":
        """The status, once the whole answer is there; 0 if the server closed the connection."""
        self.answer = asyncio.get_running_loop().create_future()
        if self.transport.is_closing():
            self.answer.set_result(0)
        else:
            self.transport.write(request)  # type: ignore[attr-defined]
        return self.answer

    def data_received(self, data: bytes) -> None:
        self.received += data
        head = self.received.find(b"\r\n\r\n")
        if head < 0 or self.answer is None or self.answer.done():
            return
        length = LENGTH.search(self.received, 0, head)
        if length is None:
            self.transport.close()
        elif len(self.received) >= head + 4 + int(length[1]):
            status = int(self.received[9:12])
            self.received.clear()
            self.answer.set_result(status)

    def connection_lost(self, error: Exception | None) -> None:
        if self.answer and not self.answer.done():
            self.answer.set_result(0)


class _Counts:
    """What was answered so far."""

    def __init__(self) -> None:
        self.begun = time.perf_counter()
        self.times: list[float] = []
        self.refusals: list[float] = []
        self.errors = 0

    def add(self, status: int, seconds: float) -> None:
        if status == 200:
            self.times.append(seconds)
        elif status in (429, 503):
            self.refusals.append(seconds)
        else:
            self.errors += 1

    def result(self) -> Load:
        seconds = time.perf_counter() - self.begun
        return Load(seconds, np.array(self.times), np.array(self.refusals), self.errors)


async def _connect(port: int, client: int = 1) -> Connection:
    """A connection from 127.0.0.``client``, as Linux has them."""
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(Connection, "127.0.0.1", port, local_addr=(f"127.0.0.{client}", 0))
    connection.client = client
    return connection


def closed(
    port: int, request: bytes, clients: int, *, requests: int = 0, seconds: float = 0.0, rate: float = 0.0
) -> Load:
    """So many requests of each client, or for some seconds; as fast as they are answered, or at ``rate`` a second in
    all. BadInput if one of the first is not answered by 200."""

    async def one(number: int, counts: _Counts) -> None:
        connection = await _connect(port)
        due, asked = counts.begun + number / max(rate, 1.0), 0
        while asked < requests or time.perf_counter() < counts.begun + seconds:
            if rate:
                await asyncio.sleep(max(due - time.perf_counter(), 0))
                due += clients / rate
            begun = time.perf_counter()
            counts.add(await connection.ask(request), time.perf_counter() - begun)
            asked += 1
            if connection.transport.is_closing():
                connection = await _connect(port)
        connection.transport.close()

    async def all_of_them() -> Load:
        counts = _Counts()
        await asyncio.gather(*(one(number, counts) for number in range(clients)))
        return counts.result()

    return _run(port, request, all_of_them)


def opened(port: int, request: bytes, rate: float, seconds: float, connections: int, seed: int = 0) -> Load:
    """Requests at random, at ``rate`` a second on average, each on one of the connections that is free; where none is,
    it waits its turn, which counts: there should be more than can be answered at once."""

    async def all_of_them() -> Load:
        free: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
        for number in range(connections):
            free.put_nowait(await _connect(port, 1 + number % CLIENTS))
        counts = _Counts()
        dues = counts.begun + np.random.default_rng(seed).exponential(1 / rate, int(rate * seconds)).cumsum()

        async def one(due: float) -> None:
            connection = await free.get()
            counts.add(await connection.ask(request), time.perf_counter() - due)
            if connection.transport.is_closing():
                connection = await _connect(port, connection.client)
            free.put_nowait(connection)

        asked: set[asyncio.Task[None]] = set()
        for due in dues.tolist():
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            asked.add(task := asyncio.create_task(one(due)))
            task.add_done_callback(asked.discard)
        if asked:
            _, unanswered = await asyncio.wait(asked, timeout=LATE_SECONDS)
            counts.errors += len(unanswered)
            for task in unanswered:
                task.cancel()
        while not free.empty():
            free.get_nowait().transport.close()
        return counts.result()

    return _run(port, request, all_of_them)


def _run(port: int, request: bytes, work: Callable[[], Awaitable[Load]]) -> Load:
    """The work, after some requests that warm the server up."""

    async def warmed() -> Load:
        connection = await _connect(port)
        for _ in range(WARMING):
            if (status := await connection.ask(request)) != 200:
                raise BadInput(f"the server on port {port} answered {status}")
        connection.transport.close()
        return await work()

    return uvloop.run(warmed())
