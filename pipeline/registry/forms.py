"""May models stand against each other? Only where their images and classes are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.base import form
from pipeline.base.errors import BadInput
from pipeline.base.form import Form
from pipeline.learning import inference
from pipeline.registry import artifacts, versions

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

NAMED = 5  # classes that a line names


def of(client: MlflowClient, version: ModelVersion) -> Form:
    """What the version's images are."""
    return inference.form_of(artifacts.onnx_file(client, version))


def check_workspace(client: MlflowClient, name: str) -> None:
    """:class:`BadInput` if the workspace's images are others than the champion's, if there is one."""
    if champion := versions.aliased(client, name, versions.CHAMPION):
        held = form.load()
        _check(f"data/ holds {_in_words(held)}", held, f"the champion of {name}", of(client, champion))


def check(client: MlflowClient, challenger: ModelVersion, champion: ModelVersion | None) -> Form:
    """What the challenger's images are; :class:`BadInput` if the workspace's or the champion's are others, as nothing
    can then be compared, and who asks the one does not expect the answers of the other."""
    ours, held = of(client, challenger), form.load()
    who = f"{challenger.name} version {challenger.version}"
    if ours != held:
        raise BadInput(f"data/ holds {_in_words(held)}; {who} knows {_in_words(ours)}")
    if champion:
        _check(f"{who} knows {_in_words(ours)}", ours, "the champion", of(client, champion))
    return ours


def _check(said: str, ours: Form, whose: str, theirs: Form) -> None:
    if ours != theirs:
        raise BadInput(
            f"{said}, and {whose} {_in_words(theirs)}: they cannot stand against each other; give the new data "
            "set a name of its own (ingest.name)"
        )


def _in_words(of: Form) -> str:
    named = ", ".join(of.classes[:NAMED]) + (" …" if len(of.classes) > NAMED else "")
    return f"{of.pixels} of {len(of.classes)} classes ({named})"
