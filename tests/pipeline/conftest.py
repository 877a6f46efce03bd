"""A local web server whose mirrors misbehave, each in its own way."""

import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest


class Mirrors:
    """Answers ``/<behaviour>/<file>`` with the files of a folder, spoilt by the behaviour."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: Counter[str] = Counter()
        self.released = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.server.daemon_threads = True

    def url(self, behaviour: str, file: str = "") -> str:
        return f"http://127.0.0.1:{self.server.server_port}/{behaviour}/{file}"

    def handler(self) -> type[BaseHTTPRequestHandler]:
        mirrors = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: Any) -> None:
                pass

            def do_GET(self) -> None:
                _, behaviour, name = self.path.split("/")
                mirrors.requests[self.path] += 1
                if behaviour == "fails" or (behaviour == "recovers" and mirrors.requests[self.path] == 1):
                    self.send_error(500)
                    return
                body = (mirrors.folder / name).read_bytes()
                if behaviour == "lies":
                    body = (mirrors.folder / "lies" / name).read_bytes()
                self.send_response(200)
                if behaviour != "hides-length":
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body if behaviour in ("good", "recovers", "lies") else body[: len(body) // 2])
                if behaviour == "stalls":
                    self.wfile.flush()
                    mirrors.released.wait()

        return Handler


@pytest.fixture
def mirrors(tmp_path: Path) -> Iterator[Mirrors]:
    """Serves mirrors.folder: ``good``, ``recovers`` (after one failure), ``fails`` (500), ``stalls``, ``truncates``,
    ``hides-length`` (truncates without having told the length) and ``lies`` (serves its folder ``lies``).
    """
    folder = tmp_path / "mirrors"
    (folder / "lies").mkdir(parents=True)
    mirrors = Mirrors(folder)
    thread = threading.Thread(target=mirrors.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield mirrors
    mirrors.released.set()
    mirrors.server.shutdown()
    mirrors.server.server_close()
    thread.join()
