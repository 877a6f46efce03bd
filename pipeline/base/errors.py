"""Which errors can a person mend, and how does a command end on them?"""

import errno
import json
import os
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

SAYS = "error: "  # how the line begins
MOST_WORDS = 300  # characters
FAULT_FILE = "DIGITS_FAULT_FILE"  # names the file in which a process that ends by one_line says why, for its starter


class BadInput(Exception):
    """Wrong use or bad input: the message is one line that says what was wrong, where, and what to do."""


class TemporaryFault(BadInput):
    """Somebody else's fault that may pass, such as a server that does not answer: worth another try later."""


@contextmanager
def one_line() -> Iterator[None]:
    """End the process with one line on stderr instead of a traceback, for what a person can mend.

    Exit code 2 for :class:`BadInput` (a message of several lines is several findings) and for a disk that is full or
    cannot be written to, 75 (sysexits.h: temporary failure) for :class:`TemporaryFault`, 130 for Ctrl-C. Anything else
    is a defect and keeps its traceback.
    """
    try:
        yield
    except TemporaryFault as error:
        _end(str(error), os.EX_TEMPFAIL)
    except BadInput as error:
        _end(str(error), 2)
    except KeyboardInterrupt:
        _end("stopped by Ctrl-C; the same command goes on from here", 130)
    except Exception as error:
        if (fault := disk_fault(error)) is None:
            raise
        _end(fault, 2)


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


def disk_fault(error: BaseException) -> str | None:
    """One line on the disk, if it is what is behind the error: full, read-only, closed to this user, or limited."""
    for one in chain(error):
        named = isinstance(one, OSError) and (one.filename2 or one.filename)  # of a copy the second is written
        where = f" while writing {printable(str(named))}" if named else ""
        code = one.errno if isinstance(one, OSError) else None
        database = getattr(one, "sqlite_errorname", "") if isinstance(one, sqlite3.Error) else ""
        if code in (errno.ENOSPC, errno.EDQUOT) or database == "SQLITE_FULL":
            return f"the disk is full{where}: free some space and run the same command again"
        if code == errno.EFBIG:
            return f"a file would be larger than allowed{where}: raise the limit (ulimit -f), or use another disk"
        if code == errno.EROFS or database.startswith("SQLITE_READONLY"):
            return f"the disk is read-only{where}: make it writable and run the same command again"
        if isinstance(one, PermissionError) and named:
            return f"{printable(str(named))} is closed to this user: change its permissions, or whose it is"
    return None


def brief(error: BaseException) -> str:
    """An error of a library, of which some have pages to say, as a part of one line."""
    return " ".join(str(error).split())[:MOST_WORDS] or type(error).__name__


def printable(text: str) -> str:
    """The text on one line, with what would break a line or speak to a terminal written out, as a newline as \\n."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@contextmanager
def heard() -> Iterator[Path]:
    """Where a process that is given it as FAULT_FILE says what it ended on."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "fault.json"


def left_in(fault: Path) -> tuple[type[BadInput], str]:
    """Which kind of error the process ended on that was given ``fault``, and what it said of it, if anything."""
    said: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        said = json.loads(fault.read_text(encoding="utf-8"))
    kind = TemporaryFault if said.get("code") == os.EX_TEMPFAIL else BadInput
    return kind, said.get("message", "")


def _end(message: str, code: int) -> NoReturn:
    for line in message.splitlines():
        print(f"{SAYS}{printable(line)}", file=sys.stderr, flush=True)
    if path := os.environ.get(FAULT_FILE):
        with suppress(OSError):
            Path(path).write_text(json.dumps({"code": code, "message": message}), encoding="utf-8")
    sys.exit(code)
