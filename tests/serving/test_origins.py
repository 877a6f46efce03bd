import pytest
from starlette.datastructures import Headers

from serving.origins import Origins
from serving.problems import Problem

EVERY = "0.0.0.0"  # noqa: S104 — what --host calls all addresses
OWN = {"host": "localhost:8000"}
CROSS = {**OWN, "sec-fetch-site": "cross-site"}


def refused(
    *headers: tuple[str, str],
    host: str = "127.0.0.1",
    method: str = "POST",
    path: str = "/predict",
    scheme: str = "http",
) -> int:
    """The status, 0 where the request is let in."""
    scope = {"type": "http", "method": method, "path": path, "scheme": scheme}
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    try:
        Origins(host, ["digits.example"]).check(scope, Headers(raw=raw))
    except Problem as problem:
        assert len(problem.detail.splitlines()) == 1
        return problem.status_code
    return 0


@pytest.mark.parametrize(
    "name",
    ["localhost", "LOCALHOST:8000", "localhost.", "127.0.0.1:1", "[::1]:8000", "Digits.example", "digits.example:80"],
)
def test_its_own_names_are_known(name: str):
    assert refused(("host", name)) == 0


@pytest.mark.parametrize(
    ("name", "status"),
    [
        *((name, 421) for name in ("evil.example", "evil.example:8000", "localhost.evil.example", "10.0.0.1", EVERY)),
        *((name, 421) for name in ("[::2]", "127.0.0.1.evil.example", "digits.example.evil", "a" * 30_000)),
        *(
            (name, 400)
            for name in ("", ":80", "localhost:port", "localhost/evil", "evil@localhost", "[::1", "a b", "[]")
        ),
    ],
)
def test_other_names_are_not(name: str, status: int):
    assert refused(("host", name)) == status


def test_one_host_header_it_has_to_be():
    assert refused() == 400
    assert refused(("host", "localhost"), ("host", "localhost")) == 400


def test_open_to_all_it_answers_to_any_address_in_numbers_which_no_dns_can_rebind():
    assert refused(("host", "192.168.0.7:8000"), host=EVERY) == 0
    assert refused(("host", "[fd00::7]:8000"), host="::") == 0
    assert refused(("host", "evil.example"), host=EVERY) == 421
    assert refused(("host", "192.168.0.7"), host="192.168.0.7") == 0


@pytest.mark.parametrize("origin", ["http://localhost:8000", "HTTP://LOCALHOST:8000"])
def test_its_own_page_may(origin: str):
    assert refused(*OWN.items(), ("origin", origin), ("sec-fetch-site", "same-origin")) == 0


@pytest.mark.parametrize(
    "origin",
    [
        *("https://localhost:8000", "http://localhost:8001", "http://localhost", "http://127.0.0.1:8000"),
        *(
            "null",
            "",
            "http://[",
            "http://localhost:8000.evil.example",
            "http://localhost:8000@evil.example",
            "file://",
        ),
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_page_of_another_scheme_host_or_port_may_not(origin: str, method: str):
    assert refused(*OWN.items(), ("origin", origin), method=method) == 403


def test_a_scheme_s_own_port_need_not_be_said():
    own = ("host", "digits.example"), ("origin", "https://digits.example:443")
    assert refused(*own, scheme="https") == 0
    assert refused(*own) == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site", "anything"])
def test_what_a_browser_sends_for_another_site_s_page_is_refused_without_an_origin_too(site: str):
    headers = {**OWN, "sec-fetch-site": site}
    assert refused(*headers.items()) == 403
    assert refused(*headers.items(), method="GET") == 403
    embedded = {**headers, "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}
    assert refused(*embedded.items(), method="GET") == 403


def test_a_link_from_another_site_may_be_followed_and_a_form_not_be_sent():
    link = {**CROSS, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert refused(*link.items(), method="GET", path="/") == 0
    assert refused(*link.items()) == 403


def test_a_report_in_its_sandbox_is_of_no_site_and_shows_its_pictures():
    assert refused(*CROSS.items(), method="GET", path="/reports/curves.png") == 0
    assert refused(*CROSS.items(), path="/reports/curves.png") == 403
