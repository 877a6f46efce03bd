"""What a stranger on the network can do to the service: a real server, real sockets, each attack as it would come."""

import base64
import io
import json
import re
import signal
import socket
import sqlite3
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import photos
import psutil
import pytest
from PIL import Image
from running import Service, problem, served
from waiting import until
from workspace import Workspace

HOST = b"Host: 127.0.0.1\r\n"
CLOSE = b"Connection: close\r\n\r\n"
HEALTH = b"GET /health HTTP/1.1\r\n"
PREDICT = b"POST /predict HTTP/1.1\r\n" + HOST
CHUNKED = PREDICT + b"Content-Type: image/png\r\nTransfer-Encoding: chunked\r\n"
CONNECTIONS, CORRECTIONS = 40, 30
SEVEN = photos.pictures("mouse", 8, 0)[7][1]
PAGES = (
    *("/", "/monitor", "/docs", "/openapi.json", "/metrics", "/model", "/health", "/nothing", "/page/page.js"),
    *("/models", "/batches", "/compare?a=1&b=2", "/reports/champion/", "/reports/1/", "/reports/7/"),
)


@pytest.fixture(scope="module")
def service(demo: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    workspace = demo.copy(tmp_path_factory.mktemp("attacked") / "workspace")
    corrections = f"{CORRECTIONS}/hour"
    workspace.edit(header_seconds="1.0", connections=str(CONNECTIONS), corrections=corrections)
    with served(workspace) as running:
        yield running
        assert b" 200 " in running.exchange(HEALTH + HOST + CLOSE).splitlines()[0]
    assert " 500 " not in running.log


def seven(service: Service) -> dict[str, Any]:
    """The answer to an honest picture."""
    answer = service.client.post("/predict", content=SEVEN, headers={"content-type": "image/png"})
    return dict(answer.json()["answers"][0])


# --- bytes that are no request, or two --------------------------------------------------------------------------------

STRANGE = {
    "both ways to frame a body": (
        PREDICT + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n",
        400,
    ),
    "two lengths": (PREDICT + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
    "a length with a sign": (PREDICT + b"Content-Length: +2\r\n\r\nab", 400),
    "a length beyond all bounds": (PREDICT + b"Content-Length: 9223372036854775807\r\n\r\nab", 413),
    "chunked spelt otherwise": (PREDICT + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    "a blank before a colon": (PREDICT + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    "lines that end in LF": (b"GET /health HTTP/1.1\nHost: 127.0.0.1\n\n", 400),
    "a folded header": (HEALTH + HOST + b"X: a\r\n b\r\n" + CLOSE, 400),
    "a null in a header": (HEALTH + HOST + b"X: a\0b\r\n" + CLOSE, 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "TLS": (bytes.fromhex("16030100a5010000a10303") + bytes(160), 400),
    "an address for a proxy": (b"GET http://evil.example/health HTTP/1.1\r\n" + HOST + CLOSE, 400),
    "a tunnel": (b"CONNECT evil.example:80 HTTP/1.1\r\n" + HOST + CLOSE, 400),
    "TRACE": (b"TRACE /health HTTP/1.1\r\n" + HOST + CLOSE, 405),
    "another name": (HEALTH + b"Host: evil.example\r\n" + CLOSE, 421),
    "no name": (HEALTH + CLOSE, 400),
    "two names": (HEALTH + HOST + b"Host: evil.example\r\n" + CLOSE, 400),
    "a null in a path": (b"GET /reports/%00 HTTP/1.1\r\n" + HOST + CLOSE, 404),
    "half a character": (b"GET /reports/%ed%a0%80 HTTP/1.1\r\n" + HOST + CLOSE, 404),
    "a long path": (b"GET /reports/" + b"a" * 9_000 + b" HTTP/1.1\r\n" + HOST + CLOSE, 404),
    "out of a folder": (b"GET /reports/..%2fparams.yaml HTTP/1.1\r\n" + HOST + CLOSE, 404),
    "out of a folder, from the root": (b"GET /reports/%2fetc%2fpasswd HTTP/1.1\r\n" + HOST + CLOSE, 404),
    "out of a version": (b"GET /reports/1/../../params.yaml HTTP/1.1\r\n" + HOST + CLOSE, 404),
    "out of a version's tables": (b"GET /reports/1/evaluation/..%2f..%2fmlflow.db HTTP/1.1\r\n" + HOST + CLOSE, 404),
    "a version of many digits": (b"GET /reports/" + b"9" * 8_000 + b"/ HTTP/1.1\r\n" + HOST + CLOSE, 404),
    "a model page under another name": (b"GET /models HTTP/1.1\r\nHost: evil.example\r\n" + CLOSE, 421),
    "many headers": (HEALTH + HOST + b"X: a\r\n" * 200 + CLOSE, 431),
    "a large header": (HEALTH + HOST + b"X: " + b"a" * 40_000 + b"\r\n" + CLOSE, 431),
    "a header without end": (HEALTH + HOST + b"X: " + b"a" * 5_000_000, 431),
    "headers without end": (HEALTH + HOST + b"X: a\r\n" * 1_000_000, 431),
    "a path without end": (b"GET /" + b"a" * 5_000_000, 431),
    "half a request": (b"GET / HT", 408),
    "a line break now and then": (b"\r\n\r\n", 408),
    "a chunk's extension without end": (CHUNKED + b"\r\n1;" + b"a" * 40_000_000, 413),
    "a trailer without end": (CHUNKED + b"\r\n1\r\nx\r\n0\r\n" + b"a: b\r\n" * 7_000_000, 413),
    "a body that nobody reads": (PREDICT + b"Content-Type: a/b\r\nContent-Length: 100\r\n\r\n", 415),
}


@pytest.mark.parametrize("what", STRANGE)
def test_strange_bytes_are_answered_once_and_the_connection_closed(service: Service, what: str):
    request, status = STRANGE[what]
    answered = service.exchange(request)
    assert re.findall(rb"HTTP/1\.1 (\d+)", answered) in ([str(status).encode()], []), answered[:300]
    if len(request) < 50_000:  # else it may have been cut off while it sent
        assert answered.startswith(b"HTTP/1.1 ") and b"nosniff" in answered, answered[:300]


def test_what_follows_an_upgrade_is_no_further_request(service: Service):
    upgrade = b"Upgrade: other\r\nConnection: Upgrade\r\nContent-Length: 60\r\n\r\n"
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(PREDICT + upgrade)
        first = connection.recv(65536)
        rest = b""
        with suppress(ConnectionError):
            connection.sendall(HEALTH + HOST + CLOSE)
            rest = connection.recv(65536)
    assert first.startswith(b"HTTP/1.1 415") and b"HTTP/1.1" not in rest


def test_a_websocket_is_not_spoken(service: Service):
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    answered = service.exchange(HEALTH + HOST + b"Upgrade: websocket\r\nConnection: Upgrade\r\n" + key + b"\r\n")
    assert answered.startswith(b"HTTP/1.1 200")


def test_requests_may_come_without_waiting_but_not_without_end(service: Service):
    answered = service.exchange((HEALTH + HOST + b"\r\n") * 5 + HEALTH + HOST + CLOSE)
    assert answered.count(b"HTTP/1.1 200") == 6
    assert service.exchange((HEALTH + HOST + b"\r\n") * 100_000).count(b"HTTP/1.1 200") < 10_000


def test_what_trails_a_body_is_no_header(service: Service):
    answered = service.exchange(CHUNKED + b"Connection: close\r\n\r\n1\r\nx\r\n0\r\nX-Request-ID: trailed\r\n\r\n")
    assert b" 422 " in answered.splitlines()[0] and b"trailed" not in answered


def test_an_answer_s_headers_are_not_the_client_s_to_write(service: Service):
    for path in (
        b"/predict/?%0d%0aX-Evil:%20a",
        b"//evil.example/%0d%0aX-Evil:%20a/..",
        b"/reports/validation?%0aX-Evil",
    ):
        answered = service.exchange(b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"X-Request-ID: a\tb\r\n" + CLOSE)
        head = answered.partition(b"\r\n\r\n")[0].lower()
        assert b"\nx-evil" not in head and b"location: http://evil" not in head and b"a\tb" not in head


# --- who asks, and how often ------------------------------------------------------------------------------------------


def test_a_client_has_so_many_connections_and_others_do_not_notice(service: Service):
    service.client.close()
    service.client = httpx.Client(base_url=service.url)
    held = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(3 * CONNECTIONS)]
    for connection in held:
        connection.settimeout(60)
    answers = [connection.recv(65536) for connection in held[-CONNECTIONS:]]
    assert all(answer.startswith((b"HTTP/1.1 503", b"HTTP/1.1 408")) for answer in answers)
    assert b" 200 " in service.exchange(HEALTH + HOST + CLOSE, source="127.0.0.2").splitlines()[0]
    for connection in held:
        connection.close()
    until(lambda: b" 200 " in service.exchange(HEALTH + HOST + CLOSE)[:20], "room")


def test_a_page_elsewhere_cannot_correct_and_nobody_without_end(service: Service):
    """DNS rebinding: the browser takes the page for the service's own, and Host is the page's."""
    body = {"id": seven(service)["id"], "digit": 1}
    rebound = {"host": "evil.example", "origin": "http://evil.example", "sec-fetch-site": "same-origin"}
    assert "serving.hosts" in problem(service.client.post("/corrections", json=body, headers=rebound), 421)
    for headers in ({"sec-fetch-site": "cross-site"}, {"origin": "https://127.0.0.1"}, {"origin": "null"}):
        problem(service.client.post("/corrections", json=body, headers=headers), 403)
    statuses = [service.client.post("/corrections", json=body).status_code for _ in range(CORRECTIONS + 10)]
    assert statuses == [201] * CORRECTIONS + [429] * 10
    refused = service.client.post("/corrections", json=body, headers={"x-forwarded-for": "1.2.3.4"})
    assert "corrections per hour from 127.0.0.1" in problem(refused, 429)


def test_a_forged_address_is_not_in_the_log(service: Service):
    service.client.get("/health", headers={"x-forwarded-for": "6.6.6.6", "x-request-id": "forged"})
    until(lambda: "forged 127.0.0.1 GET /health 200" in service.log, "a line")
    assert "6.6.6.6" not in service.log


def test_every_answer_tells_browsers_what_not_to_do(service: Service):
    for path in (*PAGES, "/reports/index.html", "/reports/nothing", "/docs/nothing"):
        headers = service.client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        policy = headers["content-security-policy"]
        assert ("frame-ancestors 'none'" in policy and "'unsafe-inline'" not in policy.split("style-src")[0]) or (
            path.startswith("/reports") and policy.startswith("sandbox allow-popups")
        )
        assert "allow-same-origin" not in policy


# --- bodies -----------------------------------------------------------------------------------------------------------


def saved(image: Image.Image, kind: str, **options: bool) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def many_scans() -> bytes:
    """A progressive JPEG of 25 million pixels and 2,600 scans."""
    whole = saved(Image.new("L", (5000, 5000), 128), "JPEG", progressive=True)
    return whole[:-2] + whole[whole.rindex(b"\xff\xda") : -2] * 2_600 + whole[-2:]


def wide_canvas() -> bytes:
    """An animated WebP of 16 × 16 pixels on a canvas that takes a gigabyte."""
    frame = bytes(6) + struct.pack("<I", 15)[:3] * 2 + bytes(4) + saved(Image.new("RGB", (16, 16)), "WEBP")[12:]
    parts = [(b"VP8X", b"\x02\0\0\0" + struct.pack("<I", 16_382)[:3] * 2), (b"ANIM", bytes(6)), (b"ANMF", frame)]
    body = b"WEBP" + b"".join(kind + struct.pack("<I", len(content)) + content for kind, content in parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def in_png(more: bytes) -> bytes:
    whole = saved(Image.new("L", (64, 64)), "PNG")
    at = whole.index(b"IDAT") - 4
    return whole[:at] + more + whole[at:]


BOMBS = {
    "scans": many_scans,
    "a canvas": wide_canvas,
    "pixels": lambda: saved(Image.new("1", (30_000, 30_000)), "PNG"),
    "a JPEG's pixels": lambda: saved(Image.new("L", (8_000, 7_000)), "JPEG"),
    "memory": lambda: saved(Image.new("RGBA", (7_000, 7_000)), "PNG"),
    "a profile": lambda: in_png(chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(200_000_000), 9))),
    "texts": lambda: in_png(chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1_000_000), 9)) * 2_000),
}


