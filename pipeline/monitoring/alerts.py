"""Who is told when something needs a person? The log, reports/alerts.jsonl and, if there is one, a webhook.

DIGITS_WEBHOOK_URL takes each alert as a JSON object by POST. A webhook that does not answer is a warning: an alert must
not stop what it tells of.
"""

import logging
import os

import requests

from pipeline.base import clock, files, places
from pipeline.base.errors import printable

TIMEOUT = 10.0  # seconds

log = logging.getLogger("digits.alerts")


def raise_(kind: str, message: str) -> dict[str, str]:
    """Tell people; ``kind`` is failed, refused, waits, worn out, too few images, quarantined, drift or missed.

    Returns what was told.
    """
    alert = {"at": clock.now(), "kind": kind, "message": message}
    log.warning("%s: %s", kind, printable(message))
    try:
        files.append_json_line(places.home() / places.ALERTS, alert)
    except OSError as error:
        log.warning("%s cannot be written: %s", places.ALERTS, error)
    if url := os.environ.get("DIGITS_WEBHOOK_URL"):
        logging.getLogger("urllib3.connectionpool").setLevel(logging.CRITICAL)  # it logs what it asks for
        try:
            requests.post(url, json=alert, timeout=TIMEOUT).raise_for_status()
        except requests.RequestException as error:
            log.warning("the webhook did not take the alert: %s", _without_address(error))
    return alert


def _without_address(error: requests.RequestException) -> str:
    """What went wrong: not in the error's own words, which hold the webhook's address, and that is its password."""
    return f"it answered {error.response.status_code}" if error.response is not None else type(error).__name__


def told() -> list[dict[str, str]]:
    """Every alert so far, oldest first."""
    return files.read_json_lines(places.home() / places.ALERTS)
