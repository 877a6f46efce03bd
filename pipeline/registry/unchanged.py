"""What did a run that found nothing to do come to, and would it again? So that the next one needs neither MLflow's
import nor the gate's questions.

It would while the registry's file, the params, dvc.lock, the registration and the gate's code are the very ones of
that run. A registry that is no SQLite file is asked each time.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import ValidationError

from pipeline.base import files, places
from pipeline.base.params import Params
from pipeline.registry import snapshot
from pipeline.registry.records import Event, Record


class Unchanged(Record):
    """A decision to leave everything as it is, and all that it came from."""

    origin: dict[str, Any]
    decision: Event
    reported: str | None
    """the version that is the workspace's model"""


def origin(params: Params) -> dict[str, Any]:
    """All that a decision by these params comes from, to be asked for before it is taken: what changes meanwhile then
    counts as a change. Empty where nothing can tell."""
    with suppress(OSError):
        if database := snapshot.state():
            code = "".join(files.sha256_file(path) for path in sorted(Path(__file__).parent.glob("*.py")))
            return {
                "database": database,
                "params": files.sha256_text(params.model_dump_json()),
                "code": files.sha256_text(code),
                **{str(path): files.sha256_file(path) for path in (places.DVC_LOCK, places.REGISTRATION)},
            }
    return {}


def read(name: str, origin: dict[str, Any]) -> Unchanged | None:
    """What the last run came to, if this one would come to the same."""
    with suppress(OSError, ValidationError):
        kept = Unchanged.model_validate_json(_place(name).read_bytes())
        if kept.origin == origin != {}:
            return kept
    return None


def keep(name: str, origin: dict[str, Any], decision: Event, reported: str | None) -> None:
    """Remember a decision that changed nothing."""
    if decision.event != "unchanged" or not origin:
        return
    with suppress(OSError):  # a full disk: the next run asks again
        files.private_folder(_place(name).parent)
        kept = Unchanged(origin=origin, decision=decision, reported=reported)
        files.write_json(_place(name), kept.as_json())


def _place(name: str) -> Path:
    return places.UNCHANGED / f"{quote(name, safe='')}.json"
