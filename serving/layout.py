"""How does every page look? The same head, the same way to all others, and words for numbers and dates."""

from datetime import UTC, datetime
from functools import cache
from typing import Any

from jinja2 import Environment

from pipeline.base.words import counted
from pipeline.reporting import templating

PAGES = (
    ("/", "Read"),
    ("/models", "Models"),
    ("/monitor", "Drift"),
    ("/batches", "Batches"),
    ("/reports/champion/", "Report"),
    ("/docs", "API"),
)
"""the address of each, and what leads there"""


@cache
def _environment() -> Environment:
    environment = templating.environment("serving")
    environment.filters |= {"day": day, "iso": iso, "percent": percent, "counted": counted}
    environment.globals["pages"] = PAGES
    return environment


def render(template: str, here: str, **facts: Any) -> str:
    """A page; ``here`` is its address. Everything that comes from data is escaped."""
    return _environment().get_template(f"{template}.html.j2").render(here=here, **facts)


def line(here: str, title: str, words: str) -> str:
    """A page that says one thing."""
    return render("line", here, title=title, words=words)


def day(at: str | float) -> str:
    """A time as a person reads it: 27 Nov 2026, 11:03 UTC. Of ISO 8601 or of seconds since 1970; what is neither
    stays as it is."""
    moment = _moment(at)
    return f"{moment.day} {moment:%b %Y, %H:%M} UTC" if moment else str(at)


def iso(at: str | float) -> str:
    """The same as machines do."""
    moment = _moment(at)
    return moment.isoformat(timespec="seconds") if moment else ""


def _moment(at: str | float) -> datetime | None:
    try:
        found = datetime.fromisoformat(at) if isinstance(at, str) else datetime.fromtimestamp(at, UTC)
    except (ValueError, OverflowError):
        return None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def percent(share: float | None, places: int = 2) -> str:
    return "–" if share is None else f"{100 * share:.{places}f}%"
