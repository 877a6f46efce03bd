"""What a person types and reads: arguments, help, exit codes and messages; the rooms behind are stand-ins."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest
import typer.main
from examples import facts
from workspace import ROOT

import cli
import cli_batches
from pipeline.base import params, places
from pipeline.base.errors import BadInput, TemporaryFault
from pipeline.data.batches import Doubt, Filed, Finding
from pipeline.registry.records import Event, Proof, Verdict
from pipeline.run import Outcome


def verdict(promote: bool, reason: str) -> Verdict:
    return Verdict(promote=promote, reason=reason, checks=(), comparison=None, recent=None, rules={})


COMMANDS = list(typer.main.get_command(cli.app).commands)  # type: ignore[attr-defined]
NAMES = {"model_name": lambda dataset: f"{dataset}-cnn", "CHAMPION": "champion"}
HEAVY = {"mlflow", "tensorflow", "keras", "onnxruntime", "pandas", "prefect", "evidently", "numpy", "yaml", "rich"}
REFUSED = Event(event="refused", version="2", verdict=verdict(False, "less accurate"))

Digits = Callable[..., tuple[int, str, str]]


@pytest.fixture
def digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Digits:
    """Type a command in a folder with the shipped params.yaml: its exit code, stdout and stderr."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "_registry", lambda model: (None, model or "digits-cnn"))

    def type_in(*arguments: str) -> tuple[int, str, str]:
        code: Any = 0
        try:
            cli.main(list(arguments))
        except SystemExit as ended:
            code = ended.code
        return code, *capsys.readouterr()

    return type_in


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put a module of these functions in a room's place."""

    def replace(module: str, **functions: Any) -> None:
        package, _, name = module.rpartition(".")
        room = ModuleType(module)
        vars(room).update(functions)
        monkeypatch.setitem(sys.modules, module, room)
        monkeypatch.setattr(importlib.import_module(package), name, room, raising=False)

    return replace


def answer(value: Any) -> Callable[..., Any]:
    return lambda *_, **__: value


