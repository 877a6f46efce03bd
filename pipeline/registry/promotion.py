"""Does the challenger become champion, and how is that undone? The gate's verdict, carried out in the registry."""

import json
import time
from typing import Any

import numpy as np
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from pipeline.base import files
from pipeline.base.errors import BadInput
from pipeline.base.params import Params
from pipeline.data import splits
from pipeline.data.splits import Split
from pipeline.learning import inference
from pipeline.registry import gate, versions

PINNED = "extra_files/pinned.npz"  # in a version's files: a batch of images and what the model answered to it
TOLERANCE = 1e-5  # of a pinned probability, as between Keras and ONNX
TIMED_RUNS = 200


def promote(
    client: MlflowClient, name: str, params: Params, number: str = versions.CHALLENGER, reason: str = ""
) -> dict:
    """Put the challenger (or version ``number``) through the gate against the champion; carry the verdict out.

    ``reason`` is a person's, kept in the history. Returns the event written to the history, or
    ``{"event": "unchanged", …}`` where there is nothing to judge.
    :class:`BadInput` if there is no such version.
    """
    with versions.locked():
        champion = versions.aliased(client, name, versions.CHAMPION)
        challenger = versions.aliased(client, name, number) or (
            None if number == versions.CHALLENGER else versions.version(client, name, number)
        )
        if challenger is None and champion is None:
            raise BadInput(f"{name} has no version to judge: run `dvc repro` to train and register one")
        if challenger is None or (champion and champion.version == challenger.version):
            return _unchanged(champion, "no challenger waits" if challenger is None else "it is the champion already")
        verdict = judge(client, challenger, champion, _unseen(name), params)
        if verdict["promote"]:
            return versions.crown(client, challenger, verdict, **_asked(reason))
        previous = str(champion.version) if champion else None
        return versions.record(
            client, challenger, versions.REFUSED, previous=previous, verdict=verdict, **_asked(reason)
        )


def promote_if_new(client: MlflowClient, name: str, params: Params) -> dict:
    """As :func:`promote`, for a challenger that was never judged; a refusal or a rollback is not argued with."""
    challenger = versions.aliased(client, name, versions.CHALLENGER)
    verdict = json.loads(challenger.tags.get("gate", "null")) if challenger else None
    if verdict is None or challenger is None or _was_cut_off(client, challenger, verdict):
        return promote(client, name, params)
    reason = f"version {challenger.version} was judged before ({verdict['reason']}); `digits promote` judges it again"
    return _unchanged(versions.aliased(client, name, versions.CHAMPION), reason)


def _was_cut_off(client: MlflowClient, version: ModelVersion, verdict: dict) -> bool:
    """Whether a promotion was decided and written down, and the alias never moved."""
    took_effect = any(
        event["event"] == versions.PROMOTED and event["version"] == str(version.version)
        for event in versions.history(client, version.name)
    )
    return bool(verdict["promote"]) and not took_effect


def _asked(reason: str) -> dict[str, str]:
    return {"reason": reason} if reason else {}


def _unchanged(champion: ModelVersion | None, reason: str) -> dict:
    return {"event": "unchanged", "version": champion and str(champion.version), "reason": reason}


def _unseen(name: str) -> tuple[Split, Split]:
    """The workspace's test and recent splits; :class:`BadInput` if they are another data set's than the model's."""
    manifest = splits.RAW / "manifest.json"
    held = files.read_json(manifest)["dataset"] if manifest.is_file() else "no data"
    if versions.model_name(held) != name:
        raise BadInput(f"data/ holds {held}, which cannot judge {name}: put the workspace on its data set, `dvc repro`")
    return splits.load(splits.PROCESSED / "test"), splits.load(splits.PROCESSED / "recent")


def judge(
    client: MlflowClient,
    challenger: ModelVersion,
    champion: ModelVersion | None,
    unseen: tuple[Split, Split],
    params: Params,
) -> dict:
    """The gate's verdict with every number, and the digests of the images it rests on: ``unseen`` test and recent."""
    test, recent = unseen
    rival = _candidate(client, champion, test, recent) if champion else None
    candidate = _candidate(client, challenger, test, recent)
    margin = versions.noise_margin(client, challenger.name, challenger.tags.get("recipe", ""))
    verdict = gate.decide(np.asarray(test.labels), np.asarray(recent.labels), candidate, rival, params.gate, margin)
    digests = {
        f"{name}_sha256": {part: files.sha256_array(array) for part, array in split._asdict().items()}
        for name, split in (("test", test), ("recent", recent))
    }
    return {**verdict.as_dict(), "test_images": len(test.labels), "recent_images": len(recent.labels), **digests}


def _candidate(client: MlflowClient, version: ModelVersion, test: Split, recent: Split) -> gate.Candidate:
    onnx = versions.onnx_file(client, version)
    model = inference.open_model(onnx)
    predicted, on_recent = (inference.run(model, split.images).argmax(axis=1) for split in (test, recent))
    one, durations = np.ascontiguousarray(test.images[:1]), []
    for _ in range(TIMED_RUNS):
        began = time.perf_counter()
        inference.run(model, one)
        durations.append(time.perf_counter() - began)
    latency_ms, gap = 1000 * float(np.median(durations)), versions.metrics(version)["gap"]
    return gate.Candidate(predicted, onnx.stat().st_size / 1e6, latency_ms, gap, on_recent)


def rollback(client: MlflowClient, name: str, reason: str = "") -> dict:
    """Return to the previous champion and prove it: it must answer its pinned batch as on the day it was registered.

    ``reason`` is kept in the history. Returns the event that was written. :class:`BadInput` if there is no earlier
    champion, or it fails the proof; the champion in use then stays.
    """
    with versions.locked():
        champion = versions.champion(client, name)
        number = versions.previous_champion(versions.history(client, name))
        if number is None:
            raise BadInput(f"{name} has had no champion before version {champion.version}: there is nothing to undo")
        version = versions.version(client, name, number)
        return versions.reinstate(
            client, version, str(champion.version), proof=prove(client, version), **_asked(reason)
        )


def prove(client: MlflowClient, version: ModelVersion) -> dict[str, Any]:
    """Run a version on its pinned batch: image count, largest difference of a probability, equal answers."""
    onnx = versions.onnx_file(client, version)
    with np.load(versions.download(client, version) / PINNED, allow_pickle=False) as pinned:
        images, recorded = pinned["images"], pinned["probabilities"]
    answered = inference.probabilities(onnx, images)
    difference = float(np.abs(answered - recorded).max())
    if difference > TOLERANCE or (answered.argmax(axis=1) != recorded.argmax(axis=1)).any():
        raise BadInput(
            f"{version.name} version {version.version} no longer answers its pinned batch as it did when registered "
            f"(largest difference {difference:.2g}): the champion stays; restore its files or retrain"
        )
    return {"images": len(images), "largest_difference": difference, "tolerance": TOLERANCE}
