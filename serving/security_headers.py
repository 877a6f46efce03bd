"""What does every answer tell a browser that it may not do with it?"""

import base64
import hashlib
import re

from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

POLICY = "default-src 'self'; img-src 'self' data: blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]
"""unless an answer has its own"""

# The reports bring scripts and styles of their own, and load nothing from elsewhere.
# In a sandbox: a script that came into a report, with a file's name or a label, is not of the service's own origin, and
# its requests reach neither it nor anybody else. It may still lead the page itself to another site.
_SANDBOX = "sandbox allow-popups allow-popups-to-escape-sandbox allow-downloads"
_NOTHING_ELSE = "connect-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
REPORTS_POLICY = (
    f"{_SANDBOX} allow-scripts; default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    f"style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; {_NOTHING_ELSE}"
)

# The report that a version kept needs none, and whoever may write to the artifact store may have written it.
RECORDED_POLICY = f"{_SANDBOX}; default-src 'none'; style-src 'unsafe-inline'; img-src data:; {_NOTHING_ELSE}"


class Files(StaticFiles):
    """Files, each whole: HTTP lets a server not look at Range, and what Starlette says to a wrong one is no problem as
    this service tells them."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = [header for header in scope["headers"] if header[0] != b"range"]
        await super().__call__({**scope, "headers": asked}, receive, send)

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["accept-ranges"] = "none"
        return response


class Reports(Files):
    """The pages that stages left."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["content-security-policy"] = REPORTS_POLICY
        response.headers["cross-origin-resource-policy"] = "cross-origin"  # what is in the sandbox is of no origin
        return response


def policy_of(page: str) -> str:
    """The policy of a page that holds scripts: those very ones may run."""
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{each}'" for each in hashes)
    return f"{POLICY}; script-src 'self' {allowed}; style-src 'self' 'unsafe-inline'"