@pytest.mark.parametrize("what", BOMBS)
def test_a_picture_that_would_take_minutes_or_gigabytes_is_refused(service: Service, what: str):
    bomb = BOMBS[what]()
    before = service.memory_mb()
    answers = [service.client.post("/predict", content=bomb, headers={"content-type": "image/png"}) for _ in range(3)]
    for answer in answers:
        problem(answer, 422)
    assert seven(service)["digit"] == 7
    assert service.memory_mb() < before + 200


FORM = b'--x\r\nContent-Disposition: form-data; name="files"; filename="f.png"'
LISTS, NUMBERS = b'{"images": [' + b"[]," * 5_000_000 + b"1]}", b'{"images": ' + b"1" * 10_000_000 + b"}"
BODIES = {
    "lists": (LISTS, "application/json", 413),
    "a number": (NUMBERS, "application/json", 400),
    "depth": (b'{"images": ' + b"[" * 100_000, "application/json", 400),
    "great depth": (b"[" * 15_000_000, "application/json", 400),
    "no number": (b'{"images": [[NaN]]}', "application/json", 422),
    "no end": (b'{"images": [[Infinity]]}', "application/json", 422),
    "half a character": (b'{"\\ud800": 1}', "application/json", 400),
    "parts": (FORM + b"\r\n\r\n1\r\n" + FORM * 2_000, "multipart/form-data; boundary=x", 400),
    "a part's headers": (FORM + b"\r\nX: a" * 500_000, "multipart/form-data; boundary=x", 400),
    "a part's header": (FORM + b"\r\nX: " + b"a" * 5_000_000, "multipart/form-data; boundary=x", 400),
    "a boundary": (b"", f"multipart/form-data; boundary={'x' * 20_000}", 400),
    "line breaks": (b"\r" * 15_000_000, "multipart/form-data; boundary=x", 422),
    "compressed": (zlib.compress(bytes(10_000_000)), "application/json", 415),
    **{
        f"the charset {name}": (FORM + b"\r\n\r\n1\r\n--x--", f"multipart/form-data; boundary=x; charset={name}", 415)
        for name in ("utf-7", "unicode_escape", "raw_unicode_escape", "undefined", "idna", "base64", "x" * 5_000)
    },
}


