"""Who is told when something needs a person? The log, reports/alerts.jsonl and whoever the environment names.

DIGITS_WEBHOOK_URL takes each alert as a JSON object by POST; DIGITS_ALERT_URLS holds addresses of Apprise (Slack,
Teams, Telegram, e-mail …), by space or comma. One that does not answer is a warning: an alert must not stop what it
tells of. Such an address is a password too, and stands in no log.
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
    log.warning("%s: %s", kind, printable(message), extra={"alert": kind})
    try:
        files.append_json_line(places.home() / places.ALERTS, alert)
    except OSError as error:
        log.warning("%s cannot be written: %s", places.ALERTS, error)
    if url := os.environ.get("DIGITS_WEBHOOK_URL"):
        _post(url, alert)
    if urls := os.environ.get("DIGITS_ALERT_URLS", "").strip():
        _notify(urls, alert)
    return alert


def _post(url: str, alert: dict[str, str]) -> None:
    logging.getLogger("urllib3.connectionpool").setLevel(logging.CRITICAL)  # it logs what it asks for
    try:
        requests.post(url, json=alert, timeout=TIMEOUT).raise_for_status()
    except requests.RequestException as error:
        log.warning("the webhook did not take the alert: %s", _without_address(error))


def _notify(urls: str, alert: dict[str, str]) -> None:
    """Send it to each of Apprise's addresses; of one that fails the log says which in the row it is."""
    from apprise import Apprise, AppriseAsset, NotifyFormat, NotifyType  # a third of a second, for those who use it
    from apprise.utils.parse import parse_urls  # which knows the commas within an address from those between two

    for name in ("apprise", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)  # they log the addresses
    title = f"digits: {alert['kind']}"
    asset = AppriseAsset(app_id="digits", app_desc="digits", app_url="", image_url_mask="", image_url_logo="")
    for number, url in enumerate(parse_urls(urls), 1):
        one = Apprise(asset=asset)
        try:
            if not one.add(url):
                log.warning("address %d of DIGITS_ALERT_URLS is none that Apprise knows", number)
            elif not one.notify(alert["message"], title, NotifyType.WARNING, body_format=NotifyFormat.TEXT):
                log.warning("address %d of DIGITS_ALERT_URLS did not take the alert", number)
        except Exception as error:  # a plugin's own, for what may be in an address: its words may hold it
            log.warning("address %d of DIGITS_ALERT_URLS did not take the alert: %s", number, type(error).__name__)


def _without_address(error: requests.RequestException) -> str:
    """What went wrong: not in the error's own words, which hold the webhook's address, and that is its password."""
    return f"it answered {error.response.status_code}" if error.response is not None else type(error).__name__


def raised() -> list[dict[str, str]]:
    """Every alert so far, oldest first."""
    return files.read_json_lines(places.home() / places.ALERTS)