def fail(error: BaseException) -> Callable[..., Any]:
    def raise_it(*_: Any) -> None:
        raise error

    return raise_it


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_json_and_those_of_one_model_its_name(digits: Digits, command: str):
    code, out, err = digits(command, "--help")
    assert (code, err) == (0, "") and out.startswith(f"Usage: digits {command} ")
    assert "--json " in out and ("--model NAME " in out) == (command not in ("run", "study", "batches", "label"))
    assert digits(command, "-h") == (code, out, err)


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_digits_alone_shows_the_commands_in_panels(digits: Digits, arguments: tuple[str, ...]):
    code, out, err = digits(*arguments)
    assert (code, err) == (0, "")
    panels = [re.findall(r"^  ([a-z-]+)  ", part, re.M) for part in re.split(r"^\w.*:$", out, flags=re.M)[2:]]
    assert re.findall(r"^(\w.*):$", out, re.M)[1:] == ["Train and judge", "Use", "Data", "Look back", "House-keeping"]
    assert panels == [
        ["run", "study", "promote", "approve", "rollback"],
        ["predict", "serve", "export"],
        ["add-batch", "label", "batches"],
        ["champion", "history", "why", "compare", "reproduce"],
        ["prune"],
    ]
    assert sum(map(len, panels)) == len(COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("frobnicate",), "error: no such command 'frobnicate' (see `digits --help`)"),
        (("promot",), "error: no such command 'promot'. Did you mean 'promote'? (see `digits --help`)"),
        (("--frob",), "error: no such option: --frob (see `digits --help`)"),
        (("why",), "error: missing argument 'VERSION' (see `digits why --help`)"),
        (("predict",), "error: missing argument 'PATH' (see `digits predict --help`)"),
        (("rollback", "2"), "error: got unexpected extra argument(s) (2) (see `digits rollback --help`)"),
        (("serve", "--port", "x"), "error: invalid value for '--port': Input should be a valid integer"),
        (
            ("serve", "--port", "99999"),
            "error: invalid value for '--port': Input should be less than or equal to 65535",
        ),
        (("approve", "2"), "error: missing option '--reason' (see `digits approve --help`)"),
        (("promote", "--reason"), "error: option '--reason' requires an argument"),
        (("run", "--dataset", "svhn"), "error: there is no data set 'svhn': choose one of digits, mnist, kaggle, "),
        (("run", "--recipe", "quick"), "error: there is no recipe 'quick' in params.yaml: choose one of fast, "),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(digits: Digits, arguments: tuple[str, ...], line: str):
    code, out, err = digits(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(line) and err.count("\n") == 1 and err.endswith("\n")
    assert Path("params.yaml").read_bytes() == (ROOT / "params.yaml").read_bytes()


def test_add_batch_wants_a_path_or_the_corrections(digits: Digits, stand_in: Callable[..., None]):
    for module in ("flows.events", "pipeline.data.intake", "pipeline.monitoring.alerts", "pipeline.registry.history"):
        stand_in(module)
    for arguments in ([], ["new.npz", "--corrections"]):
        said = (2, "", "error: give either the PATH of a batch or --corrections\n")
        assert digits("add-batch", *arguments) == said


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (BadInput("digits-cnn has no challenger"), 2, "error: digits-cnn has no challenger\n"),
        (BadInput("one finding\nanother"), 2, "error: one finding\nerror: another\n"),
        (TemporaryFault("the mirrors are silent"), 75, "error: the mirrors are silent\n"),
        (
            OSError(28, "No space left on device", "m.onnx"),
            2,
            "error: the disk is full while writing m.onnx: free some",
        ),
        (
            OSError(30, "Read-only file system", "m\n.onnx"),
            2,
            "error: the disk is read-only while writing m\\n.onnx: mak",
        ),
        (
            OSError(28, "No space left on device", "from.onnx", None, "to.onnx"),
            2,
            "error: the disk is full while writing to.onnx: free some",
        ),
        (OSError(27, "File too large", "m.onnx"), 2, "error: a file would be larger than allowed while writing m.onnx"),
        (PermissionError(13, "Permission denied", "m.onnx"), 2, "error: m.onnx is closed to this user: change its"),
        (KeyboardInterrupt(), 130, "error: stopped by Ctrl-C; the same command goes on from here\n"),
    ],
)
def test_what_a_person_can_mend_ends_in_a_line_each(
    digits: Digits, stand_in: Callable[..., None], error: BaseException, code: int, line: str
):
    stand_in("pipeline.registry.promotion", promote=fail(error))
    ended, out, err = digits("promote")
    assert (ended, out) == (code, "") and err.startswith(line)


def test_what_the_registry_refuses_is_one_line(digits: Digits, stand_in: Callable[..., None]):
    of_mlflow = type("MlflowException", (Exception,), {"__module__": "mlflow.exceptions"})
    stand_in("pipeline.registry.promotion", promote=fail(of_mlflow("API request\nfailed")))
    assert digits("promote") == (
        2,
        "",
        "error: the registry (MLFLOW_TRACKING_URI) cannot do that: API request failed\n",
    )


def test_a_defect_keeps_a_plain_traceback():
    code = "import cli\n@cli.app.command()\ndef fail():\n    raise RuntimeError('a defect')\ncli.main(['fail'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("Traceback (most recent call last):\n")
    assert done.stderr.endswith("RuntimeError: a defect\n") and "─" not in done.stderr


def test_a_refused_challenger_is_exit_code_1(digits: Digits, stand_in: Callable[..., None]):
    asked = []
    stand_in("pipeline.registry.promotion", promote=lambda *given: asked.append(given) or REFUSED)
    assert digits("promote") == (1, "gate: version 2 refused: less accurate\n", "")
    code, out, err = digits("promote", "7", "--reason", "by hand", "--json", "--model", "mnist-cnn")
    assert (code, json.loads(out), err) == (1, REFUSED.as_json(), "")
    assert [(name, version, reason) for _, name, _, version, reason in asked] == [
        ("digits-cnn", "challenger", ""),
        ("mnist-cnn", "7", "by hand"),
    ]


