"""One `dvc repro` for a whole retraining, though each stage is a task of its own: starting DVC takes as long as many a
stage. What it says is dealt out to the stages as it comes."""

import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from pipeline.base import errors, processes

BEGINS = re.compile(r"(?:Running stage|Stage) '(\w+)'")  # DVC's words at a stage that runs, and at one that need not


class Repro:
    """`dvc repro` of the stages of these names, in this order, in the workspace ``place``."""

    def __init__(self, place: Path, names: Sequence[str]) -> None:
        self.place, self.names = place, names
        self.running: Generator[str] | None = None
        self.read: list[str] = []  # a line that is the next stage's

    def stage(self, name: str, force: bool = False) -> Iterator[str]:
        """The lines of one stage, which has ended with the last of them. After one that failed, or by ``force``, DVC is
        started anew. :class:`TemporaryFault` for what may pass, :class:`BadInput` for all else."""
        at = self.names.index(name)
        if self.running is None or force:
            self.close()
            targets = [name] if force else self.names[at:]
            self.running = _said(self.place, [*targets, *(["--force"] if force else [])])
        while True:
            try:
                line = self.read.pop() if self.read else next(self.running)
            except StopIteration:
                self.running = None
                return
            except errors.BadInput as error:
                self.running = None
                raise type(error)(str(error) or f"the stage {name} failed: see the log above") from None
            begun = BEGINS.match(line)
            if begun and begun[1] in self.names[at + 1 :]:
                self.read.append(line)
                return
            yield line

    def close(self) -> None:
        """End DVC if it is still at work."""
        self.read.clear()
        if self.running:
            with suppress(errors.BadInput):
                self.running.close()
            self.running = None


def _said(place: Path, options: Sequence[str]) -> Generator[str]:
    with errors.heard() as fault:
        environment = processes.environment(**{errors.FAULT_FILE: str(fault)})
        command = processes.dvc_repro("--single-item", *options)
        with processes.started(command, cwd=place, env=environment) as process:
            yield from process.stdout or ()
        if process.returncode:
            kind, message = errors.left_in(fault)
            raise kind(message)