@pytest.mark.parametrize("what", BODIES)
def test_a_hostile_body_is_a_problem(service: Service, what: str):
    body, kind, status = BODIES[what]
    headers = {"content-type": kind, **({"content-encoding": "gzip"} if what == "compressed" else {})}
    problem(service.client.post("/predict", content=body, headers=headers), status)


@pytest.mark.parametrize(
    "body",
    [
        *(
            b'{"id": "\\ud800", "digit": 1}',
            b'{"id": "a", "digit": 1, "\\ud800": 2}',
            b'{"id": "a\\u0000", "digit": 1}',
        ),
        *(b"[" * 60_000, b'{"id": "a", "digit": ' + b"9" * 50_000 + b"}", b'{"id": "a", "digit": NaN}', b"\xff\xfe"),
        *(b" " * 70_000, json.dumps({"id": "a" * 9_000, "digit": 1}).encode()),
    ],
)
def test_a_hostile_correction_is_a_problem(service: Service, body: bytes):
    answer = service.exchange(
        b"POST /corrections HTTP/1.1\r\n"
        + HOST
        + b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
        + CLOSE
        + body,
        source=f"127.0.1.{1 + len(body) % 250}",  # so many corrections a client and hour
    )
    assert answer[9:10] == b"4", answer[:200]


