"""What would you show somebody about this model? One page that needs no other file: reports/index.html.

Reads what the stages before it left. Pictures are inside the page as data URIs and the style is inline, so that it
can be sent by mail and opened from anywhere; only the links to Data Docs, the drift report and the tables lead out.
"""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.base import files, params
from pipeline.base.errors import BadInput, one_line
from pipeline.data import splits
from pipeline.data.splits import CLASSES

REPORTS = Path("reports")
PAGE = REPORTS / "index.html"
MANIFEST = splits.RAW / "manifest.json"
DOCS = REPORTS / "validation"
DRIFT_PAGE = REPORTS / "drift.html"
JSONS = {
    "training": REPORTS / "training.json",
    "metrics": REPORTS / "metrics.json",
    "validation": REPORTS / "validation.json",
    "drift": REPORTS / "drift.json",
}
TABLES = ("per_class", "confused_pairs", "mistakes", "suspected_labels", "calibration", "slices", "robustness")
PICTURES = (
    "confusion_images",
    "confusion_matrix",
    "confused_pairs",
    "mistakes",
    "per_class",
    "slices",
    "robustness",
    "reliability",
    "suspected_labels",
)
PARTS = ("train", "val", "test")


def verdict(metrics: dict[str, Any], pairs: pd.DataFrame, floors: params.Gate) -> str:
    """The model in one sentence: how many it reads, whether that clears the gate's floors, what it confuses most."""
    right, n = metrics["n_test"] - metrics["errors"], metrics["n_test"]
    missed = [
        f"{name} below the floor of {100 * floor:.4g}%"
        for name, value, floor in (
            ("its accuracy is", metrics["accuracy"], floors.min_accuracy),
            ("its weakest class's recall is", metrics["min_recall"], floors.min_recall),
        )
        if value < floor
    ]
    floor = f"but {' and '.join(missed)}" if missed else "which clears the floors of the gate"
    if pairs.empty:
        return f"It reads all {n:,} unseen digits correctly, {floor}."
    first = pairs.iloc[0]
    times = "once" if first["count"] == 1 else f"{first['count']:.0f} times"
    confused = f"the commonest mistake is a {first['true']:.0f} taken for a {first['predicted']:.0f} ({times})"
    return f"It reads {right:,} of {n:,} unseen digits correctly, {floor}; {confused}."


def calibration_sentence(table: pd.DataFrame) -> str:
    """Does the model promise too much or too little, over the whole test split?"""
    gap = float(np.average(table["confidence"] - table["accuracy"], weights=table["n"]))
    kind = "overconfident" if gap > 0 else "underconfident"
    return f"On the whole it is {kind} by {abs(gap) * 100:.2f} points."


