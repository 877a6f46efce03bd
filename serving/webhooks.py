"""MLflow's webhooks: the registry's server says when an alias has moved, so that it need not be asked each second.

The service is told at :data:`PATH`, by requests that only the server can sign, and rings: it touches a file at which
the watcher, a process of its own, looks. An event is the reason for a question and nothing more, as the alias alone
says what is in use: one that is lost, late or sent twice does no harm. MLflow signs after Standard Webhooks
(https://www.standardwebhooks.com): HMAC-SHA256 of id, time and body.
"""

from __future__ import annotations

import base64
import hmac
import math
import re
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response

from pipeline.base import files, places
from pipeline.base.errors import BadInput, brief
from serving.problems import Problem

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.webhook import Webhook as MlflowWebhook
    from mlflow.entities.webhook import WebhookEvent, WebhookEventStr

PATH = "/registry-events"
SECRET = "DIGITS_SERVE_WEBHOOK_SECRET"  # noqa: S105 — the name under which the watcher gets it
EVENTS: list[WebhookEventStr | WebhookEvent] = ["model_version_alias.created", "model_version_alias.deleted"]
FRESH_SECONDS = 300.0  # as old a request may be
LISTED_SECONDS = 60.0  # for which MLflow's server remembers whom it tells, and does not know of who came since
RENEW_SECONDS = 300.0  # from a proof that it tells to the next,
RETRY_SECONDS = 30.0  # and to the next where it did not

router = APIRouter(include_in_schema=False)


def check(address: str) -> None:
    """:class:`BadInput` where nobody could tell this service of anything at its address."""
    if not places.tracking_uri().startswith(("http://", "https://")):
        raise BadInput(
            "--webhook: MLflow's server tells of promotions, and this registry is none: "
            "set MLFLOW_TRACKING_URI to the server's address, or leave --webhook away"
        )
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", address):
        raise BadInput(
            f"--webhook {address}: give this service's address as MLflow's server reaches it, as https://digits.example"
        )


@router.post(PATH, status_code=204)
async def be_told(request: Request) -> Response:
    """An event of MLflow's server."""
    secret = request.app.state.webhook_secret
    if secret is None:
        raise Problem(404, "this service asks the registry itself: start it with --webhook to be told")
    if not is_signed(request.headers, await request.body(), secret, time.time()):
        raise Problem(401, "the event was not signed by the registry's server, with this service's secret and of late")
    try:
        ring()
    except OSError as error:
        raise Problem(503, f"the event cannot be handed on: {error}", **{"retry-after": "10"}) from None
    return Response(status_code=204)


def is_signed(headers: Mapping[str, str], body: bytes, secret: str, now: float) -> bool:
    """Whether who knows the secret sent this, in the last minutes."""
    sent, delivery = headers.get("x-mlflow-timestamp", ""), headers.get("x-mlflow-delivery-id", "")
    if not (sent.isascii() and sent.isdecimal()) or abs(now - float(sent)) > FRESH_SECONDS:
        return False
    digest = hmac.digest(secret.encode(), f"{delivery}.{sent}.".encode() + body, "sha256")
    given = headers.get("x-mlflow-signature", "").encode()
    return hmac.compare_digest(given, b"v1," + base64.b64encode(digest))


def ring() -> None:
    """Have the watcher ask now."""
    event = places.home() / places.REGISTRY_EVENT
    files.private_folder(event.parent)  # a service that never had a champion has none
    event.touch(mode=0o600)


def rung_at() -> int:
    """When it was last rung, in ns; 0 for never."""
    try:
        return (places.home() / places.REGISTRY_EVENT).stat().st_mtime_ns
    except OSError:
        return 0


class Webhook:
    """One service's, in MLflow's list: made, and proven from time to time by an event that MLflow sends for it."""

    def __init__(self, client: MlflowClient, model: str, address: str, secret: str) -> None:
        self.client, self.model, self.secret = client, model, secret
        self.url = address.rstrip("/") + PATH
        self.fault: str | None = None
        """why nothing is told, as it was last printed"""
        self._tells_since = math.inf
        self._renew_at = 0.0

    def is_sure(self) -> bool:
        """Whether the server tells this service of every event."""
        now = time.monotonic()
        if now >= self._renew_at:
            fault = self._renewed()
            if fault and fault != self.fault:
                print(f"MLflow's server does not tell {self.url}, so it is asked each second: {fault}", flush=True)
            self.fault = fault
            self._tells_since = math.inf if fault else min(self._tells_since, now)
            self._renew_at = now + (RETRY_SECONDS if fault else RENEW_SECONDS)
        return now - self._tells_since > LISTED_SECONDS

    def _renewed(self) -> str | None:
        """Have the server hold the secret, and send an event: what is wrong, None if the event came."""
        before = rung_at()
        try:
            result = self.client.test_webhook(self._listed())
        except Exception as error:  # whatever a server raises that is away, or too old to have any
            return brief(error)
        if rung_at() != before:
            return None
        return result.error_message or f"{self.url} answered {result.response_status} and was not told"

    def _listed(self) -> str:
        """The id of the webhook with this address, which holds this secret from now on."""
        for webhook in self._all():
            if webhook.url == self.url:
                self.client.update_webhook(webhook.webhook_id, secret=self.secret, events=EVENTS, status="ACTIVE")
                return str(webhook.webhook_id)
        what = f"tells a service of {self.model}"
        made = self.client.create_webhook("digits-serve", self.url, EVENTS, what, self.secret)
        return str(made.webhook_id)

    def _all(self) -> Iterator[MlflowWebhook]:
        token = None
        while True:
            page = self.client.list_webhooks(page_token=token)
            yield from page
            token = page.token
            if not token:
                return
