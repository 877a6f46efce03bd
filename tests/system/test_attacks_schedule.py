"""What a web page, another program and another user can do to the server of `make schedule`: a real one is attacked."""

import asyncio
import base64
import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from playwright.sync_api import sync_playwright
from ports import free_port
from waiting import WAIT, until
from workspace import ROOT

from flows import password, schedule
from pipeline.base import places

CHROMIUM = shutil.which("chromium")
SOCKETS = (
    "/api/events/in",
    "/api/events/out",
    "/api/logs/out",
    "/api/task_runs/subscriptions/scheduled",
    "/api/work_pools/digits/workers/connect",
)
SHELL_STEP = {"prefect.deployments.steps.run_shell_script": {"script": "touch /tmp/owned"}}


class Server:
    """The server of a checkout, as `make schedule` starts it, without its worker."""

    def __init__(self, checkout: Path) -> None:
        self.checkout, self.port = checkout, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        environment = {**schedule.environment(checkout, self.port), "PYTHONPATH": str(ROOT)}
        self.auth = environment["PREFECT_API_AUTH_STRING"]
        self.log = checkout / places.PREFECT / "server.log"
        with self.log.open("w") as log:
            command = [sys.executable, "-m", "flows.server", "--port", str(self.port)]
            self.process = subprocess.Popen(command, cwd=checkout, env=environment, stdout=log, stderr=log)
        self.client = httpx.Client(base_url=self.url, timeout=WAIT)
        until(self.answers, f"an answer\n{self.log.read_text()}")

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.client.get("/api/health").is_success
        except httpx.TransportError:
            return False

    @functools.cached_property
    def headers(self) -> dict[str, str]:
        """What a program that knows the password sends."""
        headers = {"Authorization": f"Basic {base64.b64encode(self.auth.encode()).decode()}"}
        token = self.client.get("/api/csrf-token", params={"client": "tests"}, headers=headers).json()["token"]
        return {**headers, "Prefect-Csrf-Token": token, "Prefect-Csrf-Client": "tests"}

    def made(self) -> list[str]:
        """The names of the flows that somebody managed to make."""
        answer = self.client.post("/api/flows/filter", json={}, headers=self.headers)
        return [flow["name"] for flow in answer.raise_for_status().json()]

    def raw(self, request: bytes) -> bytes:
        """The beginning of what comes back over a socket."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=WAIT) as connection:
            try:
                connection.sendall(request)
                return connection.recv(65536)
            except ConnectionError:  # it was closed in the middle
                return b""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("checkout"))
    yield server
    server.process.terminate()
    server.process.wait(WAIT)


def test_a_program_that_knows_the_password_is_served(server: Server):
    assert server.made() == []
    own = {**server.headers, "Origin": f"http://localhost:{server.port}"}
    assert server.client.post("/api/flows/filter", json={}, headers=own).is_success


@pytest.mark.parametrize("auth", ["", ":", "digits:", "admin:admin", "digits:wrong"])
def test_without_the_password_nothing_is_made_and_nothing_told(server: Server, auth: str):
    headers = {"Authorization": f"Basic {base64.b64encode(auth.encode()).decode()}"} if auth else {}
    for path in ("/api/flows/", "/api/deployments/", "/api/work_pools/filter", "/api/automations/"):
        answer = server.client.post(path, json={"name": "evil", "pull_steps": [SHELL_STEP]}, headers=headers)
        assert answer.status_code in (401, 403), path
    for path in ("/api/admin/settings", "/api/csrf-token?client=me", "/api/deployments/name/retrain/retrain"):
        assert server.client.get(path, headers=headers).status_code == 401, path
    assert server.made() == []


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:8000", "http://localhost.evil:80"]
)
def test_another_page_is_refused_even_with_the_password(server: Server, origin: str):
    """As the page of another local port is, or one that got hold of the password."""
    evil = {**server.headers, "Origin": origin}
    told = [
        server.client.post("/api/flows/", json={"name": "evil"}, headers=evil),
        server.client.post("/api/flows/", content=b'{"name": "evil"}', headers=evil),  # what Prefect takes for JSON
        server.client.get("/api/admin/version", headers=evil),
        server.client.options("/api/flows/", headers={**evil, "Access-Control-Request-Method": "POST"}),
    ]
    assert {answer.status_code for answer in told} == {403}
    assert not any("access-control-allow-origin" in answer.headers for answer in told)
    assert server.made() == []


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:4200", "127.0.0.1@evil.example", "[::1", ""])
def test_a_name_that_was_made_to_point_here_is_refused(server: Server, host: str):
    """DNS rebinding: the page's Origin is then its own, and so the browser sends what it likes."""
    auth = server.headers["Authorization"]
    for path in ("/", "/open", "/api/health", "/api/admin/settings", "/ui-settings", "/docs"):
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {auth}\r\nConnection: close\r\n\r\n"
        assert server.raw(request.encode()).startswith(b"HTTP/1.1 400"), path
    upgrade = f"GET {SOCKETS[0]} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    upgrade += "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    assert b" 101 " not in server.raw(upgrade.encode()).split(b"\r\n")[0]


