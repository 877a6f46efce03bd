"""Runs every part, and prints the table of what is promised and what was found."""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.promotion import adaptive, intervals, nightly, pictures, policies
from benchmarks.promotion.nightly import Year
from benchmarks.promotion.policies import Policy
from benchmarks.table import show
from pipeline.base import params as params_file
from pipeline.base.errors import one_line
from pipeline.base.params import Allowed, Gate
from pipeline.registry import gate, paired
from pipeline.registry.alpha_spending import Ledger

RISKS = (0.05, 0.01)
STARTS = (1000, 2000, 5000, 10_000)
BETTER = (0.001, 0.002)
SIZES = (100, 357, 1000, 2000, 5000, 10_000, 20_000, 60_000)
LOSSES = (0.001, 0.002, 0.005, 0.01, 0.03)
DISAGREEMENTS = 0.004  # of the images, for two models that are as good, half each way: as those of the population


class Line(NamedTuple):
    """A promise and what was found."""

    what: str
    found: str
    bar: str
    holds: bool


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.promotion")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=int, default=1000, help="simulated years of each scenario")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument(
        "--pictures", type=Path, metavar="FOLDER", help="draw the plots of docs/how-the-gate-decides.md"
    )
    arguments = parser.parse_args()
    rules, rng = params_file.load().gate, np.random.default_rng(arguments.seed)
    max_loss = rules.allowed("mnist").loss
    years = {one.name: _years(one, rules, max_loss, arguments.runs, rng) for one in nightly.SCENARIOS}
    flattered = adaptive.attack(rules, max_loss, 10_000, max(arguments.runs // 20, 10), rng)
    power = _power(rules, max_loss, max(arguments.runs // 5, 50), rng)
    found = {
        "years": {name: [year._asdict() for year in of] for name, of in years.items()},
        "flattered": [one._asdict() for one in flattered],
        "power": power,
        "intervals": [one._asdict() for one in intervals.intervals()],
        "judgement_seconds": _judgement_seconds(rules, rng),
        "can_tell": can_tell(rules),
    }
    lines = list(_lines(found, max_loss))
    found["bars"] = [line._asdict() for line in lines]
    if arguments.pictures:
        pictures.draw(arguments.pictures, years, rules)
    if arguments.json:
        print(json.dumps(found))
    else:
        _show(found, lines)


def _years(scenario: nightly.Scenario, rules: Gate, max_loss: float, runs: int, rng: np.random.Generator) -> list[Year]:
    rivals: list[Policy] = [policies.Ours(rules.model_copy(update={"risk": risk}), max_loss) for risk in RISKS]
    rivals += [policies.fixed_floor(), policies.no_less_accurate(), policies.mcnemar()]
    return [nightly.year(scenario, policy, runs, max_loss, rng) for policy in rivals]


def _power(rules: Gate, max_loss: float, runs: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    found = []
    for better in BETTER:
        for images in STARTS:
            nights = nightly.nights_until_promoted(rules, max_loss, better, images, 200, runs, rng)
            within, median = float((nights <= 30).mean()), float(np.median(nights))
            found.append({"better": better, "images": images, "within_30_nights": within, "median_nights": median})
    return found


def _judgement_seconds(rules: Gate, rng: np.random.Generator, images: int = 10_000, served: int = 20) -> float:
    """Of a decision against so many that served, beyond inference: the slowest of a few, each with new counts."""
    labels = rng.integers(0, 10, images).astype(np.uint8)

    def answers() -> np.ndarray:
        return np.where(rng.random(images) < 0.005, (labels + 1) % 10, labels)

    book = Ledger().spend("these", "m", images, images, rules.look_share)
    took = []
    for _ in range(3):
        formers = [gate.Former(str(number), answers()) for number in range(served)]
        challenger = gate.Candidate("n", answers(), 0.1, 1.0, 1.0, 0.0)
        began = time.perf_counter()
        budget = book.budget(book.looks[-1], rules, rules.allowed("mnist").loss)
        judged = gate.Judged(labels, 1000, np.zeros(images, bool))
        gate.decide(judged, challenger, formers, rules, Allowed(0.002, 0.02), budget)
        took.append(time.perf_counter() - began)
    return max(took)


def can_tell(rules: Gate) -> list[dict[str, Any]]:
    """What so many images can rule out at the first look: the smallest loss for a challenger that loses nothing, and
    for one that disagrees as usual; and how much better a challenger must measure to be promoted at a loss allowed."""
    risk = rules.risk * rules.look_share
    rows = []
    for images in SIZES:
        each = round(images * DISAGREEMENTS / 2)
        row: dict[str, Any] = {"images": images, "flawless": paired.flawless(images, risk)}
        row["as_good"] = paired.most_lost(each, each, images, risk)
        for loss in LOSSES:
            row[f"better_for_{loss}"] = _must_be_better(images, 2 * each, loss, risk)
        rows.append(row)
    return rows


def _must_be_better(images: int, disagreements: int, max_loss: float, risk: float) -> float | None:
    """The smallest difference to the good, as measured, with which a challenger is promoted: of the disagreements more
    and more are gained, beyond them more are added. None if even a flawless one is not within 20 points."""
    for net in range(-disagreements, images // 5):
        total = max(disagreements, abs(net))
        gained = (total + net + 1) // 2
        if paired.p_value(total - gained, gained, images, max_loss) <= risk:
            return (2 * gained - total) / images
    return None


def _lines(found: dict[str, Any], max_loss: float) -> Iterator[Line]:
    for place, risk in enumerate(RISKS):
        worst = max(found["years"], key=lambda name: found["years"][name][place]["fell"])
        fell = found["years"][worst][place]["fell"]
        what = (
            f"years in which the champion fell by more than {100 * max_loss:.1f} points, risk {risk:g}; worst scenario"
        )
        yield Line(what, f"{fell:.1%} ({worst})", f"at most {risk:.0%}", fell <= risk)
    overstated = 100 * found["flattered"][0]["overstated"]
    what = "accuracy stated of what was promoted, too high after 10,000 fitted models"
    yield Line(what, f"{overstated:.3f} points", "at most 0.05", overstated <= 0.05)
    for row in found["power"]:
        if row["images"] == 10_000:
            within = row["within_30_nights"]
            what = f"better by {100 * row['better']:.1f} points, 10,000 images and 200 more a night"
            yield Line(what, f"{within:.0%} within 30 nights", "at least 90 %", within >= 0.9)
    for one in found["intervals"]:
        ratio, level = one["width"] / one["exact_width"], 1 - 2 * intervals.RISK
        what = f"95 % interval at {one['disagreements']} disagreements"
        holds = one["coverage"] >= level and ratio <= 1.5
        yield Line(what, f"covers {one['coverage']:.2%}, {ratio:.2f} × as wide", "95 %, 1.5 ×", holds)
    seconds = found["judgement_seconds"]
    yield Line("a judgement beyond inference", f"{seconds:.3f} s", "at most 0.2 s", seconds <= 0.2)


def _show(found: dict[str, Any], lines: list[Line]) -> None:
    rows = [
        [name, y["policy"], f"{y['fell']:.1%}", f"{100 * y['loss']:.3f}", f"{y['promoted']:.1%}", _nights(y)]
        for name, of in found["years"].items()
        for y in of
    ]
    show(["a year of", "rule", "fell", "points below its best", "promoted", "nights to the floor"], *rows)
    print()
    rows = [[o["policy"], f"{100 * o['overstated']:+.3f}", f"{o['promoted']:.0f}"] for o in found["flattered"]]
    show(["10,000 fitted models", "overstated, points", "promotions"], *rows)
    print()
    rows = [
        [f"+{100 * p['better']:.1f}", f"{p['images']:,}", f"{p['within_30_nights']:.0%}", f"{p['median_nights']:g}"]
        for p in found["power"]
    ]
    show(["truly better", "images at first", "within 30 nights", "median"], *rows)
    print()
    show(["images", "flawless", "as good", *(f"allowed {100 * loss:g}" for loss in LOSSES)], *_can_tell_rows(found))
    print()
    show(["promised", "found", "bar", ""], *([*line[:3], "holds" if line.holds else "FAILS"] for line in lines))


def _nights(year: dict[str, Any]) -> str:
    return f"{year['to_the_floor']:.0f}" if year["to_the_floor"] else "-"


def _can_tell_rows(found: dict[str, Any]) -> list[list[str]]:
    return [
        [
            f"{row['images']:,}",
            *(f"{100 * row[key]:.2f}" for key in ("flawless", "as_good")),
            *("-" if row[key] is None else f"{100 * row[key]:+.2f}" for key in row if key.startswith("better")),
        ]
        for row in found["can_tell"]
    ]


if __name__ == "__main__":
    with one_line():
        main()
