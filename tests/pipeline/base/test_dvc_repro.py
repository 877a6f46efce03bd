"""`dvc repro` from one warm process: a stage must not notice, and its end must be DVC's."""

import os
import subprocess
import sys
from pathlib import Path

import dvc_project
import pytest
import yaml
from dvc.repo import Repo
from workspace import ROOT

from pipeline.base import dvc_repro, processes

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
TELLING = """
import atexit, multiprocessing, os, sys
from pathlib import Path
forked = multiprocessing.parent_process() is not None
Path("{out}").write_text(f"{{__name__}} {{Path.cwd()}} {{os.environ['DVC_STAGE']}} {{forked}}")
Path("comm").write_text(Path("/proc/self/comm").read_text())
atexit.register(Path("{out}.exit").touch)
print("said", "{out}")
sys.exit({code})
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each stage is a command")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A project of two stages, which are modules of a package of this project's name."""
    place = dvc_project.make(tmp_path)
    (place / "pipeline").mkdir()
    (place / "pipeline/__init__.py").touch()
    stages = {name: {"cmd": f"python -m pipeline.{name}", "outs": [name]} for name in ("one", "two")}
    stages["two"]["deps"] = ["one"]
    (place / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    for name in stages:
        write(place, name)
    return place


def write(place: Path, name: str, code: int = 0) -> None:
    (place / f"pipeline/{name}.py").write_text(TELLING.format(out=name, code=code))


def repro(place: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = processes.dvc_repro(*options)
    return subprocess.run(command, cwd=place, env=processes.environment(), capture_output=True, text=True)


def test_a_stage_runs_as_its_command_would(place: Path):
    done = repro(place)
    assert done.returncode == 0, done.stderr
    for name in ("one", "two"):
        assert (place / name).read_text() == f"__main__ {place} {name} True"
        assert (place / f"{name}.exit").exists()
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith(("Running", "said"))] == [
        *("Running stage 'one':", "said one"),
        *("Running stage 'two':", "said two"),
    ]
    assert (place / "comm").read_text() == "pipeline.two\n"


def test_a_stage_alone_is_a_command(place: Path):
    assert repro(place, "--single-item", "one").returncode == 0
    assert (place / "one").read_text() == f"__main__ {place} one False"


def test_code_is_read_when_its_stage_begins(place: Path):
    write(place, "two", code=3)
    change = f"Path('pipeline/two.py').write_text({TELLING.format(out='two', code=0)!r})\n"
    with (place / "pipeline/one.py").open("r+") as file:
        text = file.read()
        file.seek(0)
        file.write(text.replace("sys.exit(0)", change))
    assert repro(place).returncode == 0 and (place / "two").is_file()


@pytest.mark.parametrize("ending", ["sys.exit(3)", "1 / 0", "os.kill(os.getpid(), 9)"])
def test_a_stage_that_fails_ends_the_run(place: Path, ending: str):
    (place / "pipeline/one.py").write_text(f"import os, sys\n{ending}\n")
    done = repro(place)
    assert done.returncode and "failed to run: python -m pipeline.one" in done.stderr
    assert not (place / "two").exists()
    assert ("one was killed: if nobody did, the memory ran out" in done.stderr) == ("kill" in ending)


def test_a_workspace_that_another_dvc_holds_may_be_free_later(place: Path):
    with Repo(str(place)).lock:
        assert repro(place).returncode == os.EX_TEMPFAIL
    assert repro(place).returncode == 0


def test_what_cannot_be_imported_ahead_is_told_and_ends_the_run(place: Path):
    stages = {name: {"cmd": f"python -m pipeline.{name}", "outs": [name]} for name in ("ingest", "train")}
    stages["train"]["deps"] = ["ingest"]
    (place / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    for name in stages:
        write(place, name)
    (place / "pipeline/learning").mkdir()
    (place / "pipeline/learning/backend.py").write_text("raise ImportError('no such processor')")
    done = repro(place)
    assert done.returncode and "no such processor" in done.stderr
    assert "failed to run: python -m pipeline.train" in done.stderr and not (place / "train").exists()


def test_nothing_outlives_dvc(place: Path):
    text = "import os\nfrom pathlib import Path\nPath('one').write_text(str(os.getppid()))"
    (place / "pipeline/one.py").write_text(text)
    repro(place)
    with pytest.raises(ProcessLookupError):
        os.kill(int((place / "one").read_text()), 0)


def test_what_is_imported_ahead_is_for_stages_that_are_there():
    order = list(STAGES)
    assert set(dvc_repro.OWN) == set(dvc_repro.AHEAD)
    for stage, before in dvc_repro.AHEAD.items():
        assert before and all(order.index(one) < order.index(stage) for one in before)
