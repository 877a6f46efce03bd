"""Prefect's server behind its own door: a password, its own addresses and its own pages, and nothing else.

Whoever may speak to this server may run commands: a deployment can have a shell step, and the worker runs it. Prefect
asks for a password if it is given one, but listens to every Host (so that another site's name may point here) and to
the page of every Origin. Both are refused here, before Prefect sees them. `prefect server start` does the rest the same
way: an ASGI application under uvicorn.
"""

import argparse
import base64
import hashlib
import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Route

from pipeline.base import places
from pipeline.base.errors import BadInput, one_line

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

AUTH = "PREFECT_SERVER_API_AUTH_STRING"
OPEN = "/open"  # the page that a printed link leads to; what stands behind its # stays in the browser
# Where Prefect's pages look for what a person typed at their login.
REMEMBER = 'localStorage.setItem("prefect-password", btoa(location.hash.slice(1))); location.replace("/")'
PAGE = f"<!doctype html><title>Prefect</title><script>{REMEMBER}</script>"
SCRIPT = base64.b64encode(hashlib.sha256(REMEMBER.encode()).digest()).decode()
# The password lies in the browser's store of this origin, so no other site's script may run on it, as Prefect's page of
# its API would have it. Prefect's pages put styles into elements.
POLICY = (
    # Prefect draws a run's timeline by pixi.js, which compiles code: without 'unsafe-eval' it is an empty box.
    f"default-src 'self'; script-src 'self' 'unsafe-eval' 'sha256-{SCRIPT}'; worker-src 'self' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}


class OwnPages:
    """ASGI middleware: refuses what a page of another origin asks for, and tells browsers to keep it that way."""

    def __init__(self, app: "ASGIApp", origins: list[str]) -> None:
        self.app, self.origins = app, origins

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return

        async def sending(message: "Message") -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        if self._is_own(Headers(scope=scope), scope.get("method", "GET")):
            await self.app(scope, receive, sending)
        else:
            await PlainTextResponse("a page of another origin may not ask this server", 403)(scope, receive, sending)

    def _is_own(self, headers: Headers, method: str) -> bool:
        """Whether a program, or a page of this server, asks; a link on another page may be followed.

        Browsers send Origin with every request that may change something and with every WebSocket, and Sec-Fetch-Site
        (Fetch Metadata, W3C) with the rest.
        """
        origin = headers.get("origin")
        if origin is not None:
            return origin in self.origins
        follows_a_link = headers.get("sec-fetch-mode") == "navigate" and method == "GET"
        return follows_a_link or headers.get("sec-fetch-site", "none") in ("none", "same-origin")


def own_addresses(port: int) -> list[str]:
    """Under which addresses this machine's programs and browsers find a server on its loopback."""
    return [f"http://{host}:{port}" for host in (places.LOOPBACK, "localhost")]


def link(address: str, auth: str) -> str:
    """The address that opens Prefect's pages with the password: it stands behind the #, which browsers do not send."""
    return f"{address}{OPEN}#{auth}"


def application(addresses: list[str]) -> "ASGIApp":
    """Prefect's API and pages, for these addresses alone; its other settings are the environment's."""
    os.environ["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] = ",".join(addresses)
    os.environ["PREFECT_SERVER_CSRF_PROTECTION_ENABLED"] = "true"
    os.environ["PREFECT_SERVER_UI_API_URL"] = "/api"  # of whichever address the page came from
    from prefect.server.api.server import create_app

    app = create_app(final=True)
    app.router.routes.insert(0, Route(OPEN, _open))  # before the pages, which take every path
    hosts = [urlsplit(address).hostname or "" for address in addresses]
    # Around Prefect's application, and no middleware of it: what its automations start, it asks of itself under a name
    # of its own ("prefect-in-memory"), through the very same application.
    return TrustedHostMiddleware(OwnPages(app, addresses), hosts, www_redirect=False)


async def _open(_request: Request) -> HTMLResponse:
    return HTMLResponse(PAGE)


def check_password() -> None:
    """:class:`BadInput` unless the environment gives a name and a password."""
    name, _, password = os.environ.get(AUTH, "").partition(":")
    if not name or not password:
        raise BadInput(f"{AUTH} holds no name:password: whoever reaches this server may run commands, so choose one")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--host", default=places.LOOPBACK, help="to listen on (this machine alone unless given)")
    parser.add_argument("--port", type=int, default=4200)
    parser.add_argument("--address", action="append", default=[], help="another one it is reached under, as https://…")
    arguments = parser.parse_args()
    check_password()
    import uvicorn

    uvicorn.run(
        application([*own_addresses(arguments.port), *arguments.address]),
        host=arguments.host,
        port=arguments.port,
        http="h11",  # bounds the headers it keeps of a request
        proxy_headers=False,
        server_header=False,
        log_level="warning",
    )


if __name__ == "__main__":
    with one_line():
        main()
