"""Does the challenger become champion, and how is that undone? The gate's verdict, carried out in the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.base import files, places
from pipeline.base.errors import BadInput
from pipeline.base.params import Params
from pipeline.data import held_out, splits
from pipeline.learning import inference
from pipeline.registry import (
    artifacts,
    contenders,
    forms,
    gate,
    history,
    ledger,
    model_page,
    seed_noise,
    snapshot,
    triggers,
    versions,
    wording,
)
from pipeline.registry.contenders import Unseen
from pipeline.registry.records import Event, Happening, Proof, Verdict

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

TOLERANCE = 1e-5  # of a pinned probability, as between Keras and ONNX


def promote(
    client: MlflowClient, name: str, params: Params, number: str = versions.CHALLENGER, reason: str = ""
) -> Event:
    """Put the challenger (or version ``number``) through the gate against the champion; carry the verdict out.

    ``reason`` is a person's, kept in the history. Returns the event written to the history, or one that says
    ``unchanged`` where there is nothing to judge. :class:`BadInput` if there is no such version.
    """
    while (event := _decided(client, name, params, number, reason)) is None:
        pass  # somebody else's change came in between
    _refresh(client, name)
    return event


def _refresh(client: MlflowClient, name: str) -> None:
    """What follows every decision: MLflow's page of the model says so, and `digits champion` need not ask."""
    model_page.refresh(client, name)
    snapshot.refresh(client, name)


def _rivals(client: MlflowClient, name: str, number: str) -> tuple[ModelVersion | None, ModelVersion | None]:
    """The champion and the version to judge, as far as there are such."""
    challenger = versions.aliased(client, name, number) or (
        None if number == versions.CHALLENGER else versions.version(client, name, number)
    )
    return versions.aliased(client, name, versions.CHAMPION), challenger


def _numbers(rivals: tuple[ModelVersion | None, ModelVersion | None]) -> list[str | None]:
    return [str(rival.version) if rival else None for rival in rivals]


def _decided(client: MlflowClient, name: str, params: Params, number: str, reason: str) -> Event | None:
    """What was judged and carried out; None if the rivals were no longer the same when it came to that. Judging takes
    downloads and inference, and so the registry is locked for carrying it out alone."""
    champion, challenger = rivals = _rivals(client, name, number)
    if challenger is None and champion is None:
        raise BadInput(f"{name} has no version to judge: run `dvc repro` to train and register one")
    if challenger is None or (champion and champion.version == challenger.version):
        return _unchanged(champion, "no challenger waits" if challenger is None else "it is the champion already")
    verdict = judge(client, challenger, champion, _unseen(name), params)
    waits = verdict.promote and champion is not None and params.gate.approval == "person"
    with versions.locked():
        if _numbers(_rivals(client, name, number)) != _numbers(rivals):
            return None
        return _carry_out(client, (champion, challenger), verdict, waits, reason)


def _carry_out(
    client: MlflowClient, rivals: tuple[ModelVersion | None, ModelVersion], verdict: Verdict, waits: bool, reason: str
) -> Event:
    champion, challenger = rivals
    if verdict.promote and not waits:
        return history.crown(client, challenger, verdict, reason)
    previous = str(champion.version) if champion else None
    word: Happening = "waits" if waits else "kept" if verdict.kept else "refused"
    return history.record(client, challenger, word, previous, reason, verdict=verdict)


def promote_if_new(client: MlflowClient, name: str, params: Params) -> Event:
    """As :func:`promote`, for a challenger that was never judged, or not on what is held out now, or refused for what
    may pass or by other rules than params.yaml has now; any other refusal and a rollback are not argued with. To be
    judged again on the same images is no new look at them."""
    challenger = versions.aliased(client, name, versions.CHALLENGER)
    verdict = history.verdict(challenger) if challenger else None
    if verdict is None or challenger is None or verdict.may_pass or _was_cut_off(client, challenger, verdict):
        return promote(client, name, params)
    if verdict.budget and verdict.budget.held_out != _unseen(name).held.digest:
        return promote(client, name, params)
    if not verdict.promote and _changed(verdict.rules, params) and not _was_undone(client, challenger):
        return promote(client, name, params)
    reason = f"version {challenger.version} was judged before ({verdict.reason}); `digits promote` judges it again"
    return _unchanged(versions.aliased(client, name, versions.CHAMPION), reason)