def connected(server: Server, path: str, message: dict[str, Any] | None = None, **headers: str) -> str:
    """What becomes of a WebSocket that sends the message: "refused", "closed", or the first answer's type."""

    async def tried() -> str:
        try:
            async with websockets.connect(
                f"ws://127.0.0.1:{server.port}{path}", subprotocols=["prefect"], additional_headers=headers, proxy=None
            ) as opened:
                await opened.send(json.dumps(message))
                return str(json.loads(await opened.recv())["type"])
        except websockets.InvalidStatus:
            return "refused"
        except websockets.ConnectionClosed:
            return "closed"

    return asyncio.run(tried())


@pytest.mark.parametrize("path", SOCKETS)
def test_no_socket_opens_for_another_page_nor_without_the_password(server: Server, path: str):
    right = {"type": "auth", "token": server.auth}
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        assert connected(server, path, right, Origin=origin) == "refused"
    for message in ({"type": "auth"}, {"type": "auth", "token": "digits:wrong"}, {"type": "filter"}):
        assert connected(server, path, message, Origin=server.url) == "closed"
    assert connected(server, path, right, Origin=server.url) == "auth_success"


def test_no_page_of_its_own_tells_the_password(server: Server):
    secret = server.auth.split(":")[1]
    told = [server.client.get(path) for path in ("/", "/open", "/ui-settings", "/docs", "/v2/")]
    told += [server.client.get("/api/admin/settings", headers=server.headers)]
    assert [answer.status_code for answer in told] == [200] * len(told)
    assert not any(secret in answer.text or server.auth in str(answer.headers) for answer in told)
    for answer in told:  # nor may a script from elsewhere, as /docs asks for one, run where a browser keeps it
        assert "script-src 'self'" in answer.headers["content-security-policy"]


def test_the_password_is_in_no_command_line_and_in_no_file_but_its_own(server: Server):
    secret = server.auth.split(":")[1].encode()
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.is_file()]
    assert not any(secret in line for line in lines)
    files = [path for path in server.checkout.rglob("*") if path.is_file() and secret in path.read_bytes()]
    assert files == [server.checkout / places.PREFECT_PASSWORD]


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")
def test_another_user_of_the_machine_reads_neither_password_nor_database(server: Server):
    """The files are open to all, as an earlier release left them: the folder is shut."""
    server.checkout.parent.chmod(0o755)
    server.checkout.chmod(0o755)
    state = server.checkout / places.PREFECT
    assert (state / "prefect.db").is_file()
    for path in (server.checkout / places.PREFECT_PASSWORD, state / "prefect.db"):
        read = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", "cat", str(path)]
        assert subprocess.run(read, capture_output=True).returncode != 0
    assert state.stat().st_mode & 0o077 == 0


def test_endless_headers_are_cut_off(server: Server):
    endless = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X-Endless: " + b"x" * 10_000_000
    assert server.raw(endless).startswith(b"HTTP/1.1 4") or server.answers()
    assert len(server.raw(b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000)) < 1000


@pytest.fixture
def evil_page(server: Server, tmp_path: Path) -> Iterator[str]:
    """A page of another origin that tries to make a flow, in each way that a page has, and says when it has tried."""
    body = json.dumps({"name": "evil"})
    (tmp_path / "index.html").write_text(
        f"""<form id=form method=post enctype=text/plain target=frame action={server.url}/api/flows/>
        <input name='{{"name": "evil", "x": "' value='"}}'></form><iframe name=frame></iframe>
        <iframe src={server.url}/open#digits:guessed></iframe><script>
        const url = "{server.url}/api/flows/", body = {body!r};
        form.submit();
        navigator.sendBeacon(url, new Blob([body]));
        const tries = [
            fetch(url, {{method: "POST", mode: "no-cors", credentials: "include", body: new Blob([body])}}),
            fetch(url, {{method: "POST", headers: {{"content-type": "application/json"}}, body}}),
            fetch("{server.url}/ui-settings").then(answer => answer.text()).then(text => document.title = text),
            new Promise(done => {{
                const opened = new WebSocket(url.replace("http", "ws").replace("flows/", "events/in"), "prefect");
                opened.onopen = () => {{ document.title = "opened"; done(); }};
                opened.onerror = done;
            }}),
        ];
        Promise.allSettled(tries).then(() => document.body.append("tried"));
        </script>"""
    )
    handler = functools.partial(SimpleHTTPRequestHandler, directory=tmp_path)
    web = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{web.server_port}/"
    web.shutdown()
    web.server_close()


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium")
def test_a_browser_that_knows_the_password_is_of_no_use_to_another_page(server: Server, evil_page: str):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-quic"])
        page = browser.new_page()
        page.set_default_timeout(1000 * WAIT)
        page.goto(f"{server.url}/open#{server.auth}")  # as the link that is printed
        page.get_by_text("Deployments").first.wait_for()
        assert server.auth.split(":")[1] not in page.url
        page.goto(evil_page)
        page.get_by_text("tried", exact=True).wait_for()
        assert page.title() == ""
        browser.close()
    assert server.made() == []
    assert password.known(server.checkout) == server.auth
