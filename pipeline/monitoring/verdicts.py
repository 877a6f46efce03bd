"""What are people told of the gate's verdict? A page beside the report, and an alert if the images are worn out."""

from collections.abc import Sequence
from datetime import UTC, datetime

from pipeline.base import files, places
from pipeline.monitoring import alerts
from pipeline.registry import wording
from pipeline.registry.records import Budget, Comparison, Event, Verdict
from pipeline.reporting import decision as page


def tell(decision: Event) -> None:
    """Leave a page on what the gate decided, and raise an alert where the held-out images have nothing left to give."""
    verdict = decision.verdict
    if verdict is None or verdict.budget is None:
        return
    if decision.event == "waits":
        how = f"`digits approve {decision.version} --reason …`"
        alerts.raise_("waits", f"version {decision.version} passed and waits for a yes: {how}; {verdict.reason}")
    files.write_text(places.VERDICT_PAGE, page.render(_shown(decision, verdict, verdict.budget)))
    if verdict.budget.worn_out:
        kind = "too few images" if verdict.budget.too_few else "worn out"
        alerts.raise_(kind, "; ".join(wording.of_budget(verdict.budget)))


def remind(events: Sequence[Event], hours: float) -> None:
    """Raise an alert if the latest decision waits for a person's yes, and has for longer than so many hours."""
    for event in events[-1:]:
        waited = (datetime.now(UTC) - datetime.fromisoformat(event.at)).total_seconds() / 3600 if event.at else 0.0
        if event.event == "waits" and waited > hours:
            how = f"`digits approve {event.version} --reason …`"
            alerts.raise_("waits", f"version {event.version} has waited for a yes for {waited:.0f} hours: {how}")


def _shown(decision: Event, verdict: Verdict, budget: Budget) -> page.Decision:
    both = (("held-out images", verdict.comparison), ("recent images", verdict.recent))
    words = {"kept": "kept out: it cannot be told", "waits": "waits for a person's yes"}
    word = words.get(decision.event, decision.event)
    return page.Decision(
        heading=f"Version {decision.version}: {word}",
        sentence=verdict.reason,
        notes=verdict.notes,
        limits=tuple(_limits(one, where) for where, one in both if one),
        champions=tuple((one.version, one.accuracy) for one in verdict.champions),
        challenger=(f"{decision.version}", verdict.accuracy or 0.0),
        budget=(
            ("held-out images", f"{budget.images:,}, of which {budget.fresh:,} were new to this look"),
            ("models measured on just these", f"{budget.looks}"),
            ("risk this look might take", f"{budget.risk:.3g}"),
            ("left of gate.risk", f"{budget.left:.1%}"),
            ("smallest loss the next look could rule out", f"{wording.points(budget.smallest_loss)} points"),
            ("accuracy measured", f"{verdict.accuracy or 0:.2%}"),
            ("accuracy that may be stated", f"{verdict.stated_accuracy or 0:.2%}"),
        ),
    )


def _limits(one: Comparison, where: str) -> page.Limits:
    name = f"{one.images:,} {where}\nthan version {one.champion}"
    return page.Limits(name, one.least_loss, one.most_loss, one.max_loss)
