"""How has what comes in changed, window after window? The page at /monitor, from what the monitor flow left."""

from typing import Any

from jinja2 import Environment

from pipeline.monitoring import windows

SHOWN = 60  # windows, the latest
FAR = 10  # standard deviations; of a column that never varied, such as an empty border, more says nothing
WIDTH, HEIGHT = 720, 160  # of the chart, in its own units
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Drift · {{ name }}</title>
<link rel="icon" href="/page/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/page/style.css">
<main class="wide">
<header><h1>What comes in</h1><nav><a href="/">Draw a digit</a> <a href="/reports/index.html">Report</a></nav></header>
{% if not windows %}
<p>No window was compared yet. The monitor does so with the last images that were asked about, by its schedule
(<code>make schedule</code>), or when it is started from Prefect's page.</p>
{% else %}
<p class="verdict {{ 'bad' if windows[-1].bad else 'good' }}">The latest window, {{ windows[-1].images }} images until
{{ windows[-1].at }}, {{ 'has drifted' if windows[-1].bad else 'looks like what the champion learnt from' }}:
{{ '%.0f%%' % (100 * windows[-1].drifted_share) }} of the columns differ, most of all {{ windows[-1].furthest }} (by
{{ windows[-1].distance }} standard deviations).</p>
<figure>
<svg viewBox="0 0 {{ width }} {{ height + 24 }}" role="img" aria-label="The share of drifted columns of each window">
{% for line in lines %}<line class="{{ line.kind }}" x1="0" x2="{{ width }}" y1="{{ line.y }}" y2="{{ line.y }}"/>
<text x="0" y="{{ line.y - 3 }}">{{ line.label }}</text>{% endfor %}
{% for w in windows %}<circle class="{{ 'bad' if w.bad else 'good' }}" cx="{{ w.x }}" cy="{{ w.y }}" r="5">
<title>{{ w.at }}: {{ '%.0f%%' % (100 * w.drifted_share) }}, {{ w.furthest }}</title></circle>{% endfor %}
<text x="0" y="{{ height + 20 }}">{{ windows[0].at[:16] }}</text>
<text x="{{ width }}" y="{{ height + 20 }}" text-anchor="end">{{ windows[-1].at[:16] }}</text>
</svg>
<figcaption>The share of columns (features, answer, confidence) that lie far from the champion's reference; filled: a
drifted window, above the dashed line.</figcaption>
</figure>
<table>
<thead><tr><th>Window until<th class="number">Images<th class="number">Version
<th>Verdict<th class="number">Columns<th>Furthest<th class="number">Distance<th>Report</thead>
{% for w in windows | reverse %}<tr><td>{{ w.at }}<td class="number">{{ w.images }}<td class="number">{{ w.version }}
<td>{{ 'drifted' if w.bad else 'alike' }}<td class="number">{{ '%.0f%%' % (100 * w.drifted_share) }}<td>{{ w.furthest }}
<td class="number">{{ w.distance }}
<td><a href="/reports/monitor/{{ w.page }}">Evidently</a>
{% endfor %}</table>
{% endif %}
</main>
"""


def page(name: str) -> str:
    """The windows of that model, the latest last, as a chart and a table."""
    shown = [_row(record) for record in windows.of(name)[-SHOWN:]]
    for index, row in enumerate(shown):
        row["x"] = round(40 + (WIDTH - 50) * (index + 0.5) / len(shown), 1)
        row["y"] = _down(row["drifted_share"])
    lines = [{"y": _down(share), "label": f"{share:.0%}", "kind": "grid"} for share in (0, 0.5, 1)]
    if shown and (allowed := shown[-1].get("allowed_share")) is not None:  # older windows do not say
        lines.append({"y": _down(allowed), "label": "", "kind": "limit"})
    template = Environment(autoescape=True).from_string(_PAGE)
    return template.render(name=name, windows=shown, lines=lines, width=WIDTH, height=HEIGHT)


def _down(share: float) -> float:
    """Where a share is drawn, from the chart's top."""
    return round(HEIGHT * (1 - share / 1.1), 1)


def _row(record: dict[str, Any]) -> dict[str, Any]:
    furthest, distance = max(record["columns"].items(), key=lambda column: column[1])
    text = f"{distance:.2f}" if distance < FAR else f"over {FAR}"
    return {**record, "furthest": furthest.replace("_", " "), "distance": text, "page": windows.page_name(record)}
