"""MLflow's server tells the service that an alias has moved: by signed requests, and never instead of the alias."""

import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from mlflow.webhooks import delivery
from ports import free_port
from running import Service, problem
from waiting import until
from workspace import Workspace

from pipeline.base import places, processes
from pipeline.base.errors import BadInput
from pipeline.registry import versions
from serving import watch, webhooks
from serving.webhooks import Webhook

SECRET, NOW, BODY = "a secret of this service", 1_800_000_000, b'{"entity": "model_version_alias"}'


def signed(body: bytes = BODY, secret: str = SECRET, sent: int = NOW) -> dict[str, str]:
    """The headers that MLflow itself would send."""
    signature = delivery._generate_hmac_signature(secret, "an id", str(sent), body.decode())
    return {"x-mlflow-delivery-id": "an id", "x-mlflow-timestamp": str(sent), "x-mlflow-signature": signature}


def test_what_mlflow_signs_is_believed():
    assert webhooks.is_signed(signed(), BODY, SECRET, NOW + 5.0)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        signed(body=b"{}"),
        signed(secret=SECRET + "?"),
        signed(sent=NOW - 301),
        signed(sent=NOW + 301),
        {**signed(), "x-mlflow-timestamp": str(NOW + 1)},
        {**signed(), "x-mlflow-delivery-id": "another"},
        {**signed(), "x-mlflow-timestamp": "²"},
        {**signed(), "x-mlflow-timestamp": "9" * 5000},
        {**signed(), "x-mlflow-timestamp": "nan"},
        {**signed(), "x-mlflow-signature": "v1,ÿ"},
        {**signed(), "x-mlflow-signature": "v1," + hashlib.sha256(BODY).hexdigest()},
    ],
)
def test_nothing_else_is(headers: dict[str, str]):
    assert not webhooks.is_signed(headers, BODY, SECRET, NOW)


@pytest.mark.parametrize(
    ("registry", "address", "said"),
    [
        ("sqlite:///mlflow.db", "http://127.0.0.1:8000", "MLFLOW_TRACKING_URI"),
        ("http://127.0.0.1:5000", "127.0.0.1:8000", "https://digits.example"),
        ("http://127.0.0.1:5000", "https://digits.example?a=b", "https://digits.example"),
        ("http://127.0.0.1:5000", "https://name:word@digits.example", "https://digits.example"),
    ],
)
def test_an_address_at_which_nothing_could_be_told_is_refused(
    registry: str, address: str, said: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry)
    with pytest.raises(BadInput, match=said):
        webhooks.check(address)


class Server:
    """MLflow's list of webhooks, of which each event reaches the service or none."""

    def __init__(self, pages: list[list[str]], tells: bool = True) -> None:
        self.pages, self.tells = pages, tells
        self.calls: list[tuple[str, Any]] = []

    def list_webhooks(self, page_token: str | None) -> list[SimpleNamespace]:
        index = int(page_token or 0)
        page = Page(SimpleNamespace(url=url, webhook_id=url) for url in self.pages[index])
        page.token = str(index + 1) if index + 1 < len(self.pages) else None
        return page

    def update_webhook(self, webhook_id: str, **changes: Any) -> None:
        self.calls.append(("update", webhook_id))

    def create_webhook(self, name: str, url: str, events: list[str], description: str, secret: str) -> SimpleNamespace:
        self.calls.append(("create", url))
        return SimpleNamespace(webhook_id="new")

    def test_webhook(self, webhook_id: str) -> SimpleNamespace:
        if self.tells:
            webhooks.ring()
        return SimpleNamespace(error_message=None, response_status=404)