def test_names_do_not_fill_the_store(service: Service):
    identity = seven(service)["id"]
    name = b"b" * 10_000
    body = json.dumps({"id": identity, "digit": 7}).encode()
    basic = b"Authorization: Basic " + base64.b64encode(name + b":") + b"\r\n"
    head = b"POST /corrections HTTP/1.1\r\n" + HOST + basic + b"Content-Type: application/json\r\n"
    answered = service.exchange(head + b"Content-Length: %d\r\n" % len(body) + CLOSE + body, source="127.0.0.3")
    assert answered.startswith(b"HTTP/1.1 201")
    with sqlite3.connect(service.workspace.folder / "data/live.db") as store:
        assert store.execute("SELECT length(by) FROM corrections WHERE id = ?", (identity,)).fetchone() == (64,)


def test_who_takes_no_answer_is_cut_off_and_nothing_outlives_a_service_that_is_killed(
    demo: Workspace, tmp_path_factory: pytest.TempPathFactory
):
    workspace = demo.copy(tmp_path_factory.mktemp("killed") / "workspace")
    workspace.edit("serving.max_seconds", "2.0")
    service = Service(workspace)
    service.ready()
    script = b"GET /static-offline-docs/swagger-ui-bundle.js HTTP/1.1\r\n" + HOST + b"\r\n"
    with socket.socket() as idle:
        idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        idle.connect(("127.0.0.1", service.port))
        idle.sendall(script * 20)
        own = psutil.Process(service.process.pid)
        until(lambda: any(each.raddr for each in own.net_connections() if each.raddr), "the connection")
        service.client.close()
        until(lambda: not any(each.raddr for each in own.net_connections()), "its end")
    service.client = httpx.Client(base_url=service.url)
    seven(service)
    family = service.family()
    assert len(family) >= 5  # a nursery, three readers and what watches the registry
    service.process.send_signal(signal.SIGKILL)
    service.process.wait()
    assert not psutil.wait_procs(family, timeout=60)[1]
