"""Does the challenger become champion, and how is that undone? The gate's verdict, carried out in the registry."""

import time

import numpy as np
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from pipeline.base import files, places
from pipeline.base.errors import BadInput
from pipeline.base.params import Params
from pipeline.data import splits
from pipeline.data.splits import Split
from pipeline.learning import inference
from pipeline.registry import artifacts, gate, history, seed_noise, snapshot, triggers, versions
from pipeline.registry.records import Event, Proof, Verdict

TOLERANCE = 1e-5  # of a pinned probability, as between Keras and ONNX
TIMED_RUNS = 200


def promote(
    client: MlflowClient, name: str, params: Params, number: str = versions.CHALLENGER, reason: str = ""
) -> Event:
    """Put the challenger (or version ``number``) through the gate against the champion; carry the verdict out.

    ``reason`` is a person's, kept in the history. Returns the event written to the history, or one that says
    ``unchanged`` where there is nothing to judge. :class:`BadInput` if there is no such version.
    """
    while (event := _decided(client, name, params, number, reason)) is None:
        pass  # somebody else's change came in between
    snapshot.refresh(client, name)  # so that `digits champion` need not ask
    return event


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
    with versions.locked():
        if _numbers(_rivals(client, name, number)) != _numbers(rivals):
            return None
        return _carry_out(client, challenger, champion, verdict, reason)


def _carry_out(
    client: MlflowClient, challenger: ModelVersion, champion: ModelVersion | None, verdict: Verdict, reason: str
) -> Event:
    if verdict.promote:
        return history.crown(client, challenger, verdict, reason)
    previous = str(champion.version) if champion else None
    return history.record(client, challenger, "refused", previous, reason, verdict=verdict)


def promote_if_new(client: MlflowClient, name: str, params: Params) -> Event:
    """As :func:`promote`, for a challenger that was never judged; a refusal or a rollback is not argued with."""
    challenger = versions.aliased(client, name, versions.CHALLENGER)
    verdict = history.verdict(challenger) if challenger else None
    if verdict is None or challenger is None or _was_cut_off(client, challenger, verdict):
        return promote(client, name, params)
    reason = f"version {challenger.version} was judged before ({verdict.reason}); `digits promote` judges it again"
    return _unchanged(versions.aliased(client, name, versions.CHAMPION), reason)


def _was_cut_off(client: MlflowClient, version: ModelVersion, verdict: Verdict) -> bool:
    """Whether a promotion was decided and written down, and the alias never moved."""
    took_effect = any(
        event.event == "promoted" and event.version == str(version.version)
        for event in history.events(client, version.name)
    )
    return verdict.promote and not took_effect


def _unchanged(champion: ModelVersion | None, reason: str) -> Event:
    return Event(event="unchanged", version=str(champion.version) if champion else None, reason=reason)


def _unseen(name: str) -> tuple[Split, Split]:
    """The workspace's test and recent splits; :class:`BadInput` if they are another data set's than the model's."""
    held = files.read_json(places.MANIFEST)["dataset"] if places.MANIFEST.is_file() else "no data"
    if versions.model_name(held) != name:
        raise BadInput(f"data/ holds {held}, which cannot judge {name}: put the workspace on its data set, `dvc repro`")
    return splits.load(places.PROCESSED / "test"), splits.load(places.PROCESSED / "recent")


def judge(
    client: MlflowClient,
    challenger: ModelVersion,
    champion: ModelVersion | None,
    unseen: tuple[Split, Split],
    params: Params,
) -> Verdict:
    """The gate's verdict with every number, and the digests of the images it rests on: ``unseen`` test and recent."""
    test, recent = unseen
    rival = _candidate(client, champion, test, recent) if champion else None
    candidate = _candidate(client, challenger, test, recent)
    margin = seed_noise.noted(client, challenger.name, challenger.tags.get("fitted", ""))
    verdict = gate.decide(np.asarray(test.labels), np.asarray(recent.labels), candidate, rival, params.gate, margin)
    if champion:
        onnx, rival_onnx = (artifacts.onnx_file(client, version) for version in (challenger, champion))
        verdict = triggers.applied(verdict, onnx, rival_onnx, test, params.dataset, params.gate)
    digests = {
        f"{name}_sha256": {part: files.sha256_array(array) for part, array in split._asdict().items()}
        for name, split in (("test", test), ("recent", recent))
    }
    return verdict.model_copy(update={"test_images": len(test.labels), "recent_images": len(recent.labels), **digests})


def _candidate(client: MlflowClient, version: ModelVersion, test: Split, recent: Split) -> gate.Candidate:
    artifacts.check(client, version)
    onnx = artifacts.onnx_file(client, version)
    model = inference.open_model(onnx)
    predicted, on_recent = (inference.run(model, split.images).argmax(axis=1) for split in (test, recent))
    one, durations = np.ascontiguousarray(test.images[:1]), []
    for _ in range(TIMED_RUNS):
        began = time.perf_counter()
        inference.run(model, one)
        durations.append(time.perf_counter() - began)
    latency_ms, gap = 1000 * float(np.median(durations)), versions.metrics(version)["gap"]
    return gate.Candidate(predicted, onnx.stat().st_size / 1e6, latency_ms, gap, on_recent)


def rollback(client: MlflowClient, name: str, reason: str = "") -> Event:
    """Return to the previous champion and prove it: it must answer its pinned batch as on the day it was registered.

    ``reason`` is kept in the history. Returns the event that was written. :class:`BadInput` if there is no earlier
    champion, or it fails the proof; the champion in use then stays.
    """
    while (event := _undone(client, name, reason)) is None:
        pass  # somebody else's change came in between
    snapshot.refresh(client, name)
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
