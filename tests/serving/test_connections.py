"""What a connection does with the bytes of requests, without a network: the answer's bytes, and who is refused."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState
from workspace import ROOT

from pipeline.base import params as params_file
from serving import problems
from serving.connections import Connection, Connections

SETTINGS = params_file.load(ROOT / "params.yaml").serving
REQUEST = b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\nab"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab"


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 80)})
        self.packets: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        if self.closed:
            raise RuntimeError("as uvloop's does")
        self.packets.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def exchanged(
    app: Callable[..., Any], *reads: bytes, is_full: Callable[[int], bool] = lambda begun: False
) -> tuple[Transport, Connections]:
    """What is answered when these come in, a read each."""

    async def run() -> tuple[Transport, Connections]:
        connections = Connections(SETTINGS, is_full)
        config = uvicorn.Config(app, http=connections, ws="none", log_config=None)  # type: ignore[arg-type]
        config.load()
        transport = Transport()
        connection: Connection = connections(config=config, server_state=ServerState(), app_state={})
        connection.connection_made(transport)
        for read in reads:
            connection.data_received(read)
        for _ in range(20):
            await asyncio.sleep(0)
        connection._unset_keepalive_if_required()
        return transport, connections

    return asyncio.run(run())


def answering(*bodies: bytes, **headers: str) -> Callable[..., Any]:
    """An application that answers each request with these parts of a body."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        told = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": told})
        for body in bodies:
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return app


async def echo(scope: Any, receive: Any, send: Any) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def test_a_request_is_answered_and_the_connection_kept():
    transport, _ = exchanged(echo, REQUEST)
    assert b"".join(transport.packets) == ANSWER and not transport.closed


def test_a_request_may_come_in_pieces_and_several_at_once():
    transport, _ = exchanged(echo, REQUEST[:40], REQUEST[40:-1], REQUEST[-1:] + 2 * REQUEST)
    assert b"".join(transport.packets) == 3 * ANSWER


def test_a_body_without_length_is_sent_in_chunks():
    transport, _ = exchanged(answering(b"one", b"four"), REQUEST)
    head, _, body = b"".join(transport.packets).partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head and body == b"3\r\none\r\n4\r\nfour\r\n0\r\n\r\n"


def test_head_is_answered_without_a_body():
    transport, _ = exchanged(echo, REQUEST.replace(b"POST", b"HEAD"))
    assert b"".join(transport.packets) == ANSWER.removesuffix(b"ab")


@pytest.mark.parametrize(
    ("request_", "headers"),
    [
        (REQUEST.replace(b"HTTP/1.1", b"HTTP/1.0"), {}),
        (REQUEST.replace(b"\r\nhost", b"\r\nconnection: close\r\nhost"), {}),
        (REQUEST, {"connection": "close"}),
    ],
)
def test_a_connection_that_ends_says_so_once(request_: bytes, headers: dict[str, str]):
    transport, _ = exchanged(answering(content_length="0", **headers), request_)
    assert transport.closed and b"".join(transport.packets).count(b"connection: close") == 1


def test_a_header_of_two_lines_is_not_sent():
    transport, _ = exchanged(answering(content_length="0", location="/\r\nset-cookie: x=y"), REQUEST)
    assert b"set-cookie" not in b"".join(transport.packets)


def test_what_cannot_be_answered_in_time_is_refused_before_anything_is_done():
    async def app(*_: Any) -> None:
        raise AssertionError

    transport, connections = exchanged(app, REQUEST, REQUEST, is_full=lambda begun: True)
    assert connections.refused == len(transport.packets) == 2 and not transport.closed
    for packet in transport.packets:
        head, _, body = packet.partition(b"\r\n\r\n")
        told = json.loads(body)
        assert head.startswith(b"HTTP/1.1 503 ") and b"retry-after: 1" in head
        assert told["detail"] == problems.BUSY and f"x-request-id: {told['request_id']}".encode() in head
        assert f"content-length: {len(body)}".encode() in head


def test_other_paths_are_answered_however_many_wait():
    transport, connections = exchanged(echo, REQUEST.replace(b"/predict", b"/health"), is_full=lambda begun: True)
    assert transport.packets[0].startswith(b"HTTP/1.1 200 ") and not connections.refused


def test_requests_of_one_turn_of_the_event_loop_are_counted():
    """They are not among those that wait yet."""
    seen: list[int] = []

    async def run() -> None:
        connections = Connections(SETTINGS, lambda begun: bool(seen.append(begun)))
        config = uvicorn.Config(echo, http=connections, ws="none", log_config=None)  # type: ignore[arg-type]
        config.load()
        made = [connections(config=config, server_state=ServerState(), app_state={}) for _ in range(3)]
        for _ in range(2):
            for connection in made:
                if connection.transport is None:
                    connection.connection_made(Transport())
                connection.data_received(REQUEST)
            for _ in range(20):
                await asyncio.sleep(0)
        for connection in made:
            connection._unset_keepalive_if_required()

    asyncio.run(run())
    assert seen == [0, 1, 2, 0, 1, 2]


def test_who_does_not_send_the_rest_is_given_up():
    found: list[type] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            while True:
                await receive()
        except TimeoutError:
            found.append(TimeoutError)

    async def run() -> None:
        connections = Connections(SETTINGS, lambda begun: False)
        config = uvicorn.Config(app, http=connections, ws="none", log_config=None)  # type: ignore[arg-type]
        config.load()
        connection = connections(config=config, server_state=ServerState(), app_state={})
        connection.connection_made(Transport())
        connection.data_received(REQUEST[:-1])
        for _ in range(5):
            await asyncio.sleep(0)
        connection.cycle.give_up()
        for _ in range(5):
            await asyncio.sleep(0)

    asyncio.run(run())
    assert found == [TimeoutError]


def test_an_answer_to_who_has_gone_is_dropped_without_a_word(caplog: pytest.LogCaptureFixture):
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        send.__self__.transport.close()
        await send({"type": "http.response.body", "body": b"ok"})

    transport, _ = exchanged(app, REQUEST)
    assert transport.packets == [ANSWER.removesuffix(b"ab")] and caplog.records == []
