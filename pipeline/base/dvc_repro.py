"""`dvc repro` without what DVC advises after each run: to commit dvc.lock, to stage it, to push.

DVC has no switch for that: `--quiet` also hides which stage runs, and `core.autostage` would write into the user's git
index. Run as a file, so that it works in a project that has no such package.
"""

import logging
import sys
from typing import Any

PUSH = "Use `dvc push` to send your updates to remote storage."


def main() -> int:
    from dvc.cli import main as dvc
    from dvc.ui import ui

    write = ui.write

    def without_advice(*said: Any, **how: Any) -> None:
        if said != (PUSH,):
            write(*said, **how)

    ui.write = without_advice  # type: ignore[method-assign]
    logging.getLogger("dvc.repo.scm_context").setLevel(logging.WARNING)  # `git add dvc.lock` and autostage
    return int(dvc(["repro", *sys.argv[1:]]))


if __name__ == "__main__":
    sys.exit(main())