def _changed(rules: dict[str, Any], params: Params) -> bool:
    """Whether the gate has other rules now; those that it did not have then, and who says yes, do not count."""
    now = gate.as_judged(params.gate, params.gate.allowed(params.named, params.dataset))
    return any(now[name] != then for name, then in rules.items() if name in now and not name.startswith("approval"))


def _was_undone(client: MlflowClient, version: ModelVersion) -> bool:
    """Whether a person rolled the version back."""
    events = history.events(client, version.name)
    return any(event.event == "rolled back" and event.previous == str(version.version) for event in events)


def _was_cut_off(client: MlflowClient, version: ModelVersion, verdict: Verdict) -> bool:
    """Whether a promotion was decided and written down, and the alias never moved, though it waits for nobody."""
    decided = any(
        event.event in ("promoted", "waits") and event.version == str(version.version)
        for event in history.events(client, version.name)
    )
    return verdict.promote and not decided


def approve(client: MlflowClient, name: str, number: str, reason: str) -> Event:
    """Make the version champion that passed the gate and waits for a person's yes; who says it, and why, is kept.

    :class:`BadInput` if it does not wait, or the champion is another one than it was judged against.
    """
    with versions.locked():
        version, champion = versions.version(client, name, number), versions.champion(client, name)
        last = history.last_judged(history.events(client, name), str(version.version))
        if last is None or last.event != "waits" or last.verdict is None:
            raise BadInput(f"{name} version {version.version} waits for nobody: `digits history` says what was decided")
        if last.previous != str(champion.version):
            raise BadInput(
                f"{name} version {version.version} was judged against version {last.previous}, and champion is "
                f"{champion.version} now: `digits promote {version.version}` judges it again"
            )
        event = history.crown(client, version, last.verdict, reason)
    _refresh(client, name)
    return event


def _unchanged(champion: ModelVersion | None, reason: str) -> Event:
    return Event(event="unchanged", version=str(champion.version) if champion else None, reason=reason)


def _unseen(name: str) -> Unseen:
    """The workspace's test and recent splits; :class:`BadInput` if they are another data set's than the model's, or
    were not made of what lies in data/raw."""
    manifest: dict[str, Any] = files.read_json(places.MANIFEST) if places.MANIFEST.is_file() else {"dataset": "no data"}
    held = manifest["dataset"]
    if versions.model_name(held) != name:
        raise BadInput(f"data/ holds {held}, which cannot judge {name}: put the workspace on its data set, `dvc repro`")
    test, recent = splits.load(places.PROCESSED / "test"), splits.load(places.PROCESSED / "recent")
    expected = manifest.get("digests", {}).get("test")
    splits.check(places.PROCESSED / "test")
    if expected and expected != splits.digests(places.PROCESSED / "test"):
        raise BadInput(f"{places.PROCESSED}/test is not what {places.RAW} holds: run `dvc repro`, then judge")
    return Unseen(test, recent, held_out.of(test, recent))