def test_a_promotion_is_exit_code_0(digits: Digits, stand_in: Callable[..., None]):
    event = Event(event="promoted", version="2", verdict=verdict(True, "no worse"))
    stand_in("pipeline.registry.promotion", promote=answer(event))
    assert digits("promote") == (0, "gate: version 2 promoted: no worse\n", "")


def test_a_champion_that_is_kept_is_exit_code_1_with_what_else_is_to_be_known(
    digits: Digits, stand_in: Callable[..., None]
):
    kept = verdict(False, "it cannot be told").model_copy(update={"kept": True, "notes": ("9 fresh ones refill them",)})
    event = Event(event="kept", version="2", previous="1", at="2026-01-01", by="ann", verdict=kept)
    stand_in("pipeline.registry.promotion", promote=answer(event))
    said = "champion 1 kept, version 2 not promoted"
    assert digits("promote") == (1, f"gate: {said}: it cannot be told\n  9 fresh ones refill them\n", "")
    moved = Event(event="moved by hand", version="3", previous="1", reason="the alias was moved")
    stand_in("pipeline.registry.snapshot", events=answer((event, moved)))
    assert digits("history")[1] == (
        f"2026-01-01  {said} by ann: it cannot be told; 9 fresh ones refill them\n"
        "since then  version 3 moved by hand (the alias was moved): instead of 1\n"
    )


def test_a_rollback_is_told_from_which_version_to_which(digits: Digits, stand_in: Callable[..., None]):
    proof = Proof(images=256, largest_difference=0, tolerance=1e-5)
    event = Event(event="rolled back", version="1", previous="2", at="2026-01-01", by="me", reason="worse", proof=proof)
    stand_in("pipeline.registry.snapshot", events=answer([event]))
    said = "2026-01-01  rolled back from 2 to 1 by me (worse): same answers on 256 pinned images\n"
    assert digits("history", "--model", "digits-cnn")[:2] == (0, said)


@pytest.mark.parametrize(
    ("reported", "end"), [("1", "report reports/index.html"), ("2", "report reports/index.html of version 2")]
)
def test_a_run_ends_on_the_champion_and_says_which_version_the_report_is_of(
    digits: Digits, monkeypatch: pytest.MonkeyPatch, reported: str, end: str
):
    from pipeline import run

    monkeypatch.setattr(run, "run", answer(Outcome(REFUSED, facts(accuracy=0.9972), reported)))
    code, out, _ = digits("run")
    assert code == 0 and out.endswith(f"champion: digits-cnn version 1, test accuracy 99.72%, {end}\n")


def test_a_quarantined_batch_is_exit_code_1_and_an_alert(digits: Digits, stand_in: Callable[..., None]):
    place, findings = "data/quarantine/new", (Finding(key="ink_share", message="no ink"),)
    handed_in = {"batch": "new", "at": "2026-01-01T00:00:00+00:00", "by": "ann", "source": "new.npz"}
    filed = Filed(event="quarantined", place=place, findings=findings, **handed_in)
    alerts: list[tuple[str, str]] = []
    stand_in("flows.events")
    stand_in("pipeline.data.intake", add=answer(filed))
    stand_in("pipeline.learning.inference")
    stand_in("pipeline.monitoring.alerts", raise_=lambda *alert: alerts.append(alert))
    stand_in("pipeline.registry.history", person=answer("ann"))
    stand_in("pipeline.registry.versions", connect=answer(None), aliased=answer(None), **NAMES)
    said = "quarantined: a copy and a report are in data/quarantine/new\n  no ink\n"
    assert digits("add-batch", "new.npz") == (1, said, "")
    assert alerts == [("quarantined", "new.npz (ink_share): see data/quarantine/new/report.json")]
    assert digits("add-batch", "new.npz", "--dry-run") == (1, "would be refused\n  no ink\n", "")
    assert len(alerts) == 1


