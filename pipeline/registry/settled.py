"""What did a run that found nothing to do come to, and would it again? So that the next one needs neither MLflow's
import nor the gate's questions.

It would while the registry's file, params.yaml, dvc.lock, the registration and the gate's code are the very ones of
that run. A registry that is no SQLite file is asked each time.
"""

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import ValidationError

from pipeline.base import files, places
from pipeline.registry import snapshot
from pipeline.registry.records import Event, Record


class Settled(Record):
    """A decision to leave everything as it is, and all that it came from."""

    database: list[list[Any]]
    files: dict[str, str]
    decision: Event
    reported: str | None
    """the version that is the workspace's model"""


def read(name: str) -> Settled | None:
    """What the last run came to, if this one would come to the same."""
    with suppress(OSError, ValidationError):
        kept = Settled.model_validate_json(_place(name).read_bytes())
        if kept.database and (kept.database, kept.files) == (snapshot.state(), _digests()):
            return kept
    return None


def keep(name: str, database: list[list[Any]], decision: Event, reported: str | None) -> None:
    """Remember a decision that changed nothing; ``database`` is :func:`snapshot.state` from before it."""
    if decision.event != "unchanged" or not database:
        return
    with suppress(OSError):  # a full disk: the next run asks again
        files.private_folder(_place(name).parent)
        settled = Settled(database=database, files=_digests(), decision=decision, reported=reported)
        files.write_json(_place(name), settled.model_dump(mode="json", exclude_unset=True))


def _digests() -> dict[str, str]:
    here = {str(path): files.sha256_file(path) for path in (places.PARAMS, places.DVC_LOCK, places.REGISTRATION)}
    code = "".join(files.sha256_file(path) for path in sorted(Path(__file__).parent.glob("*.py")))
    return here | {"code": hashlib.sha256(code.encode()).hexdigest()}


def _place(name: str) -> Path:
    return places.SETTLED / f"{quote(name, safe='')}.json"