def judge(
    client: MlflowClient,
    challenger: ModelVersion,
    champion: ModelVersion | None,
    unseen: Unseen,
    params: Params,
) -> Verdict:
    """The gate's verdict with every number, and the digests of the images it rests on: ``unseen`` test and recent. The
    look at them is paid for before it is taken. :class:`BadInput` if the challenger is not this pipeline's."""
    versions.check_ours(challenger)
    name, rules, allowed = challenger.name, params.gate, params.gate.allowed(params.named, params.dataset)
    held, (events, whole) = unseen.held, history.read(client, name)
    model = challenger.tags["onnx_sha256"]
    with versions.locked():
        book, look, fresh = ledger.look(client, name, held, model, rules.look_share, events)
    of = forms.check(client, challenger, champion)
    judged = gate.Judged(held.labels, len(held.labels) - len(unseen.test.labels), fresh, of.classes)
    in_use = str(champion.version) if champion else None
    formers, notes = contenders.formers(client, challenger, in_use, events, unseen)
    if not whole:
        notes.append(wording.HISTORY_NOT_WHOLE)
    candidate = contenders.candidate(client, challenger, champion, unseen)
    verdict = gate.decide(
        judged, candidate, formers, rules, allowed, book.budget(look, rules, allowed.loss), _stated(events)
    )
    if champion:
        rivals = {"the champion's": artifacts.onnx_file(client, champion)}
        if formers and formers[0].version != in_use:
            first = versions.version(client, name, formers[0].version)
            rivals["the first model's"] = artifacts.onnx_file(client, first)
        onnx = artifacts.onnx_file(client, challenger)
        verdict = triggers.applied(verdict, onnx, rivals, unseen.test, params.named, rules)
    margin = seed_noise.noted(client, name, challenger.tags.get("fitted", ""))
    if margin:
        notes.append(f"the seed alone moves the accuracy of this recipe by up to {wording.points(margin)} points")
    return verdict.model_copy(
        update={
            "notes": (*verdict.notes, *notes),
            "test_images": len(unseen.test.labels),
            "recent_images": judged.recent,
            "test_sha256": splits.digests(places.PROCESSED / "test"),
            "recent_sha256": splits.digests(places.PROCESSED / "recent"),
        }
    )


def _stated(events: list[Event]) -> float | None:
    """What was stated of the latest champion."""
    said = [event.verdict.stated_accuracy for event in events if event.event == "promoted" and event.verdict]
    return said[-1] if said else None


def rollback(client: MlflowClient, name: str, reason: str = "") -> Event:
    """Return to the previous champion and prove it: it must answer its pinned batch as on the day it was registered.

    ``reason`` is kept in the history. Returns the event that was written. :class:`BadInput` if there is no earlier
    champion, or it fails the proof; the champion in use then stays.
    """
    while (event := _undone(client, name, reason)) is None:
        pass  # somebody else's change came in between
    _refresh(client, name)
    return event


def _undone(client: MlflowClient, name: str, reason: str) -> Event | None:
    """What was proven and undone; None if the history had gone on when it came to that, as in :func:`_decided`."""
    champion, events = versions.champion(client, name), history.events(client, name)
    number = history.previous_champion(events)
    if number is None:
        raise BadInput(f"{name} has had no champion before version {champion.version}: there is nothing to undo")
    version = versions.version(client, name, number)
    proof = prove(client, version)
    with versions.locked():
        if history.events(client, name) != events:
            return None
        return history.reinstate(client, version, str(champion.version), proof, reason)


def prove(client: MlflowClient, version: ModelVersion) -> Proof:
    """Run a version on its pinned batch; :class:`BadInput` unless it answers as it did when registered."""
    artifacts.check(client, version)
    onnx = artifacts.onnx_file(client, version)
    with np.load(artifacts.file(client, version, places.VERSION_PINNED), allow_pickle=False) as pinned:
        images, recorded = pinned["images"], pinned["probabilities"]
    answered = inference.probabilities(onnx, images)
    difference = float(np.abs(answered - recorded).max())
    if difference > TOLERANCE or (answered.argmax(axis=1) != recorded.argmax(axis=1)).any():
        raise BadInput(
            f"{version.name} version {version.version} no longer answers its pinned batch as it did when registered "
            f"(largest difference {difference:.2g}): the champion stays; restore its files or retrain"
        )
    return Proof(images=len(images), largest_difference=difference, tolerance=TOLERANCE)