class Page(list[SimpleNamespace]):
    token: str | None


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What both modules take for the time; a sleep makes it go on."""
    now = SimpleNamespace(seconds=1000.0)

    def sleep(seconds: float) -> None:
        now.seconds += seconds

    fake = SimpleNamespace(monotonic=lambda: now.seconds, sleep=sleep)
    monkeypatch.setattr(webhooks, "time", fake)
    monkeypatch.setattr(watch, "time", fake)
    return now


def test_the_webhook_with_this_address_is_taken_over_wherever_it_is_listed(home: Path, clock: SimpleNamespace):
    mine = "https://a.example" + webhooks.PATH
    for pages, called in (
        ([["https://b.example"], [mine]], ("update", mine)),
        ([["https://b.example"], []], ("create", mine)),
    ):
        server = Server(pages)
        Webhook(server, "m", "https://a.example/", SECRET).is_sure()
        assert server.calls == [called]


def test_it_is_asked_each_second_until_its_server_must_know_of_the_service_then_each_minute(
    home: Path, clock: SimpleNamespace
):
    changes = watch._events(Webhook(Server([[]]), "m", "https://a.example", SECRET))
    asked: list[float] = []
    for _ in range(80):
        next(changes)
        asked.append(clock.seconds - 1000)
    gaps = [b - a for a, b in pairwise(asked)]
    unsure = sum(at <= webhooks.LISTED_SECONDS for at in asked) - 1
    assert unsure > 50 and all(gap < 1.2 for gap in gaps[:unsure])
    assert all(gap == 0 or 60 <= gap < 60.2 for gap in gaps[unsure + 1 :])  # 0 after the event of each proof


def test_an_event_is_asked_for_at_once(home: Path, clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch):
    webhook = SimpleNamespace(is_sure=lambda: True)
    changes = watch._events(webhook)
    next(changes)
    webhooks.ring()  # during the question
    next(changes)
    assert clock.seconds == 1000
    next(changes)
    assert clock.seconds >= 1000 + watch.TOLD_SECONDS


def test_a_server_that_does_not_tell_is_asked_each_second_and_the_reason_said_once(
    home: Path, clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
):
    changes = watch._events(Webhook(Server([[]], tells=False), "m", "https://a.example", SECRET))
    for _ in range(100):
        next(changes)
    assert clock.seconds - 1000 < 120  # a hundred questions
    assert capsys.readouterr().out.splitlines() == [
        "MLflow's server does not tell https://a.example/registry-events, so it is asked each second: "
        "https://a.example/registry-events answered 404 and was not told"
    ]


def test_a_service_that_asked_for_no_events_takes_none(service: Service):
    assert "--webhook" in problem(service.client.post(webhooks.PATH, json={}), 404)


@contextmanager
def registry_server(workspace: Workspace) -> Iterator[str]:
    """MLflow's server on the workspace's registry; its address."""
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    store = ["--backend-store-uri", f"sqlite:///{workspace.folder}/mlflow.db", "--allowed-hosts", f"127.0.0.1:{port}"]
    allowed = {"MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http", "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true"}
    environment = {**workspace.environment(), **allowed, "MLFLOW_WEBHOOK_CACHE_TTL": "0"}
    log = (workspace.folder / "mlflow.log").open("w")
    with log, processes.started([*command, *store], cwd=workspace.folder, env=environment, to=log) as process:
        until(lambda: _answers(address), "MLflow's server")
        yield address
        process.send_signal(subprocess.signal.SIGTERM)


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health").is_success
    except httpx.HTTPError:
        return False


def test_mlflows_server_tells_of_a_promotion_and_who_cannot_sign_is_not_believed(
    demo: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    workspace = demo.copy(tmp_path / "workspace")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace.folder}/mlflow.db")
    first = versions.connect().get_model_version("digits-cnn", "1")
    again = versions.connect().create_model_version("digits-cnn", first.source, first.run_id, tags=dict(first.tags))
    with registry_server(workspace) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        client = versions.connect()
        port = str(free_port())
        reached_at = f"http://127.0.0.1:{port}"
        service = Service(workspace, "--port", port, "--webhook", reached_at, MLFLOW_TRACKING_URI=address)
        assert service.ready() == "1"
        until(lambda: f"POST {webhooks.PATH} 204" in service.log or "does not tell" in service.log, "an event, or none")
        assert "does not tell" not in service.log, service.log
        client.set_registered_model_alias("digits-cnn", versions.CHAMPION, again.version)
        until(lambda: service.log.count(f"POST {webhooks.PATH} 204") > 1, "the event")
        until(lambda: service.ready() == str(again.version), "the next champion")
        forged = service.client.post(webhooks.PATH, json={}, headers=signed(sent=int(time.time())))
        assert "not signed" in problem(forged, 401)
        assert len(client.list_webhooks()) == 1 and client.list_webhooks()[0].url == reached_at + webhooks.PATH
        assert service.stop() == 0
    assert not (workspace.folder / places.REGISTRY_EVENT).stat().st_mode & 0o077
