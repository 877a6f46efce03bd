"""Where are the pages of the other programs at work? Links that a page may show."""

import os
from urllib.parse import urlsplit, urlunsplit

from pipeline.base import places


def mlflow() -> str | None:
    """Where MLflow's pages are, without the password that may stand in the address; None where there is no server."""
    return _public(places.tracking_uri())


def known(name: str) -> list[tuple[str, str]]:
    """The pages of the other programs at work, as far as their addresses are known."""
    found = [(f"{address}/#/models/{name}", "In MLflow") for address in [mlflow()] if address]
    return found + [(address, "Runs in Prefect") for address in [prefect()] if address]


def prefect() -> str | None:
    """Where Prefect's pages are: as PREFECT_UI_URL says, else as a `make schedule` that runs in this checkout wrote."""
    top = places.checkout()
    if told := os.environ.get("PREFECT_UI_URL"):
        return _public(told)
    if not (top / places.PREFECT_RUNNING).is_file():
        return None
    try:
        return _public((top / places.PREFECT_ADDRESS).read_text().strip().removesuffix("/api"))
    except (OSError, ValueError):
        return None


def _public(address: str) -> str | None:
    """An address that a page may show: of the web, without who logs in there."""
    try:
        found = urlsplit(address)
    except ValueError:
        return None
    if found.scheme not in ("http", "https") or not found.hostname:
        return None
    return urlunsplit((found.scheme, found.netloc.rpartition("@")[2], found.path.rstrip("/"), "", ""))