def test_a_refused_batch_with_doubted_labels_says_how_to_look_at_them():
    doubt = Doubt(index=0, image="a", label=1, suggested=7, clear=True)
    filed = Filed(event="quarantined", batch="new", at="", by="ann", source="/new.npz", place="p", doubts=(doubt,))
    assert cli_batches._refused_text(filed, False, None).endswith("what is doubted: digits batches suspects new")
    assert "suspects" not in cli_batches._refused_text(filed, True, None), "nothing is kept to be looked at"


def test_a_batch_that_is_refused_again_keeps_what_was_decided(digits: Digits, stand_in: Callable[..., None]):
    filed = Filed(event="quarantined", batch="new", at="", by="ann", source="/new.npz", place="data/quarantine/new")
    findings = (Finding(key="one_pattern", message="a pattern"),)
    again = filed.model_copy(update={"place": "data/quarantine/again", "findings": findings})
    carried = []
    stand_in("flows.events")
    stand_in("pipeline.data.intake", add=answer(again))
    stand_in(
        "pipeline.data.quarantine",
        before=answer(None),
        find=answer(filed),
        decide=answer((None, [])),
        copy_of=answer(Path("new.npz")),
        carry_on=lambda *both: carried.append(both),
    )
    stand_in("pipeline.learning.inference")
    stand_in("pipeline.monitoring.alerts", raise_=answer(None))
    stand_in("pipeline.monitoring.corrections")
    stand_in("pipeline.registry.history", person=answer("ann"))
    stand_in("pipeline.registry.versions", connect=answer(None), aliased=answer(None), **NAMES)
    assert digits("batches", "decide", "new", "--drop", "all")[0] == 1
    assert carried == [(filed, again)]


def test_of_many_findings_the_first_are_told_and_how_many_more(digits: Digits, stand_in: Callable[..., None]):
    found = tuple(Finding(key="unreadable", message=f"{number}.png: is not a picture") for number in range(25))
    filed = Filed(event="quarantined", batch="new", at="", by="ann", source="/new", findings=found)
    stand_in("flows.events")
    stand_in("pipeline.data.intake", add=answer(filed))
    stand_in("pipeline.registry.history", person=answer("ann"))
    stand_in("pipeline.registry.versions", connect=answer(None), aliased=answer(None), **NAMES)
    _, out, _ = digits("add-batch", "new", "--dry-run")
    assert out.count("is not a picture") == 10 and out.endswith("and 15 more, see the report\n")


def test_a_removal_needs_a_reason_and_is_told(digits: Digits, stand_in: Callable[..., None]):
    record = Filed(event="removed", batch="b1", at="", by="ann", source="/new", place="data/quarantine/b1")
    asked = []
    stand_in("pipeline.data.batches", remove=lambda *given: asked.append(given) or record)
    stand_in("pipeline.registry.history", person=answer("ann"))
    assert digits("batches", "remove", "b1")[:2] == (2, "")
    assert digits("batches", "remove", "b1", "--reason", " ")[0] == 2
    code, out, _ = digits("batches", "remove", "b1", "--reason", "bad labels")
    assert code == 0 and out.startswith("removed b1, which lies in data/quarantine/b1 now")
    assert asked == [("b1", "bad labels", "ann")]


def test_batches_are_listed_with_their_removals_and_the_way_to_the_refused(
    digits: Digits, stand_in: Callable[..., None]
):
    both = {"batch": "b1", "dataset": "digits", "source": "/new.npz", "counts": {"train": 1, "recent": 0}}
    gone = Filed(event="removed", at="T2", by="ben", accepted_at="T1", accepted_by="ann", reason="bad labels", **both)
    earlier = Filed(event="removed", at="T2", by="ben", reason="bad labels", **both)
    stand_in("pipeline.data.batches", filed=answer([]), removed=answer([gone, earlier]))
    stand_in("pipeline.data.quarantine", refused=answer([]))
    assert digits("batches")[1].splitlines() == [
        "b1  digits  1 image  T1 by ann from /new.npz  removed T2 by ben: bad labels",
        "b1  digits  1 image  from /new.npz  removed T2 by ben: bad labels",
    ]
    stand_in("pipeline.data.batches", filed=answer([]), removed=answer([]))
    none = "no batch was accepted yet: `digits add-batch PATH` hands one in\n"
    assert digits("batches")[1] == none
    stand_in("pipeline.data.quarantine", refused=answer([gone]))
    way = "1 refused batch lies in data/quarantine: `digits batches suspects NAME` shows what is doubted of one\n"
    assert digits("batches")[1] == none + way


