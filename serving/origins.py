"""Which pages may speak to the service? Its own: those that were loaded from it, by a name that is its own.

A page anywhere can have a browser send requests to 127.0.0.1, and by DNS rebinding have its own name point there, which
makes it the same origin to the browser. So the name in Host must be known; and a browser's Origin and Sec-Fetch-Site
(W3C Fetch Metadata) must say that the page is the service's own. What is no browser sends neither.
"""

import re
from collections.abc import Iterable
from ipaddress import ip_address

from starlette.datastructures import Headers
from starlette.types import Scope

from serving.problems import Problem

LOOPBACK = ("localhost", "127.0.0.1", "::1")
EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104 — what --host calls all of a machine's addresses
SANDBOXED = "/reports/"  # whose pages are of no origin, even to themselves
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\s:/?#@\[\]\\]+?)\.?)(?::(\d{1,5}))?", re.ASCII | re.IGNORECASE)
_PORTS = {"http": "80", "https": "443"}


class Origins:
    """Those that may."""

    def __init__(self, host: str, more: Iterable[str]) -> None:
        self.names = {name.lower() for name in (*LOOPBACK, host, *more)}
        self.is_everywhere = host in EVERYWHERE

    def check(self, scope: Scope, headers: Headers) -> None:
        """:class:`Problem` 400, 403 or 421."""
        given = headers.getlist("host")
        found = _HOST.fullmatch(given[0]) if len(given) == 1 else None
        if found is None:
            raise Problem(400, "the request should have one Host header, with this service's name")
        if not self._knows(found[1] or found[2]):
            raise Problem(421, f"{given[0][:80]} is not a name of this service: add it to serving.hosts in params.yaml")
        origin = headers.get("origin")
        if origin is not None and _plain(origin) != _plain(f"{scope['scheme']}://{given[0]}"):
            raise Problem(403, f"a page of {origin[:80]} may not send requests here: call from this service's own page")
        if _is_of_another_site(scope, headers):
            raise Problem(403, "another site's page may not send requests here: call from this service's own page")

    def _knows(self, name: str) -> bool:
        return name.lower() in self.names or (self.is_everywhere and _is_address(name))


def _is_address(name: str) -> bool:
    """Whether it is an address in numbers, which no DNS can have point elsewhere."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _plain(origin: str) -> str:
    """As browsers write it: small letters, no port where it is the scheme's own."""
    scheme, _, rest = origin.lower().partition("://")
    return f"{scheme}://{rest.removesuffix(':' + _PORTS.get(scheme, ''))}"


def _is_of_another_site(scope: Scope, headers: Headers) -> bool:
    """Whether a browser says so. It may follow a link to a page here, and pages in the sandbox may show pictures."""
    if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
        return False
    if scope["method"] not in ("GET", "HEAD"):
        return True
    navigates = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return not navigates and not scope["path"].startswith(SANDBOXED)
