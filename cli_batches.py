"""`digits add-batch` and `digits batches …`: parse, call one room, print."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.base import places
from pipeline.base.errors import BadInput
from pipeline.base.words import counted

SHOWN = 10  # findings on the terminal; the report has all
CORRECTIONS = "corrections"  # what waits of them is looked through like a refused batch

Batch = Annotated[
    Path | None,
    typer.Argument(metavar="PATH", help="An npz, csv or parquet file, or a folder of IDX files or pictures."),
]
Corrections = Annotated[
    bool, typer.Option("--corrections", help="Those that people made on the page, instead of PATH.")
]
By = Annotated[str | None, typer.Option(metavar="WHO", help="Recorded with it; else DIGITS_USER or your user name.")]
Only = Annotated[bool, typer.Option("--dry-run", help="Only say what would be decided.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Model = Annotated[str | None, typer.Option(metavar="NAME", help="A registered model other than the workspace's own.")]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; kept in the history.")]
Accepted = Annotated[str, typer.Argument(metavar="NAME", help="An accepted batch.")]
Refused = Annotated[str, typer.Argument(metavar="NAME", help="A refused batch, or corrections.")]
Numbers = Annotated[str, typer.Option(metavar="NUMBERS", help="As 1,4-6; or all.")]

HELP: dict[str, Any] = {"help_option_names": ["-h", "--help"]}

batches_app = typer.Typer(
    help="List, look through and undo batches.",
    context_settings=HELP,
    rich_markup_mode=None,
)


def add_batch(
    path: Batch = None,
    corrections: Corrections = False,
    by: By = None,
    dry_run: Only = False,
    as_json: AsJson = False,
    model: Model = None,
) -> None:
    """Take in a batch of new labelled images, or refuse it and say why."""
    from pipeline.base import params as params_file
    from pipeline.data import intake
    from pipeline.monitoring import corrections as room
    from pipeline.registry import history

    if (path is None) != corrections:
        raise BadInput("give either the PATH of a batch or --corrections")
    params, by, answer = params_file.load(), by or history.person(), _champion_answer(model)
    if path is None:
        filed = room.add(params, answer, by, dry_run)
    else:
        filed = intake.add(path, params, answer, by, dry_run=dry_run)
    _tell(filed, dry_run, as_json)


def _tell(filed: Any, dry_run: bool, as_json: bool) -> None:
    """Say what became of a batch, and pass it on: an alert, or an event that starts a retraining."""
    from flows import events
    from pipeline.data import quarantine
    from pipeline.monitoring import alerts

    if filed.event == "quarantined":
        if not dry_run:
            _page(filed)
            what = ", ".join(sorted({finding.key for finding in filed.findings}))
            alerts.raise_("quarantined", f"{filed.source} ({what}): see {filed.place}/{places.QUARANTINE_REPORT}")
        show(as_json, filed.as_json(), _refused_text(filed, dry_run, quarantine.before(filed)))
        raise typer.Exit(1)
    retraining = not dry_run and events.accepted(filed)
    show(as_json, {**filed.as_json(), "retraining": retraining}, _accepted_text(filed, retraining, dry_run))


def _page(filed: Any) -> Path | None:
    """The page of a refused batch's doubted images; None if there are none."""
    from pipeline.data import quarantine, splits
    from pipeline.reporting import suspects

    place = Path(filed.place)
    if not filed.doubts or not (place / quarantine.SUSPECTS).is_dir():
        return None
    images = splits.load(place / quarantine.SUSPECTS).images
    suspects.write(place / places.SUSPECTS_PAGE, place.name, filed.doubts, images, filed.form or _form())
    return place / places.SUSPECTS_PAGE


@batches_app.callback(invoke_without_command=True)
def list_batches(context: typer.Context, as_json: AsJson = False) -> None:
    """The accepted batches, oldest first, and those that were removed."""
    from pipeline.data import batches, quarantine

    if context.invoked_subcommand:
        return
    found = sorted([*batches.filed(), *batches.removed()], key=lambda one: (one.accepted_at or one.at, one.batch))
    lines = [*map(_row, found)] or ["no batch was accepted yet: `digits add-batch PATH` hands one in"]
    if refused := len(quarantine.refused()):
        told = counted(refused, "refused batch lies", "refused batches lie")
        lines.append(f"{told} in {places.QUARANTINE}: `digits batches suspects NAME` shows what is doubted of one")
    show(as_json, [one.as_json() for one in found], "\n".join(lines))


@batches_app.command("remove")
def remove_batch(name: Accepted, reason: Reason, by: By = None, as_json: AsJson = False) -> None:
    """Take an accepted batch out again.

    The next retraining no longer knows it.
    """
    from pipeline.data import batches
    from pipeline.registry import history

    if not reason.strip():
        raise BadInput("give a --reason: it is what is left of the batch in the history")
    record = batches.remove(name, reason, by or history.person())
    text = (
        f"removed {record.batch}, which lies in {record.place} now; the next run trains without it. Commit "
        f"{places.REMOVED} and the .dvc file that is gone"
    )
    show(as_json, record.as_json(), text)


