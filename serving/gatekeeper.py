"""What may reach the service, and what is told of every request: an ASGI layer around the application.

It gives each request an id, checks name, origin, key, rate and the body's size and pace before the application sees
them, times and logs the answer, tells browsers what not to do with it, and turns an unforeseen error into a problem
without a traceback.
"""

import hmac
import logging
import math
import re
import time
from base64 import b64decode
from secrets import token_hex
from typing import Any
from urllib.parse import quote

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.base.errors import printable
from pipeline.base.params import Serving
from serving import problems, requests, security_headers, telemetry, webhooks
from serving.clients import client_of
from serving.origins import Origins
from serving.problems import Problem

CLOSE = {"connection": "close"}  # the rest of the request is not read
OPEN = ("/health", "/ready", webhooks.PATH)  # without a key: for whoever watches over the process; events are signed
CORRECTIONS = "/corrections"
SMALL_BODY = 64_000  # bytes: elsewhere no more is taken; here it is, however many others are being sent
BODIES = 4  # times the largest body is what may be on its way from all clients together
MOST_HEADERS = 100
MOST_LOGGED = 200  # characters of a path
ABANDONED = 499  # how a request is counted whose client went away; nobody sees it as a status
REQUEST_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)

log = logging.getLogger("digits.serving.access")


class Indexed(Headers):
    """A request's headers, of which several are looked for and few are there."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope=scope)
        self._first = dict(reversed(self._list))

    def __getitem__(self, key: str) -> str:
        return self._first[key.lower().encode("latin-1")].decode("latin-1")

    def get(self, key: str, default: Any = None) -> Any:
        found = self._first.get(key.lower().encode("latin-1"))
        return default if found is None else found.decode("latin-1")


class Gatekeeper:
    def __init__(self, app: ASGIApp, settings: Serving, key: str | None, origins: Origins) -> None:
        self.app, self.settings, self.key, self.origins = app, settings, key, origins
        self.rate, self.corrections = parse(settings.rate), parse(settings.corrections)
        self.limiter = FixedWindowRateLimiter(MemoryStorage())
        self.most_bytes = int(settings.max_body_mb * 1e6)
        self.bytes_held = 0  # of the bodies of all requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}  # the server, whose scope is as it was, leaves the body away
        started = time.perf_counter()
        headers = Indexed(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else token_hex(16)
        person, secret = _credentials(headers)
        scope.setdefault("state", {}).update(request_id=request_id, person=person)
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = [*message["headers"], (b"x-request-id", request_id.encode())]
                names = {name for name, _ in own}
                message["headers"] = own + [header for header in security_headers.HEADERS if header[0] not in names]
            await send(message)

        body = Body(self, scope["path"], receive)
        try:
            await self._admit(scope, headers, secret, body)
            await self.app(scope, body.receive, send_with_id)
        except Problem as problem:
            await self._refuse(problem, status, scope, receive, send_with_id)
        except ClientDisconnect:
            pass  # nobody is there to be answered
        except Exception:
            log.exception("request %s: a defect", request_id)
            defect = Problem(500, f"a defect, written down in the service's log under request {request_id}")
            await self._refuse(defect, status, scope, receive, send_with_id)
        finally:
            self.bytes_held -= body.received
            self._tell(scope, request_id, status, time.perf_counter() - started)

    async def _refuse(self, problem: Problem, begun: int, scope: Scope, receive: Receive, send: Send) -> None:
        if not begun:  # else the answer is on its way already, and all that can be done is to cut it off
            response = problems.answer(
                problem.status_code, problem.detail, scope["state"]["request_id"], {**(problem.headers or {}), **CLOSE}
            )
            await response(scope, receive, send)

    async def _admit(self, scope: Scope, headers: Headers, secret: str, body: "Body") -> None:
        """:class:`Problem` 400, 401, 403, 413, 421, 429 or 431."""
        client = client_of(scope["client"][0] if scope["client"] else "")
        await self._count(self.rate, client, "requests")
        size = sum(len(name) + len(value) + 4 for name, value in scope["headers"])
        if len(scope["headers"]) > MOST_HEADERS or size > self.settings.max_header_kb * 1e3:
            raise Problem(431, f"more than {MOST_HEADERS} headers, or {self.settings.max_header_kb:g} kB: send fewer")
        self.origins.check(scope, headers)
        if self.key and scope["path"] not in OPEN and not hmac.compare_digest(secret.encode(), self.key.encode()):
            wanted = 'Basic realm="digits: any name, and the API key as password", charset="UTF-8"'
            raise Problem(401, "give the API key as X-API-Key or as a bearer token", **{"www-authenticate": wanted})
        if scope["path"] == CORRECTIONS:
            await self._count(self.corrections, client, "corrections")
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > body.most:
            raise body.too_large()

    async def _count(self, limit: RateLimitItem, client: str, what: str) -> None:
        if not await self.limiter.hit(limit, what, client):
            ends = (await self.limiter.get_window_stats(limit, what, client)).reset_time
            wait = {"retry-after": str(max(1, math.ceil(ends - time.time())))}
            per = limit.GRANULARITY.name
            raise Problem(429, f"more than {limit.amount} {what} per {per} from {client}: wait a moment", **wait)

    def _tell(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        """The log's line and the metrics of a request."""
        route = getattr(scope.get("route"), "path", None) or "other"
        method = scope["method"] if route != "other" else ""
        telemetry.child(telemetry.REQUESTS, route, method, str(status or ABANDONED)).inc()
        telemetry.child(telemetry.SECONDS, route).observe(seconds)
        facts = {
            "request_id": request_id,
            "client": client_of(scope["client"][0] if scope["client"] else ""),
            "method": scope["method"],
            "path": quote(scope["path"][:MOST_LOGGED]),  # a line break in it would begin a line of the log
            "status": status or ABANDONED,
            "ms": round(1000 * seconds, 1),
        }
        log.info("%(request_id)s %(client)s %(method)s %(path)s %(status)s %(ms)s ms", facts, extra={"facts": facts})


