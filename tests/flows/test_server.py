"""Prefect's door: which requests get through to it, and what every answer tells a browser."""

import asyncio

import httpx
import pytest
from starlette.responses import PlainTextResponse

from flows import server
from pipeline.base.errors import BadInput

OWN = server.own_addresses(4200)


def ask(method: str, headers: dict[str, str]) -> httpx.Response:
    """What comes back from behind the door, where everything is answered with "in"."""
    app = server.OwnPages(PlainTextResponse("in"), OWN)

    async def asked() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=OWN[0]) as client:
            return await client.request(method, "/", headers=headers)

    return asyncio.run(asked())


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": OWN[0]},
        {"origin": OWN[1]},
        {"origin": OWN[0], "sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"},
    ],
)
def test_programs_and_its_own_pages_get_in(headers: dict[str, str]):
    assert ask("POST", headers).text == "in"


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://127.0.0.1:4201"},
        {"origin": "https://127.0.0.1:4200"},
        {"origin": "http://127.0.0.1:4200.evil.example"},
        {"origin": "http://evil.example#http://127.0.0.1:4200"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
    ],
)
def test_pages_of_another_origin_do_not(headers: dict[str, str]):
    answer = ask("POST", headers)
    assert answer.status_code == 403 and answer.text != "in"


def test_a_link_on_another_page_may_be_followed():
    assert ask("GET", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}).text == "in"


def test_every_answer_has_the_headers_that_keep_other_pages_out():
    for headers in ({}, {"origin": "null"}):
        answer = ask("GET", headers)
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["x-frame-options"] == "DENY"


def test_the_printed_link_keeps_the_password_behind_the_hash():
    assert server.link("http://127.0.0.1:4200", "digits:abc") == "http://127.0.0.1:4200/open#digits:abc"


@pytest.mark.parametrize("auth", [None, "", "admin", "admin:", ":geheim"])
def test_it_does_not_start_without_a_password(monkeypatch: pytest.MonkeyPatch, auth: str | None):
    monkeypatch.delenv(server.AUTH, raising=False)
    if auth is not None:
        monkeypatch.setenv(server.AUTH, auth)
    with pytest.raises(BadInput, match="holds no name:password"):
        server.check_password()
