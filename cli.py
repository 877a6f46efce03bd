"""The `digits` command: parses, calls one room, prints; nothing else."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from pipeline.base import params as params_file
from pipeline.base.errors import BadInput, one_line


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    with one_line():
        try:
            arguments.command(arguments)
        except Exception as error:
            if not _is_the_registry_s(error):
                raise
            said = " ".join(str(error).split())[:300]
            raise BadInput(f"the registry (MLFLOW_TRACKING_URI) cannot do that or does not answer: {said}") from None


def _is_the_registry_s(error: Exception) -> bool:
    """Whether MLflow or its database raised it."""
    return any(kind.__module__.startswith(("mlflow.", "sqlalchemy.")) for kind in type(error).__mro__)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="digits", description="Retrain, judge and use a digit classifier.")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    run = _add(commands, "run", run_pipeline, "run what changed (`dvc repro`), then put a new challenger to the gate")
    run.add_argument(
        "--dataset", choices=get_args(params_file.Dataset), help="put the workspace on this data set first"
    )

    run.add_argument("--recipe", metavar="NAME", help="train with this recipe of params.yaml from now on")

    study = _add(commands, "study", run_study, "run a grid of trials on Dask and say what it found, with intervals")
    study.add_argument("name", metavar="NAME", help="a study of params.yaml")
    study.add_argument("--file", type=Path, metavar="FILE", help="read it from this YAML file of studies instead")
    study.add_argument("--scheduler", metavar="ADDRESS", help="a Dask scheduler, as tcp://host:8786; else this machine")

    predict = _add(commands, "predict", predict_files, "read the digit on each picture with the champion")
    predict.add_argument("files", nargs="+", metavar="FILE", help="PNG or JPEG of one digit, any size and colours")

    batch = _add(commands, "add-batch", add_batch, "take in a batch of new labelled digits, or quarantine it")
    batch.add_argument(
        "path", type=Path, nargs="?", metavar="PATH", help="an npz or csv file, or a folder of IDX files or pictures"
    )
    batch.add_argument("--corrections", action="store_true", help="those that people made on the page, instead of PATH")
    batch.add_argument("--by", metavar="WHO", help="recorded with it; else DIGITS_USER or your user name")

    _add(commands, "champion", show_champion, "the model in use")
    _add(commands, "history", show_history, "every promotion, refusal and rollback, oldest first")

    why = _add(commands, "why", show_why, "where a version came from, what it measured, the verdict on it")
    why.add_argument("version", metavar="VERSION", help="its number, or champion or challenger")

    promote = _add(commands, "promote", promote_challenger, "put the challenger through the gate against the champion")
    promote.add_argument("version", nargs="?", default="challenger", metavar="VERSION", help="judge this one instead")

    back = _add(
        commands, "rollback", roll_back, "return to the previous champion, after proof that it still answers the same"
    )
    for decision in (promote, back):
        decision.add_argument("--reason", default="", metavar="TEXT", help="why; kept in the history")

    again = _add(commands, "reproduce", reproduce_version, "make a version again from what made it, and compare")
    again.add_argument("version", metavar="VERSION", help="its number, or champion or challenger")

    serve = _add(commands, "serve", serve_champion, "answer over HTTP with the champion, and show the page to draw on")
    serve.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="to listen on (127.0.0.1: this machine alone)"
    )
    serve.add_argument("--port", type=int, default=8000, metavar="PORT", help="to listen on (8000); 0 takes a free one")

    prune = _add(commands, "prune", prune_old, "remove old versions, runs and cached data that nobody needs")
    prune.add_argument("--dry-run", action="store_true", help="only say what would go")
    return top


def _add(commands: Any, name: str, command: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
    added: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    added.set_defaults(command=command)
    added.add_argument("--json", action="store_true", help="print JSON instead of text")
    if name not in ("run", "study"):
        added.add_argument("--model", metavar="NAME", help="a registered model other than the workspace's own")
    return added


def run_pipeline(arguments: argparse.Namespace) -> None:
    from pipeline import run

    if arguments.dataset or arguments.recipe:
        params_file.choose(dataset=arguments.dataset, recipe=arguments.recipe)
    outcome = run.run(params_file.load()).as_json()
    _print(arguments, outcome, f"{_decision(outcome)}\n{_champion_line(outcome)}")


def run_study(arguments: argparse.Namespace) -> None:
    from pipeline.studies import study

    params = params_file.load()
    found = study.run(arguments.name, study.read(arguments.name, params, arguments.file), params, arguments.scheduler)
    _print(arguments, found, f"{found['findings']}\nthe table, the plot and every trial: {found['report']}")


def predict_files(arguments: argparse.Namespace) -> None:
    from pipeline.digits import framing
    from pipeline.learning import inference
    from pipeline.registry import artifacts

    name = _model_name(arguments)
    images = [framing.frame(Path(path), path) for path in arguments.files]
    version, onnx = artifacts.champion_file(name)
    model = inference.open_model(onnx)
    answers = []
    for path, image in zip(arguments.files, images, strict=True):
        probabilities = inference.run(model, image[None])[0]
        digit = int(probabilities.argmax())
        answers.append({"file": path, "digit": digit, "probabilities": [round(float(p), 6) for p in probabilities]})
    lines = [f"{a['file']}: {a['digit']} ({max(a['probabilities']):.1%})" for a in answers]
    _print(arguments, {"model": name, "version": version, "answers": answers}, "\n".join(lines))


def add_batch(arguments: argparse.Namespace) -> None:
    from flows import events
    from pipeline.data import intake
    from pipeline.monitoring import alerts, corrections
    from pipeline.registry import history

    if (arguments.path is None) != arguments.corrections:
        raise BadInput("give either the PATH of a batch or --corrections")
    params, by = params_file.load(), arguments.by or history.person()
    if arguments.corrections:
        filed = corrections.add(params, by)
    else:
        filed = intake.add(arguments.path, params, _champion_answer(arguments), by)
    if filed.event == "quarantined":
        alerts.raise_("quarantined", f"{filed.source}: {'; '.join(finding.message for finding in filed.findings)}")
        _print(arguments, filed.as_json(), _batch_text(filed, retraining=False))
        sys.exit(1)
    retraining = events.accepted(filed)
    _print(arguments, {**filed.as_json(), "retraining": retraining}, _batch_text(filed, retraining))


def _champion_answer(arguments: argparse.Namespace) -> Callable[[Any], Any] | None:
    """The champion as a function of images; None if there is none yet."""
    from pipeline.learning import inference
    from pipeline.registry import artifacts, versions

    client, name = _registry(arguments)
    champion = versions.aliased(client, name, versions.CHAMPION)
    if champion is None:
        return None
    model = inference.open_model(artifacts.onnx_file(client, champion))
    return lambda images: inference.run(model, images)


def show_champion(arguments: argparse.Namespace) -> None:
    from pipeline.registry import history, versions

    client, name = _registry(arguments)
    facts = history.describe(client, versions.champion(client, name)).as_json()
    _print(arguments, facts, _champion_line({"champion": facts}))


def show_history(arguments: argparse.Namespace) -> None:
    from pipeline.registry import history

    client, name = _registry(arguments)
    events = [event.as_json() for event in history.events(client, name)]
    lines = [_event_line(event) for event in events] or [f"{name}: nothing was decided yet"]
    _print(arguments, events, "\n".join(lines))


def show_why(arguments: argparse.Namespace) -> None:
    from pipeline.registry import history, versions

    client, name = _registry(arguments)
    facts = history.describe(client, versions.version(client, name, arguments.version)).as_json()
    _print(arguments, facts, _why_text(facts))


def promote_challenger(arguments: argparse.Namespace) -> None:
    from pipeline.registry.promotion import promote

    client, name = _registry(arguments)
    event = promote(client, name, params_file.load(), arguments.version, arguments.reason).as_json()
    _print(arguments, event, _decision({"decision": event}))
    if event["event"] == "refused":
        sys.exit(1)


def roll_back(arguments: argparse.Namespace) -> None:
    from pipeline.registry.promotion import rollback

    client, name = _registry(arguments)
    event = rollback(client, name, arguments.reason).as_json()
    proof = event["proof"]
    text = (
        f"{name}: version {event['version']} is champion again instead of {event['previous']}; it answers its "
        f"{proof['images']} pinned images as when it was registered (to {proof['largest_difference']:.1g})"
    )
    _print(arguments, event, text)


def reproduce_version(arguments: argparse.Namespace) -> None:
    from pipeline.registry import versions
    from pipeline.registry.reproduction import reproduce

    client, name = _registry(arguments)
    found = reproduce(client, versions.version(client, name, arguments.version))
    _print(arguments, found, _reproduced_text(found))
    if not found["agrees"]:
        sys.exit(1)


def prune_old(arguments: argparse.Namespace) -> None:
    from pipeline.registry.retention import prune

    client, name = _registry(arguments)
    found = prune(client, name, params_file.load().retention, arguments.dry_run)
    would = "would remove" if arguments.dry_run else "removed"
    kept = "\n".join(f"  keeps version {number}: {reason}" for number, reason in found["kept"].items())
    gone = ", ".join(found["removed"]) or "none"
    _print(arguments, found, f"{found['model']}: {would} versions: {gone}\n{kept}\n  DVC's cache: {found['cache']}")


def serve_champion(arguments: argparse.Namespace) -> None:
    from serving import logs, service

    logs.to_stderr(arguments.json)
    settings, key = params_file.load().serving, os.environ.get("DIGITS_API_KEY")
    service.serve(_model_name(arguments), settings, arguments.host, arguments.port, key)


def _registry(arguments: argparse.Namespace) -> tuple[Any, str]:
    from pipeline.registry import versions

    return versions.connect(), _model_name(arguments)


def _model_name(arguments: argparse.Namespace) -> str:
    """The model asked for: the workspace's own unless --model names another."""
    from pipeline.registry import versions

    return arguments.model or versions.model_name(params_file.load().dataset)


