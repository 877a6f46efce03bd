"""The `digits` command: parses, calls one room, prints; nothing else."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from typer.core import TyperGroup

import cli_batches
import cli_labels
from cli_batches import HELP, AsJson, Model, Reason, show
from pipeline.base import places
from pipeline.base.errors import BadInput, one_line, printable
from pipeline.base.words import counted
from pipeline.registry import mlflow_errors

CTRL_C = 130
TOLD = {"too few images", "worn out", "quarantined"}  # kinds of alerts that the command's answer tells, too


class Panels(TyperGroup):
    """The commands in the help, by panel; Typer's own panels need Rich, which takes longer to import than the help."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {}
        for name, command in self.commands.items():
            panel = getattr(command, "rich_help_panel", None) or "Commands"
            panels.setdefault(panel, []).append((name, command.help or ""))
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl(rows)


app = typer.Typer(
    cls=Panels,
    help="Retrain, judge and use a classifier of images.",
    context_settings=HELP,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _tell_release(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"digits {version('digits')}")
        raise typer.Exit


Release = Annotated[bool, typer.Option("--version", help="Say which release this is.", callback=_tell_release)]


@app.callback()
def digits(_release: Release = False) -> None:
    """What the whole command takes beside its commands."""


# The panels of the help, in the order of their first commands.
TRAIN, USE, DATA, LOOK_BACK, HOUSE = "Train and judge", "Use", "Data", "Look back", "House-keeping"


def main(argv: list[str] | None = None) -> None:
    arguments = sys.argv[1:] if argv is None else argv
    if logging.lastResort:  # what writes to the terminal
        logging.lastResort.addFilter(_untold)
    with one_line():
        try:
            code = app(arguments or ["--help"], prog_name="digits", standalone_mode=False)
        except typer.TyperException as error:
            raise BadInput(_wrong_use(error)) from None
        except Exception as error:
            if fault := mlflow_errors.of(error):
                raise fault from None
            raise
        if code == CTRL_C:  # Typer caught it
            raise KeyboardInterrupt
    if code:
        sys.exit(code)


def _untold(record: logging.LogRecord) -> bool:
    """Whether a line of the log is news: alerts of some kinds say what stands in the command's own answer."""
    return getattr(record, "alert", None) not in TOLD


def _wrong_use(error: typer.TyperException) -> str:
    """One line of what Typer found wrong, and whose help says how it is done right."""
    said, context = " ".join(error.format_message().split()).rstrip("."), getattr(error, "ctx", None)
    command = context.command_path if context else "digits"
    return f"{said[0].lower()}{said[1:]} (see `{command} --help`)"


def _datasets() -> list[str]:
    from pipeline.base.params import Dataset

    return list(get_args(Dataset))


def _names(section: str) -> list[str]:
    """What a shell offers: the names in a section of params.yaml, unchecked; none where it cannot be read."""
    import yaml

    try:
        return list(yaml.safe_load(places.PARAMS.read_text(encoding="utf-8"))[section])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return []


def _option(metavar: str, text: str, names: Callable[[], list[str]] | None = None) -> Any:
    return typer.Option(metavar=metavar, help=text, autocompletion=names)


def _argument(metavar: str, text: str, names: Callable[[], list[str]] | None = None) -> Any:
    return typer.Argument(metavar=metavar, help=text, autocompletion=names)


Version = Annotated[
    str, _argument("VERSION", "Its number, or champion or challenger.", lambda: ["champion", "challenger"])
]
DATASETS = "digits, mnist, kaggle, letters, or your own as folder, table, parquet, npz, idx or csv"
Dataset = Annotated[str | None, _option("NAME", f"Put the workspace on this data set first: {DATASETS}.", _datasets)]
Recipe = Annotated[
    str | None, _option("NAME", "Train with this recipe of params.yaml from now on.", lambda: _names("recipes"))
]
Study = Annotated[str, _argument("NAME", "A study of params.yaml.", lambda: _names("studies"))]
StudyFile = Annotated[Path | None, _option("FILE", "Read it from this YAML file of studies instead.")]
Scheduler = Annotated[str | None, _option("ADDRESS", "A Dask scheduler, as tcp://host:8786; else this machine.")]
Pictures = Annotated[
    list[str],
    _argument(
        "PATH", "Pictures of any size and colours, each of one digit, or of what the model knows; folders; patterns."
    ),
]
Every = Annotated[bool, typer.Option("--all", help="Read each digit of pictures with several, row by row.")]
Out = Annotated[Path | None, _option("FILE", "Write a row a picture to this csv, jsonl or parquet file.")]
Host = Annotated[str, _option("ADDRESS", "To listen on; the default is this machine alone.")]
Port = Annotated[int, typer.Option(metavar="PORT", help="To listen on; 0 takes a free one.", min=0, max=65535)]
Webhook = Annotated[
    str | None,
    _option("ADDRESS", "This service's, at which MLflow's server reaches it: to be told of promotions, not to ask."),
]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is not there yet.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")]


@app.command("run", rich_help_panel=TRAIN)
def run_pipeline(
    dataset: Dataset = None, recipe: Recipe = None, scheduler: Scheduler = None, as_json: AsJson = False
) -> None:
    """Run what changed (`dvc repro`), then put a new challenger to the gate."""
    if scheduler:
        os.environ["DASK_SCHEDULER_ADDRESS"] = scheduler  # for the stages
    from pipeline.base import params as params_file

    moved = params_file.choose(dataset=dataset, recipe=recipe)  # before the slow import: wrong use is said at once
    from pipeline import run

    params = params_file.load()
    if moved:
        print(f"params.yaml is on {params.dataset} now, recipe {params.train.recipe}", file=sys.stderr, flush=True)
    if recipe is None:
        print(run.announcement(params), file=sys.stderr, flush=True)
    outcome = run.run(params).as_json()
    show(as_json, outcome, f"{_decision(outcome)}\n{_champion_line(outcome)}")


@app.command("study", rich_help_panel=TRAIN)
def run_study(name: Study, file: StudyFile = None, scheduler: Scheduler = None, as_json: AsJson = False) -> None:
    """Run a grid of trials on Dask and say what it found, with intervals."""
    from pipeline.studies import study

    params = _params()
    found = study.run(name, study.read(name, params, file), params, scheduler)
    show(as_json, found, f"{found['findings']}\nthe table, the plot and every trial: {found['report']}")


@app.command("predict", rich_help_panel=USE)
def predict_files(
    paths: Pictures, every: Every = False, out: Out = None, as_json: AsJson = False, model: Model = None
) -> None:
    """Say what is on each picture, by the champion."""
    from tqdm import tqdm

    from pipeline.learning import inference, reading
    from pipeline.registry import snapshot

    name = _model_name(model)
    version, onnx = snapshot.champion_file(name)
    pictures = reading.find(paths)
    form = inference.form_of(onnx)
    if every and not form.inked:
        raise BadInput(f"--all finds digits on their paper, and {name} knows other pictures: leave it out")
    answers = reading.read(pictures, onnx, every)
    answers = reading.saved(answers, out, form, every) if out else answers
    told, count, unread = [], 0, 0
    total = None if every else len(pictures)
    for answer in tqdm(answers, "predict", total, disable=None, leave=False, unit=" digits" if every else " pictures"):
        count, unread = count + 1, unread + (answer.digit is None)
        if as_json:
            told.append(answer.as_json(form, every))
        elif out is None:
            tqdm.write(_answer_line(answer), file=sys.stdout)
    if as_json:
        show(as_json, {"model": name, "version": version, "answers": told}, "")
    elif out:
        print(f"{out}: {counted(count, 'answer')} of {name} version {version}")
    if unread:
        what = "digits or pictures" if every else f"of {counted(len(pictures), 'picture')}"
        print(f"{unread:,} {what} could not be read", file=sys.stderr)
        raise typer.Exit(1)


def _answer_line(answer: Any) -> str:
    at = "" if answer.box is None else " at {},{} of {}×{}".format(*answer.box)
    return f"{printable(answer.file)}{at}: {answer.reason or f'{answer.digit} ({answer.confidence:.1%})'}"


@app.command("serve", rich_help_panel=USE)
def serve_champion(
    host: Host = places.LOOPBACK,
    port: Port = 8000,
    webhook: Webhook = None,
    as_json: AsJson = False,
    model: Model = None,
) -> None:
    """Answer over HTTP with the champion, and show the page to draw on."""
    from serving import logs, service

    logs.to_stderr(as_json)
    service.serve(_model_name(model), _params(), host, port, os.environ.get("DIGITS_API_KEY"), webhook)


@app.command("export", rich_help_panel=USE)
def export_version(version: Version, folder: Folder, as_json: AsJson = False, model: Model = None) -> None:
    """Write a version to a folder: ONNX, LiteRT (float and int8), its card, sample code in Python and JavaScript."""
    from pipeline.registry import bundle, versions

    client, name = _registry(model)
    made = bundle.export(client, versions.version(client, name, version), folder)
    int8 = made.int8 or "no int8 model, as there is no train split of its form here"
    text = (
        f"{made.folder}: {made.model} version {made.version}, {counted(len(made.files), 'file')}; the LiteRT model "
        f"answers {made.images} pinned images as the ONNX model does (to {made.litert_difference:.1g}); {int8}"
    )
    show(as_json, made.as_json(), text)


app.command("add-batch", rich_help_panel=DATA)(cli_batches.add_batch)
app.command("label", rich_help_panel=DATA)(cli_labels.label)
app.add_typer(cli_batches.batches_app, name="batches", rich_help_panel=DATA)


@app.command("champion", rich_help_panel=LOOK_BACK)
def show_champion(as_json: AsJson = False, model: Model = None) -> None:
    """The model in use."""
    from pipeline.registry import snapshot

    facts = snapshot.champion(_model_name(model)).as_json()
    show(as_json, facts, _champion_line({"champion": facts}))


@app.command("history", rich_help_panel=LOOK_BACK)
def show_history(as_json: AsJson = False, model: Model = None) -> None:
    """Every promotion, refusal and rollback, oldest first."""
    from pipeline.registry import snapshot

    name = _model_name(model)
    events = [event.as_json() for event in snapshot.events(name)]
    lines = [_event_line(event) for event in events] or [f"{name}: nothing was decided yet"]
    show(as_json, events, "\n".join(lines))


@app.command("why", rich_help_panel=LOOK_BACK)
def show_why(version: Version, as_json: AsJson = False, model: Model = None) -> None:
    """Where a version came from, what it measured, the verdict on it."""
    from pipeline.registry import snapshot

    facts = snapshot.version(_model_name(model), version).as_json()
    show(as_json, facts, _why_text(facts))


@app.command("compare", rich_help_panel=LOOK_BACK)
def compare_versions(first: Version, second: Version, as_json: AsJson = False, model: Model = None) -> None:
    """Two versions side by side, by what was recorded of each: no look is spent."""
    from pipeline.registry import compare

    client, name = _registry(model)
    found = compare.side_by_side(client, name, first, second)
    show(as_json, found.as_json(), "\n".join(compare.lines(found)))


@app.command("promote", rich_help_panel=TRAIN)
def promote_challenger(
    version: Version = "challenger", reason: Reason = "", as_json: AsJson = False, model: Model = None
) -> None:
    """Put the challenger through the gate against the champion."""
    from pipeline.monitoring import verdicts
    from pipeline.registry.promotion import promote

    client, name = _registry(model)
    decision = promote(client, name, _params(), version, reason)
    verdicts.tell(decision)
    event = decision.as_json()
    show(as_json, event, _decision({"decision": event}))
    if event["event"] in ("refused", "kept"):
        raise typer.Exit(1)


@app.command("approve", rich_help_panel=TRAIN)
def approve_version(version: Version, reason: Reason, as_json: AsJson = False, model: Model = None) -> None:
    """Say yes to a version that passed the gate and waits for a person (gate.approval)."""
    from pipeline.monitoring import verdicts
    from pipeline.registry.promotion import approve

    client, name = _registry(model)
    decision = approve(client, name, version, reason)
    verdicts.tell(decision)
    event = decision.as_json()
    show(as_json, event, _decision({"decision": event}))


@app.command("rollback", rich_help_panel=TRAIN)
def roll_back(reason: Reason = "", as_json: AsJson = False, model: Model = None) -> None:
    """Return to the previous champion, after proof that it still answers the same."""
    from pipeline.registry.promotion import rollback

    client, name = _registry(model)
    event = rollback(client, name, reason).as_json()
    proof = event["proof"]
    text = (
        f"{name}: version {event['version']} is champion again instead of {event['previous']}; it answers its "
        f"{proof['images']} pinned images as when it was registered (to {proof['largest_difference']:.1g})"
    )
    show(as_json, event, text)


@app.command("reproduce", rich_help_panel=LOOK_BACK)
def reproduce_version(version: Version, as_json: AsJson = False, model: Model = None) -> None:
    """Make a version again from what made it, and compare."""
    from pipeline.registry import versions
    from pipeline.registry.reproduction import reproduce

    client, name = _registry(model)
    found = reproduce(client, versions.version(client, name, version))
    show(as_json, found, _reproduced_text(found))
    if not found["agrees"]:
        raise typer.Exit(1)


@app.command("prune", rich_help_panel=HOUSE)
def prune_old(dry_run: DryRun = False, as_json: AsJson = False, model: Model = None) -> None:
    """Remove old versions, runs and cached data that nobody needs."""
    from pipeline.registry.retention import prune

    client, name = _registry(model)
    found = prune(client, name, _params().retention, dry_run)
    would = "would remove" if dry_run else "removed"
    kept = "\n".join(f"  keeps version {number}: {reason}" for number, reason in found["kept"].items())
    gone = ", ".join(found["removed"]) or "none"
    show(as_json, found, f"{found['model']}: {would} versions: {gone}\n{kept}\n  DVC's cache: {found['cache']}")


def _params() -> Any:
    from pipeline.base import params

    return params.load()


def _registry(model: str | None) -> tuple[Any, str]:
    from pipeline.registry import versions

    return versions.connect(), _model_name(model)


def _model_name(model: str | None) -> str:
    """The model asked for: the workspace's own unless --model names another."""
    from pipeline.registry import versions

    return model or versions.model_name(_params().named)


def _decision(outcome: dict) -> str:
    event = outcome["decision"]
    if event["event"] == "unchanged":
        return f"gate: nothing to decide: {event['reason']}"
    notes = "".join(f"\n  {note}" for note in event["verdict"].get("notes", []))
    return f"gate: {_happened(event)}: {event['verdict']['reason']}{notes}"


def _happened(event: dict) -> str:
    """What became of the version."""
    if event["event"] == "kept":
        return f"champion {event['previous']} kept, version {event['version']} not promoted"
    if event["event"] == "waits":
        return f"version {event['version']} passed and waits for `digits approve {event['version']} --reason …`"
    return f"version {event['version']} {event['event']}"


def _champion_line(outcome: dict) -> str:
    facts, report = outcome["champion"], outcome.get("report")
    line = f"champion: {facts['model']} version {facts['version']}, test accuracy {facts['metrics']['accuracy']:.2%}"
    if not report:
        return line
    reported = outcome["report_of"]
    return f"{line}, report {report}{'' if reported in (None, facts['version']) else f' of version {reported}'}"


def _event_line(event: dict) -> str:
    rolled_back = f"rolled back from {event['previous']} to {event['version']}"
    text = f"{event.get('at') or 'since then'}  {rolled_back if event['event'] == 'rolled back' else _happened(event)}"
    text += f" by {event['by']}" if event.get("by") else ""
    text += f" ({event['reason']})" if event.get("reason") else ""
    if event["event"] == "moved by hand":
        return f"{text}: instead of {event['previous'] or 'none'}"
    if event["event"] == "rolled back":
        return f"{text}: same answers on {event['proof']['images']} pinned images"
    against = f" against {event['previous']}" if event["previous"] and event["event"] != "kept" else ""
    return f"{text}{against}: {'; '.join([event['verdict']['reason'], *event['verdict'].get('notes', [])])}"


def _reproduced_text(found: dict) -> str:
    def word(agrees: bool) -> str:
        return "agrees" if agrees else "DIFFERS"

    lines = [f"{found['model']} version {found['version']}: {'comes out the same' if found['agrees'] else 'DIFFERS'}"]
    lines += [f"  data     {word(found['data'])}", f"  weights  {word(found['weights']['agrees'])}"]
    for name, one in found["metrics"].items():
        both = f"{one['recorded']:.4g} then, {one['rebuilt']:.4g} now (± {one['tolerance']:g})"
        lines.append(f"  {name:<14} {word(one['agrees'])}: {both}")
    return "\n".join([*lines, *(f"  note: {note}" for note in found["notes"])])


def _why_text(facts: dict) -> str:
    metrics, lineage, verdict = facts["metrics"], facts["lineage"], facts["verdict"]
    rows = [
        ("made", f"{facts['created']}, run {facts['run_id']}"),
        ("data", f"{lineage['dataset']}; " + ", ".join(f"{k[4:]} {v}" for k, v in lineage.items() if k[:4] == "dvc.")),
        ("params", ", ".join(f"{k} {v}" for k, v in facts["params"].items() if k.startswith(("train.", "recipe.")))),
        ("commit", lineage.get("git_commit", "none") + (" (changed)" if lineage.get("git_clean") == "false" else "")),
        ("weights", facts["weights_sha256"]),
        ("measured", ", ".join(f"{k} {v:.4g}" for k, v in metrics.items() if isinstance(v, (int, float)))),
        ("verdict", verdict["reason"] if verdict else "not judged yet"),
        *((f"  {c['name']}", f"{c['value']:.4g} (limit {c['limit']:.4g})") for c in (verdict or {}).get("checks", [])),
        ("replaced", facts["replaced"] or "nothing"),
        ("aliases", ", ".join(facts["aliases"]) or "none"),
    ]
    return "\n".join([f"{facts['model']} version {facts['version']}", *(f"  {key:<10} {value}" for key, value in rows)])


if __name__ == "__main__":
    main()
