"""A study as a flow: the same trials on the same Dask, started from Prefect's UI."""

import contextlib
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from flows import workspace
from pipeline.base import params
from pipeline.studies import study as room


@flow(name="study", flow_run_name="study · {name}")
def study(name: str, scheduler: str | None = None) -> dict[str, Any]:
    """Run the study of params.yaml of that name; ``scheduler`` is a Dask scheduler's address."""
    with workspace.held() as place:
        pass  # it is brought up to date; the study reads its images at the start, and need not keep retrainings out
    with contextlib.chdir(place):
        settings = params.load()
        found = room.run(name, room.read(name, settings), settings, scheduler)
    create_markdown_artifact(found["findings"], key=f"study-{name}", description="What a study found")
    get_run_logger().info("%s", found["findings"])
    return found
