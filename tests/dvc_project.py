"""A DVC project of one stage, which ends as a test wants it to."""

import subprocess
import sys
from pathlib import Path

import yaml
from workspace import ROOT


def make(place: Path, git: bool = False) -> Path:
    """A project whose stage is yet to be written, in a git repository or in none."""
    if git:
        subprocess.run(["git", "init", "--quiet", place], check=True)
    (place / ".dvc").mkdir()
    no_scm = str(not git).lower()
    (place / ".dvc/config").write_text(
        f"[core]\n    no_scm = {no_scm}\n    analytics = false\n    check_update = false\n"
    )
    return place


def write(place: Path, command: str) -> None:
    (place / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"one": {"cmd": command, "outs": ["out"]}}}))


def ending_on(place: Path, error: str) -> str:
    """A command that ends as a stage does on such an error."""
    lines = ["import sys", f"sys.path.insert(0, {str(ROOT)!r})", "from pipeline.base import errors"]
    lines += ["with errors.one_line():", f"    raise errors.{error}"]
    (place / "ending.py").write_text("\n".join(lines))
    return f"{sys.executable} ending.py"
