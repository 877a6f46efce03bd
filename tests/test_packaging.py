"""Which Python does make take, does the lock hold for all of them, and what does the comment on a pull request say?"""

import re
import runpy
import shutil
import subprocess
import tomllib
from pathlib import Path

import numpy as np
import pytest

from pipeline.digits import features
from pipeline.monitoring import live
from pipeline.monitoring.live import Seen

ROOT = Path(__file__).parent.parent
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-docs.lock")
OUTCOME = {"version": "2", "verdict": {"reason": "version 2 is at most 1.49 points less accurate than version 1"}}


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder for ``make``, and the only folder on its path: what a machine has without Python; stubs may join it."""
    (tmp_path / "bin").mkdir()
    for name in ("sh", "touch", "echo"):
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
    for name in ("Makefile", "bootstrap.lock"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def _stub(folder: Path, name: str, text: str) -> None:
    (folder / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / "bin" / name).chmod(0o755)


def _make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Of ``.venv/bin/uv``, the target in which the environment is made."""
    command = [str(shutil.which("make")), "SHELL=/bin/sh", ".venv/bin/uv", *arguments]
    environment = {"PATH": str(folder / "bin"), "CALLS": str(folder / "calls"), "FOLDER": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


ANSWERS = 'echo "$0 $*" >>"$CALLS"; case "$1" in -m) [ "$2" != venv ];; esac'  # suits; venv fails: make ends


@pytest.mark.parametrize("name", ["python3.11", "python3.12", "python3.13", "python3"])
def test_make_takes_the_python_that_is_there(bare: Path, name: str):
    _stub(bare, name, ANSWERS)
    assert _make(bare).returncode == 2
    assert f"bin/{name} -m venv .venv" in (bare / "calls").read_text()


def test_make_passes_over_a_python_that_cannot_make_an_environment(bare: Path):
    _stub(bare, "python3.11", "exit 1")
    _stub(bare, "python3.12", ANSWERS)
    _make(bare)
    assert "bin/python3.12 -m venv .venv" in (bare / "calls").read_text()


def test_uv_brings_a_python_where_there_is_none(bare: Path):
    """The stub makes what uv would: uv itself downloads a Python."""
    _stub(bare, "python3", "exit 1")
    made = 'mkdir -p "$FOLDER/.venv/bin"; : >"$FOLDER/.venv/bin/uv"; ln -s /bin/true "$FOLDER/.venv/bin/python"'
    _stub(bare, "uv", f'echo "uv $*" >>"$CALLS"; PATH=/bin:/usr/bin; {made}')
    ran = _make(bare)
    assert ran.returncode == 0, ran.stderr
    assert (bare / "calls").read_text() == "uv venv --quiet --seed --python 3.11 .venv\n"


def test_without_any_python_make_says_so_in_a_line(bare: Path):
    ran = _make(bare)
    assert ran.returncode == 2
    assert ran.stdout.startswith("make: no Python 3.11, 3.12 or 3.13 with its venv module was found: install one")
    assert ran.stdout.count("\n") == 1


def test_a_python_that_was_named_has_to_suit(bare: Path):
    _stub(bare, "python3.12", ANSWERS)
    _stub(bare, "python3.9", "exit 1")
    ran = _make(bare, "PYTHON=python3.9")
    assert ran.returncode == 2
    assert ran.stdout.startswith("make: PYTHON=python3.9 is not a Python 3.11, 3.12 or 3.13")
    assert not (bare / "calls").exists()
    _make(bare, f"PYTHON={bare}/bin/python3.12")
    assert "bin/python3.12 -m venv .venv" in (bare / "calls").read_text()


def test_what_suits_is_what_the_package_asks_for(bare: Path):
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert asked == ">=3.11,<3.14"
    for path in ("Makefile", ".ci/run"):
        assert "(3, 11) <= sys.version_info < (3, 14)" in (ROOT / path).read_text(), path


def test_make_clean_keeps_what_people_corrected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)  # which MLflow sets, and whose folder the store is in
    shutil.copy(ROOT / "Makefile", tmp_path)
    seen = Seen(["r0-0"], "2026", "digits-cnn", "1", np.zeros((1, 28, 28), np.uint8), np.zeros(1, int), np.ones(1))
    with live.store() as store:
        live.write(store, [seen], np.zeros((1, len(features.FEATURES))), keep_images=True)
        live.correct(store, seen, 3, "ann", 1_000_000)
    for _ in range(2):
        subprocess.run(["make", "clean"], check=True, capture_output=True)
        with live.store() as store:
            assert live.corrections(store)[0] == ["r0-0"] and live.find(store, "r0-0") is None


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_one_version_of_a_package_and_no_address(lock: str):
    text = (ROOT / lock).read_text()
    names = re.findall(r"(?m)^([a-z0-9._-]+)==", text)
    assert names and len(names) == len(set(names))
    assert "://" not in text


def test_the_locks_agree():
    versions: dict[str, set[str]] = {}
    for lock in LOCKS:
        for name, version in re.findall(r"(?m)^([a-z0-9._-]+)==(\S+)", (ROOT / lock).read_text()):
            versions.setdefault(name, set()).add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


def test_the_comment_has_the_verdict_and_what_differs():
    comment = runpy.run_path(str(ROOT / ".ci/comment.py"))["comment"]
    text = comment({"decision": {"event": "promoted", **OUTCOME}}, "| Path | Metric |\n", "")
    assert (
        "**Version 2 promoted**\n\n```text\nversion 2 is at most 1.49 points less accurate than version 1\n```" in text
    )
    assert "#### Metrics\n\n```text\n| Path | Metric |\n```\n\n#### Params\n\nNothing differs.\n" in text
    assert "**Version 2 is not promoted**" in comment({"decision": {"event": "kept", **OUTCOME}}, "", "")
    text = comment({"decision": {"event": "unchanged", "reason": "no challenger waits"}}, "", "")
    assert "**Nothing to decide**\n\n```text\nno challenger waits\n```" in text


def test_what_a_param_is_called_is_no_markdown_of_the_comment():
    """Of a comment that fits, on a runner whose environment takes 128 kB a variable."""
    comment = runpy.run_path(str(ROOT / ".ci/comment.py"))["comment"]
    hostile = "a |\n````\n# Approved @everyone ![x](http://evil.example/t.png) <img src=x>"
    text = comment({"decision": {"event": "unchanged", "reason": hostile}}, "", f"{hostile}\n" * 10_000)
    outside = re.sub(r"(?ms)^(`{5,})text$.*?^\1$", "", text)
    assert "Approved" in text and "Approved" not in outside and "````" not in outside
    assert len(text) < 65_536 and "characters more" in text


def test_what_may_write_to_a_pull_request_runs_nothing_of_it():
    import yaml

    jobs = yaml.safe_load((ROOT / ".github/workflows/model.yml").read_text())["jobs"]
    assert jobs["compare"]["permissions"] == {"contents": "read"}
    assert jobs["comment"]["permissions"] == {"pull-requests": "write"}
    assert not any("uses" in step or "${{" in step["run"] for step in jobs["comment"]["steps"])
