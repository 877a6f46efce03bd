"""Where are the pages of the other programs at work? Links that a page may show."""

import os

from pipeline.base import places


def mlflow() -> str | None:
    """Where MLflow's pages are, without the password that may stand in the address; None where there is no server."""
    return places.public(places.tracking_uri())


def known(name: str) -> list[tuple[str, str]]:
    """The pages of the other programs at work, as far as their addresses are known."""
    found = [(f"{address}/#/models/{name}", "In MLflow") for address in [mlflow()] if address]
    return found + [(address, "Runs in Prefect") for address in [prefect()] if address]


def prefect() -> str | None:
    """Where Prefect's pages are: as PREFECT_UI_URL says, else as a `make schedule` that runs in this checkout wrote."""
    top = places.checkout()
    if told := os.environ.get("PREFECT_UI_URL"):
        return places.public(told)
    if not (top / places.PREFECT_RUNNING).is_file():
        return None
    try:
        return places.public((top / places.PREFECT_ADDRESS).read_text().strip().removesuffix("/api"))
    except (OSError, ValueError):
        return None