def class_shares(labels: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """A row a class: the digit, and for each split how many images and which share of the split."""
    counts = {name: np.bincount(values, minlength=CLASSES) for name, values in labels.items()}
    return [
        {"digit": d, "splits": [(int(count[d]), float(count[d] / count.sum())) for count in counts.values()]}
        for d in range(CLASSES)
    ]


def data_uri(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def plain(value: Any) -> str:
    """A value of a check or a table as a person writes it: four significant digits, lists with commas."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "–"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Sequence):
        return ", ".join(map(plain, value))
    return json.dumps(value, ensure_ascii=False)


def render(facts: dict[str, Any]) -> str:
    """The page from :func:`gather`'s facts; everything that comes from data is escaped."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["plain"] = plain
    environment.filters["percent"] = lambda share, places=2: f"{share:.{places}%}"
    environment.filters["count"] = lambda number: f"{number:,.0f}"
    return environment.from_string(TEMPLATE).render(**facts)


def gather() -> dict[str, Any]:
    """Everything the page shows, read from the files of the stages before; BadInput names each that is missing."""
    evaluation = REPORTS / "evaluation"
    tables = {name: evaluation / f"{name}.csv" for name in TABLES} | {"history": REPORTS / "history.csv"}
    pictures = {name: evaluation / f"{name}.png" for name in PICTURES} | {"curves": REPORTS / "curves.png"}
    _require(MANIFEST, DRIFT_PAGE, *JSONS.values(), *tables.values(), *pictures.values())
    read = {name: pd.read_csv(path) for name, path in tables.items()}
    settings = params.load()
    found = {name: files.read_json(path) for name, path in JSONS.items()}
    return {
        **found,
        "manifest": files.read_json(MANIFEST),
        "params": settings,
        "params_text": params.PATH.read_text(encoding="utf-8"),
        "verdict": verdict(found["metrics"], read["confused_pairs"], settings.gate),
        "calibration_sentence": calibration_sentence(read["calibration"]),
        "tables": {name: table.to_dict("records") for name, table in read.items()},
        "pictures": {name: data_uri(path) for name, path in pictures.items()},
        "parts": PARTS,
        "classes": class_shares({name: splits.load(splits.PROCESSED / name).labels for name in PARTS}),
        "docs": _docs(),
    }


def _require(*paths: Path) -> None:
    missing = [f"there is no {path}: run `dvc repro`" for path in paths if not path.is_file()]
    if missing:
        raise BadInput("\n".join(missing))


def _docs() -> str:
    """Where Data Docs begin, relative to the page: of the index.html in the folder, the one nearest to its top."""
    found = sorted(DOCS.rglob("index.html"), key=lambda path: (len(path.parts), path))
    if not found:
        raise BadInput(f"there is no index.html in {DOCS}: run `dvc repro`")
    return found[0].relative_to(REPORTS).as_posix()


def main() -> None:
    files.write_text(PAGE, render(gather()))
    print(f"report: {PAGE}")


TEMPLATE = """\
{% macro picture(name, alt, wide=false) %}
<div class="picture{{ ' wide' if wide }}"{% if wide %} tabindex="0" role="region" aria-label="{{ alt }}"{% endif %}>
<img src="{{ pictures[name] }}" alt="{{ alt }}">
</div>
{% endmacro %}
{% macro mark(good, yes, no) %}
<span class="{{ 'good' if good else 'bad' }}">{{ '✓' if good else '✗' }} {{ yes if good else no }}</span>
{%- endmacro %}
{% macro head(columns, left=1) %}
<thead><tr>
{% for column in columns %}
<th scope="col"{% if loop.index <= left %} class="left"{% endif %}>{{ column }}</th>
{% endfor %}
</tr></thead>
{% endmacro %}
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{ manifest.dataset }}: {{ metrics.accuracy | percent }} on test</title>
<style>
:root {
  --page: #f6f7f9; --card: #ffffff; --ink: #1f2933; --soft: #5a6672; --line: #e1e5ea;
  --accent: #1d4fd7; --good: #18703a; --bad: #b3261e; --bar: #cfdcfb;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #101418; --card: #191f26; --ink: #e6eaee; --soft: #9fabb7; --line: #2d3640;
    --accent: #8ab0ff; --good: #6fd391; --bad: #ff9a90; --bar: #27406f;
  }
  /* Pictures are drawn on white: turned round, hues kept, and black made the card's own colour. */
  .picture img { filter: invert(1) hue-rotate(180deg); mix-blend-mode: screen; }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main, header, footer { max-width: 1080px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 44px; }
h1 { font-size: clamp(1.6rem, 5vw, 2.3rem); line-height: 1.15; margin: 0 0 8px; letter-spacing: -.02em; }
h2 { font-size: 1.3rem; line-height: 1.25; margin: 0 0 6px; letter-spacing: -.01em; }
h3 { font-size: 1rem; margin: 22px 0 6px; }
p { margin: 0 0 14px; max-width: 72ch; }
a { color: var(--accent); }
.kicker, .note { color: var(--soft); }
.kicker { margin: 0 0 4px; }
.lead { font-size: 1.15rem; }
ul.row { display: flex; flex-wrap: wrap; gap: 4px 18px; padding: 0; margin: 0 0 22px; list-style: none; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(155px, 1fr)); gap: 12px; margin: 0 0 20px; }
.tiles div { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 14px 16px; }
.tiles dt { color: var(--soft); font-size: .85rem; }
.tiles dd { margin: 0; }
.tiles .number { font-size: 1.65rem; font-weight: 650; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tiles .small { font-size: .82rem; color: var(--soft); }
section { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 24px; }
section { margin: 0 0 20px; }
.picture img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr)); gap: 28px; }
.two > * { min-width: 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .93rem; }
caption { text-align: left; color: var(--soft); padding: 0 0 6px; }
th, td { text-align: right; padding: 6px 10px; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { color: var(--soft); font-weight: 600; white-space: nowrap; }
th:first-child { padding-left: 0; text-align: left; }
th.left, td.left { text-align: left; }
tbody th { font-weight: 600; }
th .note { font-weight: 400; margin: 0; }
tbody th.short { white-space: nowrap; }
.share { background: linear-gradient(var(--bar), var(--bar)) no-repeat 100% 50% / var(--size) 70%; }
.good { color: var(--good); white-space: nowrap; }
.bad { color: var(--bad); white-space: nowrap; }
details { margin-top: 14px; }
summary { cursor: pointer; color: var(--accent); }
pre { overflow-x: auto; font-size: .82rem; line-height: 1.5; margin: 10px 0 0; }
footer { color: var(--soft); font-size: .88rem; padding-bottom: 40px; }
@media (max-width: 640px) {
  section { padding: 18px 16px; }
  .wide { overflow-x: auto; }
  .wide img { max-width: none; width: 760px; }
}
@media print { body { background: none; } section { break-inside: avoid; } nav { display: none; } }
</style>
</head>
<body>
<header>
<p class="kicker">Handwritten digits · dataset {{ manifest.dataset }} · recipe {{ training.recipe }}</p>
<h1>{{ metrics.accuracy | percent }} of unseen digits read correctly</h1>
<p class="lead">{{ verdict }}</p>
<nav aria-label="Sections"><ul class="row">
{% for name in ("Training", "Confusions", "Mistakes", "Classes", "Slices", "Robustness", "Calibration", "Labels",
  "Data", "Validation", "Drift", "Files") %}
<li><a href="#{{ name | lower }}">{{ name }}</a></li>
{% endfor %}
</ul></nav>
</header>
<main>
<dl class="tiles">
<div><dt>Test accuracy</dt><dd class="number">{{ metrics.accuracy | percent }}</dd>
<dd class="small">95% interval {{ metrics.accuracy_low | percent }} to {{ metrics.accuracy_high | percent }}</dd></div>
<div><dt>Errors</dt><dd class="number">{{ metrics.errors | count }}</dd>
<dd class="small">in {{ metrics.n_test | count }} test images</dd></div>
<div><dt>Weakest class</dt><dd class="number">{{ metrics.min_recall | percent }}</dd>
<dd class="small">recall; {{ mark(metrics.min_recall >= params.gate.min_recall, "floor", "below the floor") }}
{{ "%.4g%%" | format(100 * params.gate.min_recall) }}</dd></div>
<div><dt>Train–test gap</dt><dd class="number">{{ "%+.2f" | format(100 * metrics.gap) }}</dd>
<dd class="small">points; train {{ metrics.train_accuracy | percent }}</dd></div>
<div><dt>Loss</dt><dd class="number">{{ "%.4f" | format(metrics.loss) }}</dd>
<dd class="small">mean negative log-likelihood</dd></div>
<div><dt>Calibration error</dt><dd class="number">{{ "%.2f" | format(100 * metrics.ece) }}</dd>
<dd class="small">points between confidence and accuracy</dd></div>
</dl>

<section id="training">
<h2>How did it learn?</h2>
<p>The recipe {{ training.recipe }} trained
{% if training.members > 1 %}
{{ training.members }} networks, whose answers are averaged,
{% endif %}
for {{ training.epochs }} epochs in {{ training.train_seconds | count }} seconds
({{ training.weights | count }} weights). The weights kept are those of epoch {{ training.kept_epoch }}, which read
{{ training.val_accuracy | percent }} of the validation images right
{%- if training.kept_epoch < training.epochs %}; no later one had a lower validation loss{% endif %}.
{% if training.augmented %}Training images are augmented, which makes them the harder ones.{% endif %}
{% if training.overfits_from %}
<strong>It overfits from epoch {{ training.overfits_from }} on:</strong> validation loss rises while train loss falls.
{% else %}
Validation loss does not rise towards the end: no sign of overfitting.
{% endif %}</p>
{{ picture("curves", "Loss and accuracy by epoch, for train and validation; the kept epoch is marked", wide=true) }}
</section>

<section id="confusions">
<h2>What is taken for what?</h2>
<p>Rows are what the digit is, columns what the model said. Each cell shows the image it was most confident about.
The stronger a cell's colour, the more frequent the mistake; a blank one never happened.</p>
{{ picture("confusion_images", "Confusion matrix made of images: an image for each pair of true and predicted digit",
  wide=true) }}
<div class="two">
<div>
<h3>The commonest confusions</h3>
{% if tables.confused_pairs %}
<div class="scroll"><table>
{{ head(("True", "Taken for", "Times", "Share of the digit"), left=2) }}
<tbody>
{% for pair in tables.confused_pairs[:8] %}
<tr><th scope="row">{{ pair.true }}</th><td class="left">{{ pair.predicted }}</td>
<td>{{ pair.count }}</td><td>{{ pair.share | percent }}</td></tr>
{% endfor %}
</tbody></table></div>
{% else %}
<p>None: every test image was read correctly.</p>
{% endif %}
</div>
<div>
<h3>In numbers</h3>
{{ picture("confusion_matrix", "Confusion matrix with counts; the diagonal is faded") }}
</div>
</div>
</section>

<section id="mistakes">
<h2>Which mistakes was it surest of?</h2>
<p>{{ tables.mistakes | length | count }} mistakes in all. Some of these digits would make a person hesitate too.</p>
{{ picture("confused_pairs", "The pairs of digits most often taken for one another, with images of the mistakes",
  wide=true) }}
{{ picture("mistakes", "Gallery of the most confident mistakes, with label, prediction, confidence", wide=true) }}
</section>

<section id="classes">
<h2>Which digits are hard?</h2>
<div class="two">
<div>{{ picture("per_class", "Recall and precision of each digit") }}</div>
<div class="scroll"><table>
{{ head(("Digit", "Accuracy", "Precision", "Recall", "F1", "Images")) }}
<tbody>
{% for row in tables.per_class %}
<tr><th scope="row">{{ row.digit }}</th><td>{{ row.accuracy | percent }}</td>
<td>{{ row.precision | percent }}</td><td>{{ row.recall | percent }}</td>
<td>{{ row.f1 | percent }}</td><td>{{ row.support | count }}</td></tr>
{% endfor %}
</tbody></table></div>
</div>
<p class="note">Accuracy is that of telling this digit from all others.</p>
</section>

<section id="slices">
<h2>Is it weaker on some kinds of writing?</h2>
<p>Each slice is the tenth of the test images (more where many are equal) that is furthest out in one
respect. The bars are 95% intervals: one that reaches the dashed line may be chance.</p>
<div class="two">
<div>{{ picture("slices", "Accuracy on each slice with its 95% interval") }}</div>
<div class="scroll"><table>
{{ head(("Slice", "Images", "Errors", "Accuracy", "95% interval")) }}
<tbody>
{% for row in tables.slices %}
<tr><th scope="row" class="short">{{ row.slice }}</th><td>{{ row.n | count }}</td><td>{{ row.errors }}</td>
<td>{{ row.accuracy | percent }}</td><td>{{ row.low | percent(1) }}–{{ row.high | percent(1) }}</td></tr>
{% endfor %}
</tbody></table></div>
</div>
</section>

<section id="robustness">
<h2>What if the picture is worse?</h2>
<p>The same {{ tables.robustness[0].n | count }} test images, each changed as happens to pictures on their way; on
average {{ metrics.robustness | percent(1) }} of the accuracy on clean ones is left.</p>
{{ picture("robustness", "Some test digits under each corruption, with the accuracy there", wide=true) }}
</section>

<section id="calibration">
<h2>Can its confidence be trusted?</h2>
<p>Of the answers given with 90% confidence, nine in ten should be right. {{ calibration_sentence }} The mean distance
over the bins is {{ "%.2f" | format(100 * metrics.ece) }} points.</p>
<div class="two">
<div>{{ picture("reliability", "Reliability: accuracy against confidence, and how many images are in each bin") }}</div>
<div class="scroll"><table>
{{ head(("Confidence", "Images", "Mean confidence", "Accuracy")) }}
<tbody>
{% for row in tables.calibration %}
<tr><th scope="row">{{ row.low | percent(0) }}–{{ row.high | percent(0) }}</th><td>{{ row.n | count }}</td>
<td>{{ row.confidence | percent(1) }}</td><td>{{ row.accuracy | percent(1) }}</td></tr>
{% endfor %}
</tbody></table></div>
</div>
</section>

<section id="labels">
<h2>Which labels may be wrong?</h2>
<p>{{ tables.suspected_labels | length | count }} test images where the model is as sure of another digit as it
usually is of that digit's own images. Look before you relabel: a confident mistake looks the same from here.</p>
{{ picture("suspected_labels", "Gallery of test images whose label may be wrong, with the digit seen", wide=true) }}
</section>

<section id="data">
<h2>What was it trained and tested on?</h2>
<p>Dataset {{ manifest.dataset }} from {{ manifest.source }}: {{ manifest.counts.train | count }} images to train on and
{{ manifest.counts.test | count }} to test on, as they came in.</p>
<div class="scroll"><table>
<caption>Images of each digit, after the split of train into train and val</caption>
<thead><tr><th scope="col">Digit</th>
{% for part in parts %}
<th scope="col">{{ part }}</th><th scope="col">share</th>
{% endfor %}
</tr></thead>
<tbody>
{% for row in classes %}
<tr><th scope="row">{{ row.digit }}</th>
{% for count, share in row.splits %}
<td>{{ count | count }}</td>
<td class="share" style="--size: {{ "%.1f" | format([400 * share, 100] | min) }}%">{{ share | percent(1) }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody></table></div>
</section>

<section id="validation">
<h2>Was the data fit to use?</h2>
<p>{{ validation.checks | selectattr("passed") | list | length }} of {{ validation.checks | length }} checks passed.
A failed critical check stops the pipeline, a failed warning does not.
<a href="{{ docs }}">Data Docs</a> have every detail.</p>
<div class="scroll"><table>
{{ head(("Check", "Split", "Result", "Severity", "Observed", "Expected"), left=6) }}
<tbody>
{% for check in validation.checks | sort(attribute="passed") %}
<tr><th scope="row">{{ check.name }}
{% if not check.passed %}
<p class="note">{{ check.message }}</p>
{% endif %}
</th><td class="left">{{ check.split }}</td><td class="left">{{ mark(check.passed, "passed", "failed") }}</td>
<td class="left">{{ check.severity }}</td><td class="left">{{ check.observed | plain }}</td>
<td class="left">{{ check.expected | plain }}</td></tr>
{% endfor %}
</tbody></table></div>
</section>

<section id="drift">
<h2>Are train and test alike?</h2>
<p>Verdict: <strong>{{ drift.verdict }}</strong>. {{ drift.columns | selectattr("drifted") | list | length }} of
{{ drift.columns | length }} columns drifted ({{ drift.drifted_share | percent(0) }}). The
<a href="drift.html">drift report</a> shows each distribution.</p>
<div class="scroll"><table>
{{ head(("Column", "Result", "Distance", "Threshold"), left=2) }}
<tbody>
{% for column in drift.columns | sort(attribute="distance", reverse=true) %}
<tr><th scope="row">{{ column.name }}</th>
<td class="left">{{ mark(not column.drifted, "alike", "drifted") }}</td>
<td>{{ "%.4f" | format(column.distance) }}</td><td>{{ column.threshold | plain }}</td></tr>
{% endfor %}
</tbody></table></div>
</section>

<section id="files">
<h2>Where are the numbers?</h2>
<ul class="row">
{% for link in ("metrics.json", "training.json", "history.csv", "validation.json", "drift.json", "drift.html", docs) %}
<li><a href="{{ link }}">{{ link }}</a></li>
{% endfor %}
{% for name in (tables | list) + ["confusion"] if name != "history" %}
<li><a href="evaluation/{{ name }}.csv">{{ name }}.csv</a></li>
{% endfor %}
</ul>
<details><summary>The params of this run</summary><pre>{{ params_text }}</pre></details>
</section>
</main>
<footer><p>Made by <code>python -m pipeline.reporting.page</code> from the files above.</p></footer>
</body>
</html>
"""

if __name__ == "__main__":
    with one_line():
        main()
