"""How does the service write its log? A line an event on stderr, as text or as JSON."""

import json
import logging
import sys
from datetime import UTC, datetime


class JsonLines(logging.Formatter):
    """``{"at", "level", "message", …}``, with the ``facts`` of the event, if it has any, instead of the message."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        facts = getattr(record, "facts", None) or {"message": record.getMessage()}
        if record.exc_info:
            facts = {**facts, "traceback": self.formatException(record.exc_info)}
        return json.dumps({"at": at, "level": record.levelname.lower(), **facts})


class Lines(logging.Formatter):
    """A line an event: what would begin another one, or move a terminal's cursor, is spelt out."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 — logging's name
        line = super().formatMessage(record)
        return line if line.isprintable() else "".join(map(_printable, line))


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def to_stderr(as_json: bool) -> None:
    logging._srcfile = None  # type: ignore[attr-defined]  # nor are these facts in a line: each record would look them up
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if as_json else Lines("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
