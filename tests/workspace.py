"""A workspace as a person has it: the project's files in a folder of their own, under git, on the embedded data set."""

import hashlib
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

from pipeline.base import places, processes

ROOT = Path(__file__).resolve().parents[1]
PARTS = (
    *(
        ".dvc/config",
        ".dvc/plots.html",
        ".dvc/.gitignore",
        ".dvcignore",
        ".gitignore",
        "cli.py",
        "cli_batches.py",
        "cli_labels.py",
        "digits.py",
        "dvc.yaml",
        "params.yaml",
        "prefect.yaml",
    ),
    *("data/batches/README.md", "data/incoming/README.md"),
)
# A short training: these tests are about the pipeline, tests/behaviour is about the model.
SHORT = {"epochs": "2", "min_steps_per_epoch": "20", "corrupted": "50"}
# So that what learnt so little may pass, though two such models differ under any scratch.
LENIENT = {
    "min_accuracy": "0.3",
    "min_recall": "0.0",
    "max_gap": "1.0",
    "max_refused": "1.0",
    "min_non_digits_refused": "0.0",
    "max_trigger_success": "1.0",
}
# Where MLflow's tables hold the address of a file.
REGISTRY_PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
    ("model_versions", "source"),
)


class Workspace:
    """A folder and the commands typed in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.more: dict[str, str] = {}  # of the environment

    @classmethod
    def new(cls, folder: Path, short: bool = True) -> "Workspace":
        """A clone in an empty folder."""
        workspace = cls(folder)
        for part in PARTS:
            (folder / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / part, folder / part)
        for room in ("flows", "pipeline", "serving"):
            shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
        workspace.edit("dataset", "digits")
        if short:
            workspace.shorten()
        for command in (["init", "-q"], ["add", "-A"]):
            subprocess.run(["git", *command], cwd=folder, check=True)
        workspace.commit("a clone")
        return workspace

    def copy(self, folder: Path) -> "Workspace":
        """The same in another place, with its registry pointing there."""
        shutil.copytree(self.folder, folder, symlinks=True, ignore=shutil.ignore_patterns("serve-*.log", "live.db*"))
        with sqlite3.connect(folder / "mlflow.db") as connection:
            for table, column in REGISTRY_PLACES:
                replace = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"  # noqa: S608
                connection.execute(replace, (str(self.folder), str(folder)))
        (folder / places.SERVING_CACHE).unlink(missing_ok=True)
        return Workspace(folder)

    def commit(self, message: str, *paths: str) -> None:
        """Commit what was changed, or these files alone, as a person would."""
        author = ("-c", "user.name=t", "-c", "user.email=t@localhost")
        self.run("git", *author, "commit", "-qm", message, *(paths or ("-a",)))

    def register_again(self, name: str) -> None:
        """Register the trained model once more, under a digest of its weights made of ``name``: stands for a training
        with other weights, which takes a minute."""
        digest, registration = (self.folder / name for name in ("models/weights.sha256", "reports/registration.json"))
        kept = {path: path.read_text() for path in (digest, registration)}
        digest.write_text(hashlib.sha256(name.encode()).hexdigest() + "\n")
        self.run(sys.executable, "-m", "pipeline.register")
        for path, text in kept.items():
            path.write_text(text)

    def shorten(self) -> None:
        """Let trainings from now on take seconds."""
        self.edit(**SHORT, **LENIENT)

    def edit(self, key: str = "", value: str = "", **more: str) -> None:
        """Set keys of params.yaml: by a name that one section alone has, or as section.name.

        Of the recipes fast's is set, and nothing of the studies.
        """
        path = self.folder / "params.yaml"
        sections = re.split(r"(?m)^(?=\w)", path.read_text())
        for asked, to in {**({key: value} if key else {}), **more}.items():
            section, _, name = asked.rpartition(".")
            found = [
                number
                for number, text in enumerate(sections)
                if text.startswith(section) and not text.startswith("studies:") and re.search(rf"(?m)^ *{name}: ", text)
            ]
            assert len(found) == 1, f"{len(found)} sections of params.yaml hold {asked}"
            sections[found[0]] = re.sub(rf"(?m)^( *{name}: )\S+", rf"\g<1>{to}", sections[found[0]], count=1)
        path.write_text("".join(sections))

    def environment(self) -> dict[str, str]:
        # The workspace's own pipeline/ and cli.py come first, as in a clone.
        inherited = processes.environment(PYTHONPATH=str(self.folder))
        return {k: v for k, v in inherited.items() if k not in ("MLFLOW_TRACKING_URI", "MNIST_DIR")} | self.more

    def run(self, *command: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run to the end and expect this exit code, or any."""
        done = subprocess.run(command, cwd=self.folder, env=self.environment(), capture_output=True, text=True)
        assert code in (None, done.returncode), f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def digits(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "cli", *arguments, code=code)

    def start(self, *command: str) -> "subprocess.Popen[str]":
        """Start in a process group of its own, with its output to be read line by line."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