def test_no_line_of_the_help_on_batches_is_cut(digits: Digits):
    assert "..." not in digits("batches", "--help")[1].partition("Commands:")[2]


@pytest.mark.parametrize(("text", "numbers"), [("1,4-6", {1, 4, 5, 6}), ("all", set(range(1, 10))), ("", set())])
def test_numbers_of_pictures_are_read(text: str, numbers: set[int]):
    assert cli_batches._numbers(text, 9) == numbers


@pytest.mark.parametrize("text", ["0x1", "4-", "-3", "10", "1-99999999999", "one"])
def test_numbers_that_are_none_of_them_are_one_line(text: str):
    with pytest.raises(BadInput, match="is not among the numbers 1 to 9"):
        cli_batches._numbers(text, 9)


@pytest.mark.parametrize(("agrees", "code", "word"), [(True, 0, "comes out the same"), (False, 1, "DIFFERS")])
def test_a_version_that_differs_is_exit_code_1(
    digits: Digits, stand_in: Callable[..., None], agrees: bool, code: int, word: str
):
    found = {"model": "digits-cnn", "version": "1", "agrees": agrees, "data": True, "weights": {"agrees": agrees}}
    stand_in("pipeline.registry.versions", version=answer(None))
    stand_in("pipeline.registry.reproduction", reproduce=answer({**found, "metrics": {}, "notes": []}))
    ended, out, _ = digits("reproduce", "1")
    assert ended == code and out.startswith(f"digits-cnn version 1: {word}\n")


@pytest.mark.parametrize(
    ("dataset", "recipe", "line"),
    [
        ("digits", "fast", "recipe fast on digits: about 1 minute on two cores, less what is up to date"),
        ("mnist", "default", "recipe default on mnist: about 10 minutes on two cores, less what is up to date"),
        ("mnist", "two-conv", "recipe two-conv on mnist"),
    ],
)
def test_run_says_which_recipe_it_takes_before_it_starts_unless_it_was_named(
    digits: Digits, monkeypatch: pytest.MonkeyPatch, dataset: str, recipe: str, line: str
):
    from pipeline import run

    def start(_: params.Params) -> Outcome:
        print("> dvc repro", file=sys.stderr)
        return Outcome(REFUSED, facts(accuracy=0.9972))

    monkeypatch.setattr(run, "run", start)
    ended = (
        "gate: version 2 refused: less accurate\n"
        "champion: digits-cnn version 1, test accuracy 99.72%, report reports/index.html\n"
    )
    moved = f"params.yaml is on {dataset} now, recipe {recipe}\n" if dataset != "digits" else ""
    assert digits("run", "--dataset", dataset, "--recipe", recipe) == (0, ended, f"{moved}> dvc repro\n")
    assert digits("run", "--dataset", dataset) == (0, ended, f"{line}\n> dvc repro\n")
    assert (params.load().dataset, params.load().train.recipe) == (dataset, recipe)


def test_predict_says_how_many_answers_are_in_the_file(digits: Digits, stand_in: Callable[..., None]):
    from pipeline.base.form import DIGITS
    from pipeline.learning.reading import Answer

    answers = [Answer("one.png", 1, 0.98), Answer("two.png", reason="it looks like no digit")]
    stand_in("pipeline.learning.inference", form_of=answer(DIGITS))
    stand_in("pipeline.learning.reading", find=answer(answers), read=answer(answers), saved=lambda given, *_: given)
    stand_in("pipeline.registry.snapshot", champion_file=answer(("3", Path("model.onnx"))))
    ended = digits("predict", "scans", "--out", "answers.csv")
    assert ended == (1, "answers.csv: 2 answers of digits-cnn version 3\n", "1 of 2 pictures could not be read\n")


