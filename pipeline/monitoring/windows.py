"""How did the windows of images that came in compare, one after the other, and when is that an alarm?

A line a window in reports/monitor/windows.jsonl, beside Evidently's page of each. One odd window is not drift: the
alarm wants ``monitor.bad`` bad ones among the last ``monitor.of``, and the latest among them.
"""

from pathlib import Path
from typing import Any

from pipeline.base import files
from pipeline.registry import versions

FILE = Path("reports/monitor/windows.jsonl")


def keep(record: dict[str, Any], snapshot: Any) -> Path:
    """Append the window to those before and leave its page; returns the page's path."""
    place = versions.home() / FILE
    page = place.with_name(page_name(record))
    with files.atomic(page) as part:
        snapshot.save_html(str(part))
    files.append_json_line(place, record)
    return page


def page_name(record: dict[str, Any]) -> str:
    """What Evidently's page of a window is called."""
    return f"{record['at'].replace(':', '')}.html"


def of(name: str, version: str | None = None) -> list[dict[str, Any]]:
    """The kept windows that were compared with that version, or with any, oldest first."""
    found = files.read_json_lines(versions.home() / FILE)
    return [record for record in found if record["model"] == name and version in (None, record["version"])]


def alarmed(records: list[dict[str, Any]], bad: int, of: int) -> bool:
    """Whether at least ``bad`` of the last ``of`` windows are bad, the latest among them."""
    last = records[-of:]
    return bool(last) and last[-1]["bad"] and sum(record["bad"] for record in last) >= bad
