"""Where does a teammate go on from a page of Prefect's? The report, MLflow and the service, as Markdown."""

import os
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from pipeline.base import places
from pipeline.base.errors import BadInput
from pipeline.registry import versions

LOCAL = "127.0.0.1:5000,localhost:5000"  # names of a server of MLflow's on this machine
SERVED = "DIGITS_SERVE"  # the address that people have of `digits serve`


def of(model: str, version: str, place: Path) -> list[str]:
    """A line each: the version's report, its run in MLflow, the page to try the champion on, the command that tells
    the rest. ``place`` is the workspace that made the report."""
    served = places.public(os.environ.get(SERVED, ""))
    if served:
        report = f"[report of version {version}]({served}/reports/{quote(version)}/)"
    else:
        report = (
            f"`{place / places.REPORT_PAGE}` on the worker's machine ({SERVED}, the service's address, makes a link)"
        )
    page = [f"**Try it**: [{served}]({served}/)"] if served else []
    return [f"**Report**: {report}", *_run(model, version), *page, f"**In full**: `digits why {version}`"]


def _run(model: str, version: str) -> list[str]:
    """The version's run in MLflow; nothing if the registry does not say, which is no reason to end a run that did."""
    from mlflow.exceptions import MlflowException

    with suppress(MlflowException, BadInput):
        client = versions.connect()
        run = str(versions.version(client, model, version).run_id)
        tracking = places.tracking_uri()
        if server := places.public(tracking):
            page = f"{server}/#/experiments/{client.get_run(run).info.experiment_id}/runs/{run}"
            return [f"**MLflow**: [run {run[:8]}]({page})"]
        # A database's address has its password: it is named for a file alone.
        shown = tracking if tracking.startswith("sqlite:") else "…"
        return [f"**MLflow**: run `{run}`, after `mlflow server --backend-store-uri {shown} --allowed-hosts {LOCAL}`"]
    return []