def test_the_command_says_which_release_it_is(digits: Digits):
    ended, out, _ = digits("--version")
    assert ended == 0 and re.fullmatch(r"digits \d+\.\d+\.\d+\n", out)


def test_run_hands_the_scheduler_to_the_stages(digits: Digits, monkeypatch: pytest.MonkeyPatch):
    from pipeline import run
    from pipeline.base import cluster

    named = []
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://another:1")
    outcome = Outcome(REFUSED, facts(accuracy=0.99))
    monkeypatch.setattr(run, "run", lambda _: named.append(cluster.scheduler()) or outcome)
    assert digits("run", "--scheduler", "tcp://10.0.0.5:8786")[0] == digits("run")[0] == 0
    assert named[0] == "tcp://10.0.0.5:8786"


def test_the_recipes_whose_minutes_are_known_exist():
    from pipeline import run

    assert {recipe for _, recipe in run.MINUTES} <= set(params.load(ROOT / "params.yaml").recipes)
    assert {dataset for dataset, _ in run.MINUTES} <= set(get_args(params.Dataset))


def test_help_names_every_data_set(digits: Digits):
    _, out, _ = digits("run", "--help")
    assert all(re.search(rf"\b{name}\b", out) for name in get_args(params.Dataset))


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("digits pro", ["promote"]),
        ("digits run --dataset ", list(get_args(params.Dataset))),
        ("digits run --recipe f", ["fast"]),
        ("digits study n", ["noise"]),
        ("digits why ch", ["champion", "challenger"]),
    ],
)
def test_a_shell_completes_commands_and_names(
    digits: Digits, monkeypatch: pytest.MonkeyPatch, line: str, offered: list[str]
):
    monkeypatch.setenv("_DIGITS_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(line.count(" ")))
    assert digits()[1].split() == offered


def test_a_shell_is_offered_no_names_where_params_cannot_be_read(digits: Digits):
    assert "fast" in cli._names("recipes")
    for text in ("recipes: [", "", "recipes:\n"):
        Path("params.yaml").write_text(text)
        assert cli._names("recipes") == []
    Path("params.yaml").unlink()
    assert cli._names("recipes") == []


def test_what_a_command_answers_is_not_an_alert_on_the_terminal_too(tmp_path: Path):
    raised = "; ".join(f"alerts.raise_({kind!r}, 'words')" for kind in ("too few images", "quarantined", "waits"))
    code = f"import cli\ntry: cli.main(['--help'])\nfinally:\n    from pipeline.monitoring import alerts; {raised}"
    apart = {"PYTHONPATH": str(ROOT), "DIGITS_HOME": str(tmp_path), "MLFLOW_TRACKING_URI": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env={**os.environ, **apart}
    )
    assert done.stderr == "waits: words\n", "a reminder, which no command answers"
    assert len((tmp_path / places.ALERTS).read_text().splitlines()) == 3


def test_the_help_imports_nothing_heavy():
    code = "import sys, cli\ntry: cli.main(['--help'])\nfinally: print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "Train and judge" in done.stdout
    assert not HEAVY & {name.split(".")[0] for name in done.stderr.split()}


def test_a_refused_batch_without_doubted_labels_says_why_it_was_refused_and_what_to_do(
    digits: Digits, stand_in: Callable[..., None]
):
    found = (Finding(key="ink_share", message="batch: no ink"),)
    filed = Filed(
        event="quarantined", batch="new", at="", by="ann", source="/new", place="data/quarantine/n", findings=found
    )
    stand_in("pipeline.data.quarantine", find=answer(filed), SUSPECTS="suspects")
    code, _, err = digits("batches", "suspects", "new")
    said = "it was refused for batch: no ink (all is in data/quarantine/n/report.json): mend the batch and"
    assert code == 2 and "no label of new is doubted" in err and said in err