class Body:
    """A request's, as it comes in; what is held of it is counted against what all may hold."""

    def __init__(self, gatekeeper: Gatekeeper, path: str, receive: Receive) -> None:
        self.gatekeeper, self._receive = gatekeeper, receive
        self.most = gatekeeper.most_bytes if path == requests.PATH else SMALL_BODY
        self.received = 0
        self.complete = False

    async def receive(self) -> Message:
        """What comes next; :class:`Problem` 413 where it is larger than allowed, 408 where it comes too slowly, 503
        where those of others take up all the room."""
        if self.complete:
            return await self._receive()
        try:
            message = await self._receive()
        except TimeoutError:
            seconds = f"{self.gatekeeper.settings.max_seconds:g} s"
            raise Problem(408, f"the request was not complete after {seconds}: send it faster", **CLOSE) from None
        size = len(message.get("body", b""))
        self.received += size
        self.gatekeeper.bytes_held += size
        self.complete = message["type"] != "http.request" or not message.get("more_body", False)
        if self.received > self.most:
            raise self.too_large()
        if self.received > SMALL_BODY and self.gatekeeper.bytes_held > BODIES * self.gatekeeper.most_bytes:
            raise Problem(503, "too many large requests are on their way: try again", **{"retry-after": "1"}, **CLOSE)
        return message

    def too_large(self) -> Problem:
        limit = f"{self.most / 1e6:g} MB"
        return Problem(413, f"the request's body is larger than {limit}: send less at once", **CLOSE)


def _credentials(headers: Headers) -> tuple[str, str]:
    """Who asks, and the key, in one of the usual places; browsers ask their user for both, as Basic credentials."""
    kind, _, word = headers.get("authorization", "").partition(" ")
    person = ""
    if kind.lower() == "basic":
        try:
            person, _, word = b64decode(word, validate=True).decode().partition(":")
        except ValueError:
            word = ""
    return printable(person), headers.get("x-api-key") or word
