"""`dvc repro` from one warm process, and without what DVC advises after each run: to commit dvc.lock, to stage it, to
push.

DVC has no switch for the advice: `--quiet` also hides which stage runs, and `core.autostage` would write into the
user's git index. Run as a file, so that it works in a project that has no such package.

To DVC a stage is `python -m pipeline.NAME`, and by `dvc repro` it is just that. Here it is forked from a process that
has imported what most stages need (multiprocessing's fork server), and what a few need alone is imported while the
stages before them run. Others' libraries are kept: this project's code is forgotten again and read when its stage
begins, as DVC's digest of it is taken then.
"""

import atexit
import gc
import logging
import multiprocessing
import os
import re
import runpy
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

PUSH = "Use `dvc push` to send your updates to remote storage."
STAGE = re.compile(r"python -m (pipeline)\.(\w+)")
# What most stages import; none of these starts a thread of Python's.
COMMON = ["cv2", "matplotlib.figure", "numpy", "pandas", "PIL.Image", "pydantic", "ruamel.yaml", "tqdm"]
COMMON += ["sklearn.metrics", "scipy.spatial.distance", "scipy.stats", "matplotlib.backends.backend_agg"]
# What a stage imports besides, and the stages that run before it when it does.
OWN = {
    "validate": ["great_expectations"],
    "train": ["pipeline.learning.backend", "tf2onnx"],
    "drift": ["evidently", "evidently.metrics", "evidently.presets"],
    "register": ["mlflow", "mlflow.onnx"],
}
AHEAD = {"validate": {"ingest"}, "train": {"ingest"}, "drift": {"describe", "evaluate"}, "register": {"evaluate"}}


class Waiting(NamedTuple):
    """A process that has imported what its stage needs, or is about to."""

    process: BaseProcess
    orders: Connection


class Stages:
    """Runs stages as forks of one process."""

    def __init__(self) -> None:
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(COMMON)
        self.ran: set[str] = set()
        self.waiting: dict[str, Waiting] = {}

    def run(self, name: str, folder: str, environment: Mapping[str, str]) -> int:
        """Run the stage in ``folder`` to its end; its exit code, negative for a signal."""
        process, orders = self.waiting.pop(name) if name in self.waiting else self._started(name)
        self.ran.add(name)
        for later, before in AHEAD.items():
            if name in before <= self.ran and later not in self.waiting | dict.fromkeys(self.ran):
                self.waiting[later] = self._started(later)
        with suppress(BrokenPipeError):  # it could not import what it needs, and has said so
            orders.send((folder, dict(environment)))
        process.join()
        orders.close()
        return int(process.exitcode or 0)

    def _started(self, name: str) -> Waiting:
        theirs, ours = self.context.Pipe(duplex=False)
        process = self.context.Process(target=stage, args=(name, theirs), name=f"pipeline.{name}")
        process.start()
        theirs.close()
        return Waiting(process, ours)

    def close(self) -> None:
        """End those that nobody needed."""
        for process, orders in self.waiting.values():
            orders.close()
            process.kill()
            process.join()
        forkserver._forkserver._stop()  # type: ignore[attr-defined]  # waits for it, so that nothing outlives DVC


def stage(name: str, orders: Connection) -> None:
    """Import what the stage needs and wait to be told where it runs, then run it as `python -m` does."""
    sys.path.insert(0, str(Path.cwd()))
    import_module("pipeline")  # which keeps the libraries from reporting home
    gc.disable()  # a library's objects stay for ever: to look for garbage among them takes a fifth of its import
    for library in OWN.get(name, []):
        import_module(library)
    gc.freeze()
    gc.enable()
    for module in [module for module in sys.modules if module.partition(".")[0] == "pipeline"]:
        del sys.modules[module]
    try:
        folder, environment = orders.recv()
    except EOFError:
        return
    call_process(name)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[0], sys.argv = folder, [f"pipeline.{name}"]
    try:
        runpy.run_module(f"pipeline.{name}", run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # multiprocessing ends its processes without them


def call_process(name: str) -> None:
    """What `ps` and `top` call this process."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(f"pipeline.{name}")


def main() -> int:
    from dvc.cli import main as dvc
    from dvc.lock import LockError
    from dvc.stage import run
    from dvc.stage.exceptions import StageCmdFailedError
    from dvc.ui import ui

    write, as_command = ui.write, run._run

    def without_advice(*said: Any, **how: Any) -> None:
        if said != (PUSH,):
            write(*said, **how)

    def forked(executable: str, command: str, **how: Any) -> None:
        found = STAGE.fullmatch(command)
        if not found:
            as_command(executable, command, **how)
        elif code := stages.run(found[2], how["cwd"], how["env"]):
            if code == -signal.SIGKILL:  # who is killed says nothing
                print(f"{found[2]} was killed: if nobody did, the memory ran out; free some", file=sys.stderr)
            raise StageCmdFailedError(command, code)

    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a stage's lines come after its name
    ui.write = without_advice  # type: ignore[method-assign]
    logging.getLogger("dvc.repo.scm_context").setLevel(logging.WARNING)  # `git add dvc.lock` and autostage
    told: list[logging.LogRecord] = []

    def noted(record: logging.LogRecord) -> bool:
        told.append(record)
        return True

    logging.getLogger("dvc.cli").addFilter(noted)  # who ends there on an exception logs it, and returns no more of it
    stages = Stages()
    several = len([target for target in sys.argv[1:] if not target.startswith("-")]) != 1
    if several and sys.platform == "linux":  # elsewhere libraries do not stand being forked
        run._run = forked
    try:
        code = int(dvc(["repro", *sys.argv[1:]]))
        is_busy = any(record.exc_info and isinstance(record.exc_info[1], LockError) for record in told)
        return os.EX_TEMPFAIL if is_busy else code
    finally:
        stages.close()


if __name__ == "__main__":
    sys.exit(main())
