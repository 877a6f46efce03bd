"""How long, and how large, may what comes before a request be, and how many connections has a client?

uvicorn bounds neither a request's headers nor the time they take, and lets anybody open as many connections as there
are file descriptors. This is its protocol with such bounds; what a complete request may be is the gatekeeper's to say.
Once a second :meth:`Connections.look` looks for who keeps the service waiting: a timer a request would cost more.

When more is asked than can be answered, what is too much is refused here, before anything is done for it: a refusal
must cost next to nothing, or the answers of the others would pay for it.
"""

import asyncio
import logging
import math
import resource
import socket
import time
from collections import Counter
from collections.abc import Callable
from secrets import token_hex
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from pipeline.base.params import Serving
from serving import problems, requests, security_headers, telemetry
from serving.clients import client_of

LOOK_SECONDS = 1.0
LINGER_SECONDS = 2.0  # that a client has to take an answer, while what else it sends is thrown away
MOST_PIPELINED = 32  # requests of a connection that wait for the answer to the one before
SPARED_FILES = 200  # file descriptors that connections leave for databases, models and pipes
USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", None)  # of Linux: the kernel then ends who takes no answer

log = logging.getLogger("digits.serving.access")


class Connections:
    """The bounds, and who is connected; makes the protocol of each connection, as uvicorn asks for it.

    ``is_full``, told how many requests began since the event loop last went round, says whether one more would have to
    wait too long for its predictions.
    """

    def __init__(self, settings: Serving, is_full: Callable[[int], bool]) -> None:
        self.settings, self.is_full = settings, is_full
        self.begun = 0  # requests since the event loop last went round: nobody else knows of them yet
        self.refused = 0  # since the last look
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
            now = time.monotonic()
            for connection in [each for each in self.open if each.waits_since < now - self.settings.header_seconds]:
                connection.turn_away(408, "the request did not come in time: send it faster")
            for connection in self.open:
                if connection.cycle is not None and connection.cycle.began < now - self.settings.max_seconds:
                    connection.cycle.give_up()
            self._tell()

    def _tell(self) -> None:
        """How many requests were refused unseen: a line each would take longer than to refuse them."""
        if self.refused:
            log.warning("%s requests refused: more were sent than could be answered in time", self.refused)
            telemetry.REQUESTS.labels("other", "", "503").inc(self.refused)
            self.refused = 0

    def begin(self) -> None:
        """Count a request, until the event loop comes round."""
        if not self.begun:
            asyncio.get_running_loop().call_soon(self._around)
        self.begun += 1

    def _around(self) -> None:
        self.begun = 0


class Cycle(RequestResponseCycle):
    """A request and its answer, which waits for the rest of the request no longer than it may."""

    def __init__(self, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self.began = time.monotonic()
        self.is_late = False

    def give_up(self) -> None:
        """Wait no longer for the rest of the request."""
        if self.more_body and not self.response_complete:
            self.is_late = True
            self.message_event.set()

    async def receive(self) -> Any:
        """The next part of the request; TimeoutError where it came too slowly."""
        message = await super().receive()
        if self.is_late and self.more_body:
            raise TimeoutError
        return message

    async def send(self, message: Any) -> None:
        """As uvicorn does, but drop what is for a connection that is closing: uvloop refuses to write to it."""
        self.disconnected = self.disconnected or self.transport.is_closing()
        await super().send(message)


class Connection(HttpToolsProtocol):
    """One of :class:`Connections`."""

    cycle: Cycle  # None before the first request, as uvicorn has it

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
        self.unstarted: Cycle | None = None
        """the request whose head came in this read"""

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
        if self.unstarted is not None:
            cycle, self.unstarted = self.unstarted, None
            self._start(cycle)
        self.taken = 0 if self.went_on else self.taken + len(data)
        if self.taken > (self.most_head if was_in_head else self.most_body):
            kind = "headers are" if was_in_head else "body is"
            self.turn_away(431 if was_in_head else 413, f"the request's {kind} larger than allowed: send less")

    def _start(self, cycle: Cycle) -> None:
        """Have the request answered, or refuse it where too many wait. What is not whole yet is judged once it is."""
        if not cycle.more_body and cycle.scope["path"] == requests.PATH and self.all.is_full(self.all.begun):
            self.all.refused += 1
            cycle.response_started = cycle.response_complete = True
            self.transport.write(BUSY.replace(SOMEBODY.encode(), token_hex(16).encode()))
            if not cycle.keep_alive:
                self.transport.close()
            self.on_response_complete()
        elif not cycle.disconnected:
            self.all.begin()
            self._start_asgi_task(cycle, self.app)

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
        self.transport.write(_written(status, words, token_hex(16), {"connection": "close"}))
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
        before, self.cycle = self.cycle, self._cycle()
        if before is None or before.response_complete:
            self.unstarted = self.cycle
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def _cycle(self) -> Cycle:
        """The request whose head was read."""
        url, version = httptools.parse_url(self.url), self.parser.get_http_version()
        path = url.path.decode("ascii")
        self.scope["method"], self.scope["http_version"] = self.parser.get_method().decode("ascii"), version
        self.scope["path"], self.scope["raw_path"] = unquote(path) if "%" in path else path, url.path
        self.scope["query_string"] = url.query or b""
        return Cycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )

    def on_message_complete(self) -> None:
        self.in_head, self.went_on, self.waits_since = True, True, math.inf
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self.cycle.more_body:  # of a request that was answered before it was whole
            self.waits_since = time.monotonic()
        super().on_response_complete()


def _written(status: int, words: str, request_id: str, headers: dict[str, str]) -> bytes:
    """The whole answer of a problem."""
    answer = problems.answer(status, words, request_id, {**headers, "x-request-id": request_id})
    lines = [b"%s: %s\r\n" % header for header in (*answer.raw_headers, *security_headers.HEADERS)]
    return b"".join([STATUS_LINE[status], *lines, b"\r\n", bytes(answer.body)])


SOMEBODY = "0" * 32  # in place of a request's id
BUSY = _written(503, problems.BUSY, SOMEBODY, {"retry-after": "1"})