def _print(arguments: argparse.Namespace, facts: Any, text: str) -> None:
    print(json.dumps(facts, indent=2) if arguments.json else text)


def _decision(outcome: dict) -> str:
    event = outcome["decision"]
    if event["event"] == "unchanged":
        return f"gate: nothing to decide: {event['reason']}"
    return f"gate: version {event['version']} {event['event']}: {event['verdict']['reason']}"


def _batch_text(filed: Any, retraining: bool) -> str:
    if filed.event == "quarantined":
        lines = [f"quarantined: moved to {filed.place}, with a report"]
        return "\n".join([*lines, *(f"  {finding.message}" for finding in filed.findings)])
    counts = filed.counts
    return (
        f"accepted as {filed.batch}: {counts['train']:,} images to train on, {counts['recent']:,} held out for the "
        f"gate; {'a retraining starts' if retraining else '`digits run` or the next retraining takes them in'}"
    )


def _champion_line(outcome: dict) -> str:
    facts, report = outcome["champion"], outcome.get("report")
    line = f"champion: {facts['model']} version {facts['version']}, test accuracy {facts['metrics']['accuracy']:.2%}"
    return f"{line}, report {report}" if report else line


def _event_line(event: dict) -> str:
    number = event["version"]
    text = f"{event['at']}  version {number} {event['event']} by {event['by']}"
    text += f" ({event['reason']})" if event.get("reason") else ""
    if event["event"] == "rolled back":
        return f"{text}: instead of {event['previous']}, same answers on {event['proof']['images']} pinned images"
    against = f" against {event['previous']}" if event["previous"] else ""
    return f"{text}{against}: {event['verdict']['reason']}"


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
        (
            "params",
            ", ".join(
                f"{key} {value}" for key, value in facts["params"].items() if key.startswith(("train.", "recipe."))
            ),
        ),
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
