import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pipeline.base import files
from pipeline.monitoring import alerts


class Hook(BaseHTTPRequestHandler):
    """A webhook that keeps what it is sent and answers with the server's ``status``."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.taken.append(json.loads(body))  # type: ignore[attr-defined]
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), Hook)
    server.taken, server.status = [], 204  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("DIGITS_WEBHOOK_URL", f"http://127.0.0.1:{server.server_port}/")
    yield server
    server.shutdown()


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DIGITS_WEBHOOK_URL", raising=False)
    monkeypatch.delenv("DIGITS_ALERT_URLS", raising=False)
    return tmp_path


def test_an_alert_goes_to_the_log_and_the_file(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        alerts.raise_("refused", "version 3: it is worse")
        alerts.raise_("drift", "ink – 300 images")
    assert [(alert["kind"], alert["message"]) for alert in alerts.raised()] == [
        ("refused", "version 3: it is worse"),
        ("drift", "ink – 300 images"),
    ]
    assert "refused: version 3: it is worse" in caplog.text


def test_a_full_disk_does_not_keep_it_from_the_webhook(hook: HTTPServer, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "append_json_line", full)
    told = alerts.raise_("failed", "a retraining failed")
    assert hook.taken == [told]  # type: ignore[attr-defined]


def test_the_webhook_takes_each_alert(hook: HTTPServer):
    told = alerts.raise_("failed", "the stage validate failed")
    assert hook.taken == [told]  # type: ignore[attr-defined]


@pytest.mark.parametrize("fault", ["it answers 500", "nobody is there"])
def test_a_webhook_that_fails_is_a_warning(
    fault: str, hook: HTTPServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    hook.status = 500  # type: ignore[attr-defined]
    if fault == "nobody is there":
        monkeypatch.setenv("DIGITS_WEBHOOK_URL", "http://127.0.0.1:9/")
    with caplog.at_level(logging.WARNING):
        alerts.raise_("failed", "x")
    assert "the webhook did not take the alert" in caplog.text and len(alerts.raised()) == 1


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/T000/secret", "secret", "http://secret:x@[", "{hook}T/secret"])
def test_the_webhook_s_address_is_its_password_and_in_no_log(
    address: str, hook: HTTPServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    hook.status = 404  # type: ignore[attr-defined]
    url = address.format(hook=f"http://127.0.0.1:{hook.server_port}/")
    monkeypatch.setenv("DIGITS_WEBHOOK_URL", url)
    with caplog.at_level(logging.DEBUG):
        alerts.raise_("failed", "x")
    assert "the webhook did not take the alert" in caplog.text and "secret" not in caplog.text


def test_every_address_of_apprise_takes_each_alert(hook: HTTPServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DIGITS_WEBHOOK_URL")
    one = f"json://127.0.0.1:{hook.server_port}"
    monkeypatch.setenv("DIGITS_ALERT_URLS", f"{one}/a, {one}/b?:to=ann,bob\n{one}/c")
    alerts.raise_("drift", "ink <b> – 300 images")
    told = [(taken["title"], taken["message"]) for taken in hook.taken]  # type: ignore[attr-defined]
    assert told == [("digits: drift", "ink <b> – 300 images")] * 3


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("json://127.0.0.1:9/secret", "address 1 of DIGITS_ALERT_URLS did not take the alert"),
        ("json://user:secret@{hook}/T/secret", "address 1 of DIGITS_ALERT_URLS did not take the alert"),
        ("slack://secret/secret", "address 1 of DIGITS_ALERT_URLS is none that Apprise knows"),
        ("nosuch://secret", "address 1 of DIGITS_ALERT_URLS is none that Apprise knows"),
        ("secret", "address 1 of DIGITS_ALERT_URLS did not take the alert"),
    ],
)
def test_apprise_s_addresses_are_passwords_and_one_that_fails_keeps_no_other_from_it(
    address: str, words: str, hook: HTTPServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    hook.status = 500  # type: ignore[attr-defined]
    monkeypatch.delenv("DIGITS_WEBHOOK_URL")
    bad, good = address.format(hook=f"127.0.0.1:{hook.server_port}"), f"json://127.0.0.1:{hook.server_port}/last"
    monkeypatch.setenv("DIGITS_ALERT_URLS", f"{bad} {good}")
    with caplog.at_level(logging.DEBUG):
        alerts.raise_("failed", "x")
    assert words in caplog.text and "secret" not in caplog.text
    assert hook.taken[-1]["message"] == "x"  # type: ignore[attr-defined]


def test_a_name_with_a_newline_breaks_no_line_of_the_log(caplog: pytest.LogCaptureFixture):
    name = "new.npz\nfailed: forged\x1b[31m"
    with caplog.at_level(logging.WARNING):
        alerts.raise_("quarantined", name)
    assert caplog.messages == ["quarantined: new.npz\\nfailed: forged\\x1b[31m"]
    assert alerts.raised()[0]["message"] == name  # JSON has no need of that
