"""How did the windows of images that came in compare, one after the other, and when is that an alarm?

A line a window in reports/monitor/windows.jsonl, beside Evidently's page of each. One odd window is not drift: the
alarm wants ``monitor.bad`` bad ones among the last ``monitor.of``, and the latest among them.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.base import files, places
from pipeline.data import comparison


class Window(BaseModel):
    """How far the images of a window lie from what a version learnt from."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    at: str
    model: str
    version: str
    images: int
    last_row: int | None = None
    """of what was seen in use; None for a folder's"""
    bad: bool
    drifted_share: float
    """of the columns"""
    allowed_share: float | None = None  # older windows do not say
    columns: dict[str, float]
    """the distance of each"""

    @property
    def page_name(self) -> str:
        """What Evidently's page of it is called."""
        return f"{self.at.replace(':', '')}.html"


def keep(window: Window, snapshot: Any) -> Path:
    """Append the window to those before and leave its page; returns the page's path."""
    place = places.home() / places.WINDOWS
    page = place.with_name(window.page_name)
    comparison.save_page(snapshot, page)
    files.append_json_line(place, window.model_dump(mode="json"))
    return page


def of(name: str, version: str | None = None) -> list[Window]:
    """The kept windows that were compared with that version, or with any, oldest first."""
    found = []
    for line in files.read_json_lines(places.home() / places.WINDOWS):
        with suppress(ValidationError):  # of another release, or of other means
            found.append(Window.model_validate(line))
    return [window for window in found if window.model == name and version in (None, window.version)]


def latest(name: str, count: int) -> list[Window]:
    """The last kept windows of that model, at most so many, oldest first: read from the file's end, of which a year has
    tens of thousands."""
    return list(itertools.islice(backwards(name), count))[::-1]


def backwards(name: str) -> Iterator[Window]:
    """The kept windows of that model, the newest first."""
    for line in files.json_lines_backwards(places.home() / places.WINDOWS):
        if isinstance(line, dict) and line.get("model") == name:
            with suppress(ValidationError):
                yield Window.model_validate(line)


def looked_at(newest_first: Iterable[Window], version: str) -> int:
    """The last row of what that version saw in use that one of the windows holds; 0 if none does."""
    return next((window.last_row for window in newest_first if window.version == version and window.last_row), 0)


def alarmed(windows: Sequence[Window], bad: int, of: int) -> bool:
    """Whether at least ``bad`` of the last ``of`` windows are bad, the latest among them."""
    last = windows[-of:]
    return bool(last) and last[-1].bad and sum(window.bad for window in last) >= bad
