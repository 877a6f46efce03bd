"""How has what comes in changed, window after window? The page at /monitor, from what the monitor flow left."""

from typing import Any

from jinja2 import Environment, PackageLoader

from pipeline.monitoring import windows
from pipeline.monitoring.windows import Window

SHOWN = 60  # windows, the latest
FAR = 10  # standard deviations; of a column that never varied, such as an empty border, more says nothing
WIDTH, HEIGHT = 720, 160  # of the chart, in its own units


def page(name: str) -> str:
    """The windows of that model, the latest last, as a chart and a table."""
    shown = [_row(window) for window in windows.of(name)[-SHOWN:]]
    for index, row in enumerate(shown):
        row["x"] = round(40 + (WIDTH - 50) * (index + 0.5) / len(shown), 1)
        row["y"] = _down(row["drifted_share"])
    lines = [{"y": _down(share), "label": f"{share:.0%}", "kind": "grid"} for share in (0, 0.5, 1)]
    if shown and (allowed := shown[-1]["allowed_share"]) is not None:  # older windows do not say
        lines.append({"y": _down(allowed), "label": "", "kind": "limit"})
    environment = Environment(autoescape=True, loader=PackageLoader("serving"))
    template = environment.get_template("monitor.html.j2")
    return template.render(name=name, windows=shown, lines=lines, width=WIDTH, height=HEIGHT)


def _down(share: float) -> float:
    """Where a share is drawn, from the chart's top."""
    return round(HEIGHT * (1 - share / 1.1), 1)


def _row(window: Window) -> dict[str, Any]:
    furthest, distance = max(window.columns.items(), key=lambda column: column[1])
    text = f"{distance:.2f}" if distance < FAR else f"over {FAR}"
    words = {"furthest": furthest.replace("_", " "), "distance": text, "page": window.page_name}
    return {**window.model_dump(), **words}
