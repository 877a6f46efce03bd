"""How has what comes in changed, window after window? The page at /monitor, from what the monitor flow left."""

import sqlite3
from contextlib import suppress
from typing import Any

from pipeline.base.params import Monitor
from pipeline.monitoring import live, windows
from pipeline.monitoring.windows import Window
from serving import layout

SHOWN = 60  # windows, the latest
FAR = 10  # standard deviations; of a column that never varied, such as an empty border, more says nothing
WIDTH, HEIGHT = 720, 160  # of the chart, in its own units


def page(name: str, champion: str | None, rules: Monitor) -> str:
    """The windows of that model, the latest last, as a chart and a table, and how much of the next one is there."""
    kept = windows.latest(name, SHOWN)
    shown = [_row(window) for window in kept]
    for index, row in enumerate(shown):
        row["x"] = round(40 + (WIDTH - 50) * (index + 0.5) / len(shown), 1)
        row["y"] = _down(row["drifted_share"])
    lines = [{"y": _down(share), "label": f"{share:.0%}", "kind": "grid"} for share in (0, 0.5, 1)]
    if shown and (allowed := shown[-1]["allowed_share"]) is not None:  # older windows do not say
        lines.append({"y": _down(allowed), "label": "", "kind": "limit"})
    return layout.render(
        "monitor",
        "/monitor",
        name=name,
        champion=champion,
        rules=rules,
        waiting=_waiting(name, champion, kept, rules) if champion else None,
        windows=shown,
        lines=lines,
        width=WIDTH,
        height=HEIGHT,
    )


def _waiting(name: str, champion: str, kept: list[Window], rules: Monitor) -> int | None:
    """How many images of the next window are there, at most those that it needs; None where the store is busy."""
    after = windows.looked_at(reversed(kept), champion)
    with suppress(sqlite3.Error):
        return live.waiting(name, champion, after, rules.min_images)
    return None


def _down(share: float) -> float:
    """Where a share is drawn, from the chart's top."""
    return round(HEIGHT * (1 - share / 1.1), 1)


def _row(window: Window) -> dict[str, Any]:
    furthest, distance = max(window.columns.items(), key=lambda column: column[1])
    text = f"{distance:.2f}" if distance < FAR else f"over {FAR}"
    words = {"furthest": furthest.replace("_", " "), "distance": text, "page": window.page_name}
    return {**window.model_dump(), **words}
