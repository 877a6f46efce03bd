"""Which versions are in use? A process of its own asks the registry, and prints a line of JSON whenever that changed.

MLflow takes two seconds to import and more memory than everything else in the service, and a registry may be slow or
away: none of that is to be felt by a request. Each line is ``{"champion": facts or null, "challenger": facts or null,
"fault": null or one line}``; facts are those of :func:`pipeline.registry.history.describe`, and where the ONNX
file lies. With a fault the versions are left out: the service goes on with those it has.
"""

import json
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # asking again is this module's business,
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")  # and soon

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from pipeline.base import places
from pipeline.base.errors import BadInput, brief, one_line
from pipeline.registry import artifacts, history, versions
from serving import webhooks
from serving.webhooks import Webhook

POLL_SECONDS = 1.0  # from a question to the next,
TOLD_SECONDS = 60.0  # where MLflow's server tells of what happens: it gives up on who did not hear it
FILE_SECONDS = 0.1  # from a look at the registry's file to the next, which takes 10 µs of a processor, a question 6 ms
ASK_SECONDS = 5.0  # until a file that did not change is asked anyway: another may have been put in its place
RETRY_SECONDS = 10.0  # until files that could not be read, or were not the registered ones, are looked at again


def facts(client: MlflowClient, version: ModelVersion) -> dict[str, Any]:
    """What the service needs of a version: where its model lies, checked against its digest, and its description."""
    onnx = str(artifacts.onnx_file(client, version))
    return {**history.describe(client, version).as_json(), "onnx": onnx, "onnx_sha256": version.tags["onnx_sha256"]}


def line_of(client: MlflowClient, name: str, aliases: dict[str, str]) -> dict[str, Any]:
    """The line for these aliases."""
    line: dict[str, Any] = {"fault": None}
    for alias in (versions.CHAMPION, versions.CHALLENGER):
        number = aliases.get(alias)
        try:
            line[alias] = facts(client, client.get_model_version(name, number)) if number else None
        except BadInput as error:
            if alias == versions.CHAMPION:
                return {"fault": str(error)}
            line[alias] = None  # a challenger that cannot be read is not shown; the gate will say why
    return line


def watch(name: str, address: str | None = None) -> None:
    """Ask each second, or when the registry's file has changed, or when told at an address, for ever."""
    client = versions.connect()
    webhook = Webhook(client, name, address, os.environ[webhooks.SECRET]) if address else None
    changed = _changes(webhook)
    known: dict[str, str] | None = None
    line: dict[str, Any] = {}
    retry_at = 0.0
    while True:
        try:
            next(changed)
            aliases = versions.aliases(client, name)
            if aliases != known or (line["fault"] and time.monotonic() > retry_at):
                found = line_of(client, name, aliases)
                known, retry_at = aliases, time.monotonic() + RETRY_SECONDS
            else:
                found = line
        except Exception as error:  # whatever a registry that is away makes its client raise
            found, known = {"fault": f"the registry does not answer: {brief(error)}"}, None
        if found != line:
            line = found
            print(json.dumps(line), flush=True)


def _changes(webhook: Webhook | None = None) -> Iterator[None]:
    """Yields when there may be something new: after each commit to the registry's SQLite file, else when the registry's
    server tells of it, else each second."""
    database = places.registry_file()
    if webhook:
        yield from _events(webhook)
    if not database:
        while True:
            yield
            time.sleep(POLL_SECONDS)
    while True:
        try:
            yield from _commits(database)
        except sqlite3.Error:  # it cannot be opened: the question will tell
            yield
            time.sleep(POLL_SECONDS)


def _commits(database: Path) -> Iterator[None]:
    """Yields after each commit to a SQLite file, and now and then without one. sqlite3.Error if it cannot be opened."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", timeout=0, uri=True)) as file:
        seen, ask_at = None, 0.0
        while True:
            try:
                version = file.execute("PRAGMA data_version").fetchone()
            except sqlite3.Error:  # locked, or gone: the question will tell
                version = None
            if version is None or version != seen or time.monotonic() > ask_at:
                seen, ask_at = version, time.monotonic() + ASK_SECONDS
                yield
            time.sleep(FILE_SECONDS)


def _events(webhook: Webhook) -> Iterator[None]:
    """Yields at each event, and now and then without one: each second, as long as it is not sure that all are told."""
    while True:
        rung = webhooks.rung_at()  # before the question: what happens during it is asked for again
        yield
        ask_at = time.monotonic() + (TOLD_SECONDS if webhook.is_sure() else POLL_SECONDS)
        while webhooks.rung_at() == rung and time.monotonic() < ask_at:
            time.sleep(FILE_SECONDS)


if __name__ == "__main__":
    with one_line():
        watch(*sys.argv[1:])
