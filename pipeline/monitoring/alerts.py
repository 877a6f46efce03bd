"""Who is told when something needs a person? The log, reports/alerts.jsonl and, if there is one, a webhook.

DIGITS_WEBHOOK_URL takes each alert as a JSON object by POST. A webhook that does not answer is a warning: an alert must
not stop what it tells of.
"""

import logging
import os

import requests

from pipeline.base import clock, files, places

TIMEOUT = 10.0  # seconds

log = logging.getLogger("digits.alerts")


def raise_(kind: str, message: str) -> dict[str, str]:
    """Tell people; ``kind`` is failed, refused, waits, worn out, quarantined, drift or missed.

    Returns what was told.
    """
    alert = {"at": clock.now(), "kind": kind, "message": message}
    log.warning("%s: %s", kind, message)
    try:
        files.append_json_line(places.home() / places.ALERTS, alert)
    except OSError as error:
        log.warning("%s cannot be written: %s", places.ALERTS, error)
    if url := os.environ.get("DIGITS_WEBHOOK_URL"):
        try:
            requests.post(url, json=alert, timeout=TIMEOUT).raise_for_status()
        except requests.RequestException as error:
            log.warning("the webhook did not take the alert: %s", " ".join(str(error).split()))
    return alert


def told() -> list[dict[str, str]]:
    """Every alert so far, oldest first."""
    return files.read_json_lines(places.home() / places.ALERTS)
