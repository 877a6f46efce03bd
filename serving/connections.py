"""How long, and how large, may what comes before a request be, and how many connections has a client?

uvicorn bounds neither a request's headers nor the time they take, and lets anybody open as many connections as there
are file descriptors. This is its protocol with such bounds; what a complete request may be is the gatekeeper's to say.
Once a second :meth:`Connections.look` looks for who keeps the service waiting: a timer a request would cost more.
"""

import asyncio
import logging
import math
import resource
import socket
import time
from collections import Counter
from typing import Any
from uuid import uuid4

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from pipeline.base.params import Serving
from serving import problems, protection, telemetry
from serving.clients import client_of

LOOK_SECONDS = 1.0
LINGER_SECONDS = 2.0  # that a client has to take an answer, while what else it sends is thrown away
MOST_PIPELINED = 32  # requests of a connection that wait for the answer to the one before
SPARED_FILES = 200  # file descriptors that connections leave for databases, models and pipes
USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", None)  # of Linux: the kernel then ends who takes no answer

log = logging.getLogger("digits.serving.access")


class Connections:
    """The bounds, and who is connected; makes the protocol of each connection, as uvicorn asks for it."""

    def __init__(self, settings: Serving) -> None:
        self.settings = settings
        self.of: Counter[str] = Counter()
        self.open: set[Connection] = set()
        self.most = max(resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARED_FILES, 1)

    def __call__(self, **uvicorns: Any) -> "Connection":
        return Connection(self, **uvicorns)

    def is_crowded(self, client: str) -> bool:
        """Whether that client has too many, or all have. The proxies that params.yaml names speak for many."""
        too_many = self.of[client] > self.settings.connections and client not in self.settings.proxies
        return too_many or len(self.open) > self.most

    async def look(self) -> None:
        """Turn away who takes too long, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            late = time.monotonic() - self.settings.header_seconds
            for connection in [each for each in self.open if each.waits_since < late]:
                connection.turn_away(408, "the request did not come in time: send it faster")


class Connection(HttpToolsProtocol):
    """One of :class:`Connections`."""

    def __init__(self, all_of_them: Connections, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        settings = all_of_them.settings
        self.all = all_of_them
        self.most_head = int(settings.max_header_kb * 1e3)
        self.most_body = int(2e6 * settings.max_body_mb)  # with what frames and trails it
        self.waits_since = time.monotonic()  # that the client goes on; infinity while it is not its turn
        self.in_head = True
        self.taken = 0  # bytes of this head, or of this body as it is sent, in reads that held nothing else
        self.turned_away = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.address = client_of(self.client[0] if self.client else "")
        self.all.of[self.address] += 1
        self.all.open.add(self)
        end = transport.get_extra_info("socket")
        if USER_TIMEOUT and end:
            end.setsockopt(socket.IPPROTO_TCP, USER_TIMEOUT, int(1000 * self.all.settings.max_seconds))
        if self.all.is_crowded(self.address):
            self.turn_away(503, "too many connections are open: close some")

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.all.open.discard(self)
        self.all.of[self.address] -= 1
        if not self.all.of[self.address]:
            del self.all.of[self.address]

    def data_received(self, data: bytes) -> None:
        if self.turned_away:
            return
        was_in_head = self.in_head
        self.went_on = False
        if was_in_head and self.waits_since == math.inf:
            self.waits_since = time.monotonic()
        super().data_received(data)
        self.taken = 0 if self.went_on else self.taken + len(data)
        if self.taken > (self.most_head if was_in_head else self.most_body):
            kind = "headers are" if was_in_head else "body is"
            self.turn_away(431 if was_in_head else 413, f"the request's {kind} larger than allowed: send less")

    def turn_away(self, status: int, words: str) -> None:
        """Answer that, if no other answer is on its way, and close."""
        if self.turned_away or self.transport.is_closing():
            return
        self.turned_away, self.waits_since = True, math.inf
        self._unset_keepalive_if_required()
        log.info("%s turned away: %s %s", self.address, status, words)
        telemetry.REQUESTS.labels("other", "", str(status)).inc()
        if self.cycle is not None and (self.cycle.more_body or not self.cycle.response_complete):
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started or self.pipeline:
                self.transport.abort()
                return
        request_id = uuid4().hex
        answer = problems.answer(status, words, request_id, {"connection": "close", "x-request-id": request_id})
        head = [*answer.raw_headers, *protection.HEADERS]
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in head)
        self.transport.write(STATUS_LINE[status] + lines + b"\r\n" + bytes(answer.body))
        self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    # --- what uvicorn and its parser call

    def send_400_response(self, msg: str) -> None:
        self.turn_away(400, "the request is not whole HTTP/1.1: mend the client")

    def _unsupported_upgrade_warning(self) -> None:
        """The rest is in another protocol, which is not spoken here."""
        self.cycle.keep_alive = False
        self.turned_away = True

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= MOST_PIPELINED:
            raise ValueError("too many requests at once")
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.in_head:  # what trails a body would pass for a header that the gatekeeper has seen
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if not self.url.startswith(b"/"):  # an address that is whole, for a proxy, names a host of its own
            raise ValueError("not a path")
        self.in_head, self.went_on, self.waits_since = False, True, math.inf
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self.in_head, self.went_on, self.waits_since = True, True, math.inf
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self.cycle.more_body:  # of a request that was answered before it was whole
            self.waits_since = time.monotonic()
        super().on_response_complete()