@batches_app.command("suspects")
def show_suspects(name: Refused, as_json: AsJson = False, model: Model = None) -> None:
    """Show the doubted labels of a refused batch as pictures.

    Or, of the name corrections, those of the corrections that wait.
    """
    from pipeline.data import quarantine
    from pipeline.reporting import suspects

    if name == CORRECTIONS:
        doubts, images = _doubted_corrections(model)
        form = _form()
        page: Path | None = places.CORRECTIONS / places.SUSPECTS_PAGE
        if doubts:
            suspects.write(places.CORRECTIONS / places.SUSPECTS_PAGE, CORRECTIONS, doubts, images.images, form)
    else:
        filed = quarantine.find(name)
        if not filed.doubts:
            report, why = f"{filed.place}/{places.QUARANTINE_REPORT}", filed.findings[0].message
            raise BadInput(
                f"no label of {name} is doubted, so nothing is to be decided: it was refused for {why} (all is in "
                f"{report}): mend the batch and `digits add-batch` it again"
            )
        doubts, page, form = list(filed.doubts), _page(filed), filed.form or _form()
    if not doubts:
        raise BadInput("no label of the corrections is doubted: `digits add-batch --corrections` takes them in")
    named = form.classes
    rows = [f"  {at}: labelled {named[one.label]}, read as {named[one.suggested]}" for at, one in enumerate(doubts, 1)]
    more = [f"  and {len(rows) - SHOWN:,} more"] if len(rows) > SHOWN else []
    facts = {"page": str(page), "doubts": [doubt.model_dump() for doubt in doubts]}
    show(as_json, facts, "\n".join([f"{counted(len(rows), 'doubted label')}: open {page}", *rows[:SHOWN], *more]))


@batches_app.command("decide")
def decide_suspects(
    name: Refused, keep: Numbers = "", drop: Numbers = "", by: By = None, as_json: AsJson = False, model: Model = None
) -> None:
    """Keep or drop doubted images by number.

    The numbers are those on the page of `suspects`. When all are decided, the batch is handed in again.
    """
    from pipeline.base import params as params_file
    from pipeline.data import intake, quarantine
    from pipeline.monitoring import corrections
    from pipeline.registry import history

    if name == CORRECTIONS:
        shown = corrections.shown()
        kept, dropped = (_numbers(text, len(shown)) for text in (keep, drop))
        left = corrections.decide(shown, kept, dropped, params_file.load())
        told = counted(left, "doubted correction is", "doubted corrections are")
        show(as_json, {"left": left}, f"{told} left; `digits add-batch --corrections`")
        return
    filed = quarantine.find(name)
    numbers = (_numbers(text, len(filed.doubts)) for text in (keep, drop))
    decided, waiting = quarantine.decide(filed, *numbers)
    if waiting:
        told = counted(len(waiting), "doubted image is", "doubted images are")
        show(as_json, {"left": len(waiting)}, f"noted; {told} left to decide")
        return
    params, answer = params_file.load(), _champion_answer(model)
    again = intake.add(
        quarantine.copy_of(filed), params, answer, by or history.person(), decided=decided, source=filed.source
    )
    if again.event == "quarantined":
        quarantine.carry_on(filed, again)
    _tell(again, dry_run=False, as_json=as_json)


def _form() -> Any:
    """What the images of the workspace's data set are."""
    from pipeline.base import params as params_file
    from pipeline.data import intake

    return intake.reference(params_file.load().named).form


def _doubted_corrections(model: str | None) -> Any:
    from pipeline.base import params as params_file
    from pipeline.monitoring import corrections

    return corrections.suspects(params_file.load(), _champion_answer(model))


def _champion_answer(model: str | None) -> Callable[[Any], Any] | None:
    """The champion as a function of images; None if there is none yet."""
    from pipeline.base import params as params_file
    from pipeline.learning import inference
    from pipeline.registry import artifacts, versions

    client, name = versions.connect(), model or versions.model_name(params_file.load().named)
    champion = versions.aliased(client, name, versions.CHAMPION)
    if champion is None:
        return None
    session = inference.open_model(artifacts.onnx_file(client, champion))
    return lambda images: inference.run(session, images)


def _numbers(text: str, count: int) -> set[int]:
    """Numbers as 1,4-6, or all of them."""
    if text.strip() == "all":
        return set(range(1, count + 1))
    found: set[int] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        first, dash, last = part.partition("-")
        last = last if dash else first
        if not first.isdecimal() or not last.isdecimal() or not 1 <= int(first) <= int(last) <= count:
            raise BadInput(f"{part!r} is not among the numbers 1 to {count}: give them as 1,4-6, or all")
        found |= set(range(int(first), int(last) + 1))
    return found


def _refused_text(filed: Any, dry_run: bool, before: Any) -> str:
    found = [f"  {finding.message}" for finding in filed.findings]
    more = [f"  and {len(found) - SHOWN:,} more, see the report"] if len(found) > SHOWN else []
    head = "would be refused" if dry_run else f"quarantined: a copy and a report are in {filed.place}"
    again = [f"  the same images were refused before, on {before.at} by {before.by}: {before.place}"] if before else []
    look = [f"  look at what is doubted: digits batches suspects {filed.batch}"] if filed.doubts and not dry_run else []
    return "\n".join([head, *again, *found[:SHOWN], *more, *look])


def _accepted_text(filed: Any, retraining: bool, dry_run: bool) -> str:
    counts = f"{counted(filed.counts['train'], 'image')} to train on, {filed.counts['recent']:,} held out for the gate"
    if dry_run:
        return f"would be accepted: {counts}"
    then = "a retraining starts" if retraining else "`digits run` or the next retraining takes them in"
    return f"accepted as {filed.batch}: {counts}; {then}"


def _row(one: Any) -> str:
    removed = one.event == "removed"
    at, by = (one.accepted_at, one.accepted_by) if removed else (one.at, one.by)
    accepted = f"{at} by {by} " if at else ""  # removals of releases before do not say
    images = counted(sum(one.counts.values()), "image")
    told = f"{one.batch}  {one.dataset or 'data set not said'}  {images}  {accepted}from {one.source}"
    return f"{told}  removed {one.at} by {one.by}: {one.reason}" if removed else told


def show(as_json: bool, facts: Any, text: str) -> None:
    print(json.dumps(facts, indent=2) if as_json else text)
