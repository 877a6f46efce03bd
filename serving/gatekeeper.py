"""What may reach the service, and what is told of every request: an ASGI layer around the application.

It gives each request an id, checks key, origin, rate and the body's size and pace before the application sees them,
times and logs the answer, and turns an unforeseen error into a problem without a traceback.
"""

import asyncio
import hmac
import logging
import math
import re
import time
from base64 import b64decode
from urllib.parse import quote, urlsplit
from uuid import uuid4

from limits import parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.base.params import Serving
from serving import problems, telemetry
from serving.problems import Problem

CLOSE = {"connection": "close"}  # the rest of the request is not read
OPEN = ("/health", "/ready")  # without a key: for whoever watches over the process
ABANDONED = 499  # how a request is counted whose client went away; nobody sees it as a status
REQUEST_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)

log = logging.getLogger("digits.serving.access")


class Gatekeeper:
    def __init__(self, app: ASGIApp, settings: Serving, key: str | None) -> None:
        self.app, self.settings, self.key = app, settings, key
        self.rate = parse(settings.rate)
        self.limiter = FixedWindowRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else uuid4().hex
        person, secret = _credentials(headers)
        scope.setdefault("state", {}).update(request_id=request_id, person=person)
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self._admit(scope, headers, secret)
            await self.app(scope, self._bounded(receive), send_with_id)
        except Problem as problem:
            await self._refuse(problem, status, scope, receive, send_with_id)
        except ClientDisconnect:
            pass  # nobody is there to be answered
        except Exception:
            log.exception("request %s: a defect", request_id)
            defect = Problem(500, f"a defect, written down in the service's log under request {request_id}")
            await self._refuse(defect, status, scope, receive, send_with_id)
        finally:
            self._tell(scope, request_id, status, time.perf_counter() - started)

    async def _refuse(self, problem: Problem, begun: int, scope: Scope, receive: Receive, send: Send) -> None:
        if not begun:  # else the answer is on its way already, and all that can be done is to cut it off
            response = problems.answer(
                problem.status_code, problem.detail, scope["state"]["request_id"], {**(problem.headers or {}), **CLOSE}
            )
            await response(scope, receive, send)

    async def _admit(self, scope: Scope, headers: Headers, secret: str) -> None:
        """:class:`Problem` 401, 403, 413 or 429."""
        client = scope["client"][0] if scope["client"] else ""
        if not await self.limiter.hit(self.rate, client):
            ends = (await self.limiter.get_window_stats(self.rate, client)).reset_time
            wait = {"retry-after": str(max(1, math.ceil(ends - time.time())))}
            raise Problem(429, f"more than {self.settings.rate} from {client}: wait a moment", **wait)
        if self.key and scope["path"] not in OPEN and not hmac.compare_digest(secret.encode(), self.key.encode()):
            wanted = 'Basic realm="digits: any name, and the API key as password", charset="UTF-8"'
            raise Problem(401, "give the API key as X-API-Key or as a bearer token", **{"www-authenticate": wanted})
        origin = headers.get("origin")
        if origin and scope["method"] not in ("GET", "HEAD") and _host(origin) != headers.get("host"):
            raise Problem(403, f"a page of {origin} may not send requests here: call from this service's own page")
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self.settings.max_body_mb * 1e6:
            raise self._too_large()

    def _too_large(self) -> Problem:
        limit = f"{self.settings.max_body_mb:g} MB"
        return Problem(413, f"the request's body is larger than {limit}: send less at once", **CLOSE)

    def _bounded(self, receive: Receive) -> Receive:
        """``receive``, until the body is larger than allowed (:class:`Problem` 413) or comes too slowly (408)."""
        received, ends = 0, time.monotonic() + self.settings.max_seconds
        complete = False

        async def bounded() -> Message:
            nonlocal received, complete
            if complete:
                return await receive()
            try:
                async with asyncio.timeout(max(ends - time.monotonic(), 0)):
                    message = await receive()
            except TimeoutError:
                seconds = f"{self.settings.max_seconds:g} s"
                raise Problem(408, f"the request was not complete after {seconds}: send it faster", **CLOSE) from None
            received += len(message.get("body", b""))
            complete = message["type"] != "http.request" or not message.get("more_body", False)
            if received > self.settings.max_body_mb * 1e6:
                raise self._too_large()
            return message

        return bounded

    def _tell(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        """The log's line and the metrics of a request."""
        route = getattr(scope.get("route"), "path", None) or "other"
        telemetry.REQUESTS.labels(route, scope["method"] if route != "other" else "", str(status or ABANDONED)).inc()
        telemetry.SECONDS.labels(route).observe(seconds)
        facts = {
            "request_id": request_id,
            "client": scope["client"][0] if scope["client"] else "",
            "method": scope["method"],
            "path": quote(scope["path"]),  # a line break in it would begin a line of the log
            "status": status or ABANDONED,
            "ms": round(1000 * seconds, 1),
        }
        log.info("%(request_id)s %(client)s %(method)s %(path)s %(status)s %(ms)s ms", facts, extra={"facts": facts})


def _credentials(headers: Headers) -> tuple[str, str]:
    """Who asks, and the key, in one of the usual places; browsers ask their user for both, as Basic credentials."""
    kind, _, word = headers.get("authorization", "").partition(" ")
    person = ""
    if kind.lower() == "basic":
        try:
            person, _, word = b64decode(word, validate=True).decode().partition(":")
        except ValueError:
            word = ""
    return person, headers.get("x-api-key") or word


def _host(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None
