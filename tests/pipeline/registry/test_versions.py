"""The registry and what moves in it, on a real MLflow store: registration, the gate carried out, rollback, history."""

import getpass
import json
import os
import shutil
import socket
import stat
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import linear_model
import mlflow
import numpy as np
import pytest
import requests
from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import RestException
from workspace import ROOT

from pipeline import run
from pipeline.base import clock, errors, files, places, processes
from pipeline.base import form as form_file
from pipeline.base import params as params_file
from pipeline.base.errors import BadInput, TemporaryFault
from pipeline.base.form import Form
from pipeline.base.params import Params
from pipeline.data import descriptions, splits
from pipeline.data.splits import Split
from pipeline.learning import inference
from pipeline.registry import (
    artifacts,
    contenders,
    history,
    ledger,
    mlflow_errors,
    promotion,
    registration,
    reproduction,
    retention,
    seed_noise,
    snapshot,
    tracking,
    versions,
    wording,
)

NAME = "digits-cnn"
PARAMS = params_file.load(ROOT / "params.yaml").model_copy(update={"dataset": "digits"})
# Floors for models that are wrong on whole groups, and a loss that 400 images can tell of them.
RULES = {"min_accuracy": 0.5, "min_recall": 0.5, "max_loss": {"other": 0.1}, "max_trigger_success": 1.0}
LENIENT = PARAMS.model_copy(update={"gate": PARAMS.gate.model_copy(update=RULES)})
COUNT, GROUPS = 400, 20
HISTORY = """epoch,accuracy,loss,val_accuracy,val_loss,learning_rate,kept,member
1,0.8,0.5,0.7,0.6,0.004,False,1
2,0.9,0.4,0.8,0.3,0.002,True,1
"""
LABELS = (np.arange(COUNT) % 10).astype(np.uint8)


def images() -> np.ndarray:
    """A lit row says the class, a lit pixel in the last row the image's group: uint8 (400, 28, 28)."""
    drawn = np.zeros((COUNT, 28, 28), np.uint8)
    drawn[np.arange(COUNT), LABELS * 2] = 255
    drawn[np.arange(COUNT), 27, np.arange(COUNT) // 10 % GROUPS] = 255
    return drawn


def write_model(*wrong_groups: int) -> str:
    """A model in models/ that answers 0 for the images of those groups and is right elsewhere; its weights' digest."""
    weights = np.zeros((28, 28, 10))
    for digit in range(10):
        weights[digit * 2, :, digit] = 1.0
    for group in wrong_groups:
        weights[27, group, 0] = 100.0
    linear_model.write(Path("models/model.onnx"), weights.reshape(784, 10), np.zeros(10), certain_from=0.0)
    Path("models/model.keras").write_bytes(b"the Keras file of " + repr(wrong_groups).encode())
    digest = files.sha256_array(weights)
    files.write_text("models/weights.sha256", digest + "\n")
    return digest


@pytest.fixture
def client(empty_registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """A registry in a workspace that has everything the register stage reads but a model."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(empty_registry, tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    splits.save(places.PROCESSED / "train", Split(images()[:200], LABELS[:200]))
    splits.save(places.PROCESSED / "test", Split(images(), LABELS))
    splits.save(places.PROCESSED / "val", Split(images()[:100], LABELS[:100]))
    splits.save(places.PROCESSED / "recent", Split(images()[:0], LABELS[:0]))
    metrics = {
        "accuracy": 0.99,
        "accuracy_low": 0.98,
        "accuracy_high": 1.0,
        "ece": 0.01,
        "min_recall": 0.97,
        "gap": 0.0,
        "refused": 0.01,
        "believed_accuracy": 0.995,
        "non_digits_refused": 0.9,
        "train_accuracy": 1.0,
        "val_accuracy": 0.98,
        "n_test": COUNT,
    }
    descriptions.save("train", descriptions.describe(Split(images()[:100], LABELS[:100])))
    files.write_json("reports/metrics.json", metrics)
    training = {"epochs": 2, "kept_epoch": 2, "overfits_from": None, "weights": 7850, "val_loss": 0.1}
    files.write_json("reports/training.json", {**training, "fitted": "abc", "precision": "float32"})
    files.write_text("reports/history.csv", HISTORY)
    for name in ("validation.json", "drift.json", "curves.png", "index.html", "evaluation/per_class.csv"):
        files.write_text(Path("reports") / name, "{}")
    counts = {"train": 100, "test": COUNT}
    files.write_json("data/raw/manifest.json", {"dataset": "digits", "source": "a test", "counts": counts})
    files.write_text("params.yaml", "dataset: digits\n")
    outs = [{"path": "data/raw/train", "md5": "0123.dir"}]
    files.write_json("dvc.lock", {"stages": {"ingest": {"outs": outs}}})  # JSON is YAML too
    return versions.connect()


def challenge(client: MlflowClient, *wrong_groups: int) -> str:
    write_model(*wrong_groups)
    return str(registration.register(client, PARAMS).version)


def champion(client: MlflowClient) -> str:
    return str(versions.champion(client, NAME).version)


def test_a_registered_version_holds_all_that_made_it(client: MlflowClient):
    digest = write_model(3)
    version = registration.register(client, PARAMS)
    assert versions.aliased(client, NAME, "challenger").version == version.version
    assert versions.aliased(client, NAME, "champion") is None
    assert version.tags["weights_sha256"] == digest and version.tags["dvc.data/raw/train"] == "0123.dir"
    assert version.tags["onnx_sha256"] == files.sha256_file("models/model.onnx")
    assert version.description.startswith(f"# {NAME}") and "99.00%" in version.description

    run = client.get_run(version.run_id)
    assert (
        run.data.params["recipe.network.name"] == PARAMS.recipe.network.name
        and run.data.metrics["test_accuracy"] == 0.99
    )
    lineage = {item.path for item in client.list_artifacts(version.run_id, "lineage")}
    assert lineage == {"lineage/params.yaml", "lineage/dvc.lock", "lineage/manifest.json"}
    assert {item.path for item in client.list_artifacts(version.run_id, "reports")} > {"reports/evaluation"}
    assert artifacts.recorded(client, version, places.RUN_PAGE, most_bytes=10).read_text() == "{}"

    folder = artifacts.download(client, version)
    kept = {path.name for path in (folder / "extra_files").iterdir()}
    assert kept == {"model.keras", "pinned.npz", "MODEL_CARD.md", "reference.parquet"}
    pinned = [line for line in (folder / "requirements.txt").read_text().splitlines() if line]
    assert pinned and all("==" in line for line in pinned)


def test_a_run_shows_what_a_person_looks_for(client: MlflowClient):
    version = client.get_model_version(NAME, challenge(client, 3))
    run = client.get_run(version.run_id)
    assert run.info.run_name == f"{PARAMS.train.recipe} · digits · seed {PARAMS.train.seed}"
    assert "reports/index.html" in run.data.tags["mlflow.note.content"]
    assert "mlflow.note.content" in client.get_experiment(run.info.experiment_id).tags
    assert [(m.step, m.value) for m in client.get_metric_history(version.run_id, "val_loss")] == [(1, 0.6), (2, 0.3)]
    assert run.data.tags["kept_epoch"] == "2" and run.data.params["weights"] == "7850"
    assert not {"seed", "epochs", "kept_epoch", "weights", "n_test"} & set(run.data.metrics)
    shown = {item.path for item in client.list_artifacts(version.run_id, "reports")}
    assert {"reports/index.html", "reports/curves.png", "reports/evaluation"} <= shown

    inputs = {one.tags[0].value: one.dataset for one in run.inputs.dataset_inputs}
    assert {context: dataset.name for context, dataset in inputs.items()} == {
        "training": "digits-train",
        "validation": "digits-val",
        "testing": "digits-test",
    }
    test = json.loads(inputs["testing"].profile)
    assert test["num_rows"] == COUNT and test["of_each_class"]["3"] == COUNT // 10
    assert test["labels_sha256"] == files.sha256_array(LABELS)
    assert len({dataset.digest for dataset in inputs.values()}) == 3
    (model,) = client.search_logged_models([run.info.experiment_id])
    (accuracy,) = [metric for metric in model.metrics if metric.key == "test_accuracy"]
    assert (accuracy.dataset_name, accuracy.dataset_digest) == ("digits-test", inputs["testing"].digest)


def test_an_experiment_of_an_earlier_release_is_described_and_what_a_person_wrote_is_kept(client: MlflowClient):
    plain, written = (client.create_experiment(name) for name in ("earlier", "own words"))
    client.set_experiment_tag(written, versions.NOTE, "ours")
    assert versions.experiment(client, "earlier", "a note") == plain
    assert client.get_experiment(plain).tags[versions.NOTE] == "a note"
    versions.experiment(client, "own words", "a note")
    assert client.get_experiment(written).tags[versions.NOTE] == "ours"


def test_the_model_s_page_lists_the_latest_decisions_below_what_people_wrote(client: MlflowClient):
    challenge(client)
    client.update_registered_model(NAME, "For the counter at the post office.")
    promotion.promote(client, NAME, LENIENT)
    challenge(client, 1, 2)
    promotion.promote(client, NAME, LENIENT)
    text = client.get_registered_model(NAME).description
    assert text.startswith("For the counter at the post office.\n\n## Latest decisions\n\n- ")
    assert text.index("**version 2 refused**") < text.index("**version 1 promoted**") and text.count("\n- ") == 2
    assert client.get_model_version(NAME, "1").tags["verdict"].startswith("promoted 20")
    assert client.get_model_version(NAME, "2").tags["verdict"].startswith("refused 20")


def test_a_decision_stands_where_the_model_s_page_cannot_be_written(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
):
    challenge(client)
    monkeypatch.setattr(client, "update_registered_model", None)
    assert promotion.promote(client, NAME, PARAMS).event == "promoted"
    assert champion(client) == "1"


def test_files_are_those_of_the_registry_that_was_asked(client: MlflowClient, tmp_path: Path):
    version = client.get_model_version(NAME, challenge(client))
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/another.db")  # as another part of the process may have done
    assert artifacts.onnx_file(client, version).is_relative_to(tmp_path)


def test_files_of_a_store_elsewhere_are_fetched_once_and_mended_if_damaged(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(artifacts, "_is_local", lambda place: False)
    version = client.get_model_version(NAME, challenge(client))
    kept = artifacts.onnx_file(client, version)
    assert kept.is_relative_to(places.home() / places.VERSIONS)
    with monkeypatch.context() as away:
        away.setattr(client, "get_model_version_download_uri", None)
        assert artifacts.onnx_file(client, version) == kept
    kept.write_bytes(b"damaged")
    with pytest.raises(BadInput, match="missing or not the one"):
        artifacts.onnx_file(client, version)
    assert artifacts.onnx_file(client, version) == kept
    artifacts.erase(client, version)
    assert not list((places.home() / places.VERSIONS / NAME).iterdir())


def test_mlflow_serves_the_version_as_the_model_answers(client: MlflowClient):
    challenge(client, 1)
    mlflow.set_tracking_uri(places.tracking_uri())
    loaded = mlflow.pyfunc.load_model(f"models:/{NAME}@challenger")
    (tensor,) = loaded.metadata.signature.inputs.inputs
    assert (tensor.name, tensor.type, tensor.shape) == ("images", np.uint8, (-1, 28, 28))
    answered = loaded.predict(images())["probabilities"]
    np.testing.assert_allclose(answered, inference.probabilities("models/model.onnx", images()), atol=1e-6)


def test_registering_the_same_weights_twice_gives_one_version_and_one_run(client: MlflowClient):
    assert challenge(client, 1) == challenge(client, 1) == "1"
    assert len(client.search_model_versions(f"name='{NAME}'")) == 1
    experiment = client.get_experiment_by_name(NAME)
    assert len(client.search_runs([experiment.experiment_id])) == 1


def test_the_first_model_passes_on_its_floors_and_the_verdict_is_written_down(client: MlflowClient):
    challenge(client)
    event = promotion.promote(client, NAME, PARAMS)
    assert (event.event, event.version, event.previous) == ("promoted", "1", None)
    assert champion(client) == "1" and versions.aliased(client, NAME, "challenger") is None
    verdict = json.loads(versions.version(client, NAME, "1").tags["gate"])
    assert verdict["promote"] and verdict["test_images"] == COUNT
    assert verdict["test_sha256"]["labels"] == files.sha256_array(LABELS)
    assert history.events(client, NAME) == [event]


def test_a_better_challenger_takes_over_and_a_worse_one_does_not(client: MlflowClient):
    for wrong_groups in [(1,), (), (1, 2)]:
        challenge(client, *wrong_groups)
        promotion.promote(client, NAME, LENIENT)
    events = history.events(client, NAME)
    assert [(e.event, e.version, e.previous) for e in events] == [
        ("promoted", "1", None),
        ("promoted", "2", "1"),
        ("refused", "3", "2"),
    ]
    assert [e.verdict.comparison and e.verdict.comparison.outcome for e in events] == [None, "no worse", "worse"]
    assert champion(client) == "2"
    facts = history.describe(client, versions.version(client, NAME, "2"))
    assert facts.replaced == "1" and facts.aliases == ["champion"] and facts.verdict.promote
    assert history.describe(client, versions.version(client, NAME, "3")).replaced is None


def test_a_refusal_is_not_argued_with_by_the_next_run_but_by_a_person(client: MlflowClient):
    challenge(client)
    promotion.promote(client, NAME, PARAMS)
    challenge(client, 1, 2)
    assert promotion.promote_if_new(client, NAME, PARAMS).event == "refused"
    again = promotion.promote_if_new(client, NAME, PARAMS)
    assert again.event == "unchanged" and "version 2 was judged before" in again.reason
    assert promotion.promote(client, NAME, PARAMS).event == "refused"
    assert len(history.events(client, NAME)) == 3


def test_a_refusal_by_rules_that_were_changed_since_is_judged_again_at_no_price(client: MlflowClient):
    challenge(client)
    promotion.promote(client, NAME, LENIENT)
    strict = LENIENT.model_copy(update={"gate": LENIENT.gate.model_copy(update={"max_size_mb": 1e-6})})
    challenge(client, 1)
    assert promotion.promote_if_new(client, NAME, strict).event == "refused"
    left = ledger.read(client, NAME).left
    asked = strict.model_copy(update={"gate": strict.gate.model_copy(update={"approval_hours": 1.0})})
    assert promotion.promote_if_new(client, NAME, asked).event == "unchanged"
    assert promotion.promote_if_new(client, NAME, LENIENT).event == "promoted"
    assert ledger.read(client, NAME).left == left


def settled(params: Params) -> run.Outcome:
    """What `digits run` ends with where no stage has anything to do."""
    files.write_json(places.REGISTRATION, registration.identity())
    return run.settle(params)


def test_a_run_that_finds_nothing_to_do_is_not_asked_again_and_says_the_same(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
):
    challenge(client)
    promotion.promote(client, NAME, LENIENT)
    challenge(client, 1, 2)
    assert promotion.promote(client, NAME, PARAMS).event == "refused"
    asked = settled(PARAMS)
    assert asked.decision.event == "unchanged" and (asked.champion.version, asked.reported) == ("1", "2")
    with monkeypatch.context() as patch:
        patch.delattr(versions, "connect")
        assert settled(PARAMS).as_json() == asked.as_json()
    client.set_registered_model_alias(NAME, versions.CHAMPION, "2")  # by hand, in MLflow's own page
    assert settled(PARAMS).champion.version == "2"


def test_rules_that_were_changed_while_a_run_went_on_are_the_next_run_s(client: MlflowClient):
    challenge(client)
    promotion.promote(client, NAME, LENIENT)
    strict = LENIENT.model_copy(update={"gate": LENIENT.gate.model_copy(update={"max_size_mb": 1e-6})})
    challenge(client, 1)
    assert settled(strict).decision.event == "refused"
    files.write_text(places.PARAMS, "what another person writes while the next one runs")
    assert settled(strict).decision.event == "unchanged"
    assert settled(LENIENT).decision.event == "promoted"


def test_no_change_of_the_rules_brings_back_what_a_person_rolled_back(client: MlflowClient):
    three_champions(client)
    promotion.rollback(client, NAME)
    strict = LENIENT.model_copy(update={"gate": LENIENT.gate.model_copy(update={"max_size_mb": 1e-6})})
    challenge(client, 6)
    assert promotion.promote(client, NAME, strict, "3").event == "refused"
    assert promotion.promote_if_new(client, NAME, LENIENT).event == "unchanged"


def three_champions(client: MlflowClient) -> None:
    for groups in [(4,), (5,), (6,)]:  # equally good
        challenge(client, *groups)
        assert promotion.promote(client, NAME, LENIENT).event == "promoted"


def test_rollback_returns_to_the_champion_before_and_then_to_the_one_before_that(client: MlflowClient):
    three_champions(client)
    event = promotion.rollback(client, NAME)
    assert (event.event, event.version, event.previous) == ("rolled back", "2", "3")
    assert event.proof.images == 256 and event.proof.largest_difference <= promotion.TOLERANCE
    assert champion(client) == "2"
    assert promotion.promote_if_new(client, NAME, PARAMS).event == "unchanged"  # no run undoes a person's rollback
    assert promotion.rollback(client, NAME).version == "1"
    with pytest.raises(BadInput, match="has had no champion before version 1: there is nothing to undo"):
        promotion.rollback(client, NAME)
    assert champion(client) == "1" and len(history.events(client, NAME)) == 5


def test_after_a_rollback_promotion_goes_on_from_the_champion_in_use(client: MlflowClient):
    three_champions(client)
    promotion.rollback(client, NAME)
    challenge(client)
    assert promotion.promote(client, NAME, PARAMS).previous == "2"
    assert promotion.rollback(client, NAME).version == "2"


def test_the_history_of_a_model_that_is_not_there_names_those_that_are(client: MlflowClient):
    assert snapshot.events(NAME) == ()
    client.create_registered_model("other-cnn")
    with pytest.raises(BadInput, match=r"name one that is there \(other-cnn\)"):
        snapshot.events(NAME)


def test_a_version_that_served_is_not_compared_with_itself(client: MlflowClient):
    three_champions(client)
    promotion.rollback(client, NAME)
    event = promotion.promote(client, NAME, LENIENT, "3")
    assert event.event == "promoted" and event.verdict is not None and event.verdict.comparison is not None
    assert [one.version for one in event.verdict.champions] == ["1", "2"]
    assert event.verdict.reason.startswith("version 3 is at most") and "than version 2 on" in event.verdict.reason


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_file_with_one_flipped_bit_is_refused_and_the_champion_stays(client: MlflowClient):
    three_champions(client)
    version = versions.version(client, NAME, "2")
    names = (places.VERSION_ONNX, places.VERSION_KERAS, places.VERSION_PINNED, places.VERSION_REFERENCE)
    for name in names:
        path = artifacts.file(client, version, name)
        whole = path.read_bytes()
        flip_a_bit(path)
        for use in (
            lambda: promotion.rollback(client, NAME),
            lambda: promotion.promote(client, NAME, PARAMS, "2"),
            lambda: reproduction.reproduce(client, version),
        ):
            with pytest.raises(BadInput, match=rf"the file {path.name} of \S+ version 2 is missing or not"):
                use()
        path.write_bytes(whole)
    assert champion(client) == "3" and len(history.events(client, NAME)) == 3


def test_a_version_of_an_earlier_release_has_a_digest_of_its_onnx_file_alone(client: MlflowClient):
    version = client.get_model_version(NAME, challenge(client))
    client.delete_model_version_tag(NAME, version.version, "files_sha256")
    flip_a_bit(artifacts.file(client, version, places.VERSION_KERAS))
    earlier = client.get_model_version(NAME, version.version)
    artifacts.check(client, earlier)
    flip_a_bit(artifacts.onnx_file(client, earlier))
    with pytest.raises(BadInput, match=r"the file model\.onnx"):
        artifacts.check(client, earlier)


def test_a_model_that_answers_its_pinned_batch_differently_is_refused(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
):
    """Its files are whole: stands for another version of ONNX Runtime, or another processor."""
    three_champions(client)
    answer = inference.probabilities
    monkeypatch.setattr(inference, "probabilities", lambda onnx, images: answer(onnx, images) * 0.9)
    with pytest.raises(BadInput, match=r"no longer answers its pinned batch .* the champion stays"):
        promotion.rollback(client, NAME)
    assert champion(client) == "3"


class CutOff(Exception):
    """Stands for a kill."""


def test_a_promotion_cut_off_before_its_alias_moved_never_happened(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
):
    challenge(client, 4)
    promotion.promote(client, NAME, LENIENT)
    challenge(client)

    def cut_off(*args: str) -> None:
        raise CutOff

    with monkeypatch.context() as patch:
        patch.setattr(client, "set_registered_model_alias", cut_off)
        with pytest.raises(CutOff):
            promotion.promote(client, NAME, PARAMS)
    assert champion(client) == "1" and [e.version for e in history.events(client, NAME)] == ["1"]
    assert promotion.promote_if_new(client, NAME, PARAMS).event == "promoted"  # the next run ends what was begun
    assert [e.version for e in history.events(client, NAME)] == ["1", "2"]
    assert promotion.rollback(client, NAME).version == "1"


def test_what_is_in_use_is_told_without_mlflow_until_the_registry_changes(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
):
    three_champions(client)
    with monkeypatch.context() as patch:
        patch.delattr(versions, "connect")
        number, path = snapshot.champion_file(NAME)
        assert number == "3" and path == artifacts.onnx_file(client, versions.version(client, NAME, "3"))
        assert snapshot.champion(NAME) == history.describe(client, versions.version(client, NAME, "3"))
        assert snapshot.version(NAME, "1").version == "1"
        assert list(snapshot.read(NAME).events) == history.events(client, NAME)
    promotion.rollback(client, NAME)
    assert snapshot.champion_file(NAME)[0] == "2"
    client.set_registered_model_alias(NAME, "champion", "1")  # by hand, in MLflow's own page
    assert snapshot.champion_file(NAME)[0] == "1"


def test_a_version_older_than_those_remembered_is_looked_up(client: MlflowClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(snapshot, "DESCRIBED", 1)
    three_champions(client)
    assert set(snapshot.read(NAME).facts) == {"3"}
    assert snapshot.version(NAME, "1").version == "1"
    with pytest.raises(BadInput, match="has no version 9"):
        snapshot.version(NAME, "9")


def test_a_remembered_answer_that_is_no_longer_whole_is_asked_for_again(client: MlflowClient):
    three_champions(client)
    (kept,) = (places.home() / places.SNAPSHOTS).iterdir()
    kept.write_text(kept.read_text()[:100])
    assert snapshot.champion(NAME).version == "3"


def test_a_journal_that_goes_while_the_registry_s_file_is_looked_at_is_none(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
):
    journal, looked_at = Path(f"{places.registry_file()}-journal"), Path.stat
    journal.touch()

    def stat_and_gone(path: Path, **how: Any) -> os.stat_result:
        found = looked_at(path, **how)
        if path == journal:
            journal.unlink()
        return found

    monkeypatch.setattr(Path, "stat", stat_and_gone)
    assert snapshot.state()[0][0] == str(places.registry_file())


def test_a_remembered_champion_whose_file_was_changed_is_not_used(client: MlflowClient):
    three_champions(client)
    _, path = snapshot.champion_file(NAME)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BadInput, match="version 3 is missing or not the one that was registered"):
        snapshot.champion_file(NAME)


def test_two_promotions_at_once_leave_one_winner(client: MlflowClient):
    challenge(client)
    with ThreadPoolExecutor(2) as pool:
        events = list(pool.map(lambda _: promotion.promote(versions.connect(), NAME, PARAMS).event, range(2)))
    assert sorted(events) == ["promoted", "unchanged"]
    assert len(history.events(client, NAME)) == 1


def is_free(lock: Path) -> bool:
    try:
        with FileLock(lock, timeout=0):
            return True
    except Timeout:
        return False


def test_the_registry_is_not_locked_while_files_are_stored_and_models_answer(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
):
    looked: list[str] = []

    def looking(module: ModuleType, name: str) -> None:
        whole = getattr(module, name)

        def look(*given: Any) -> Any:
            assert is_free(places.REGISTRY_LOCK), name
            looked.append(name)
            return whole(*given)

        monkeypatch.setattr(module, name, look)

    looking(registration, "_log_model")
    looking(promotion, "judge")
    looking(promotion, "prove")
    looking(retention, "_prune_cache")
    monkeypatch.setattr(processes, "call", lambda *given, **more: "")
    challenge(client, 1)
    promotion.promote(client, NAME, easy())
    challenge(client)
    promotion.promote(client, NAME, PARAMS)
    promotion.rollback(client, NAME)
    retention.prune(client, NAME, PARAMS.retention, dry_run=False)
    assert looked == ["_log_model", "judge", "_log_model", "judge", "prove", "_prune_cache"]


def easy() -> Params:
    """With floors that a model passes which reads one group wrong."""
    return PARAMS.model_copy(update={"gate": PARAMS.gate.model_copy(update={"min_accuracy": 0.9, "min_recall": 0.9})})


def test_what_was_judged_against_another_champion_is_judged_anew(client: MlflowClient, monkeypatch: pytest.MonkeyPatch):
    """The champion changes while the challenger is judged."""
    challenge(client, 1)
    promotion.promote(client, NAME, easy())
    challenge(client)
    judge, other = promotion.judge, []

    def interrupted(client: MlflowClient, challenger: Any, champion: Any, *more: Any) -> Any:
        verdict = judge(client, challenger, champion, *more)
        if not other:
            other.append(challenger.version)
            history.crown(client, challenger, verdict)
        return verdict

    monkeypatch.setattr(promotion, "judge", interrupted)
    assert promotion.promote(client, NAME, PARAMS).event == "unchanged"
    assert [event.version for event in history.events(client, NAME)] == ["1", "2"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The workspace on a disk of 24 MB."""
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(tmp_path)], check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small disk needs root")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def left_running(client: MlflowClient) -> list[Run]:
    places_of = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(places_of, "attributes.status = 'RUNNING'"))


@pytest.mark.parametrize("spare", [0, 60_000, 120_000])
def test_a_full_disk_while_registering_is_one_line_and_leaves_nothing(
    small_disk: Path, client: MlflowClient, capfd: pytest.CaptureFixture[str], spare: int
):
    challenge(client, 1)
    before = sorted(path for path in (small_disk / "mlartifacts").rglob("*") if path.is_file())
    write_model()
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * max(shutil.disk_usage(small_disk).free - spare, 0))
    capfd.readouterr()
    with pytest.raises(SystemExit) as end, errors.one_line(), mlflow_errors.explained():
        registration.register(client, PARAMS)
    assert end.value.code == 2
    said = capfd.readouterr().err
    assert "error: the disk is full" in said and said.count("\n") == 1 and "Traceback" not in said
    assert left_running(client) == []
    assert sorted(path for path in (small_disk / "mlartifacts").rglob("*") if path.is_file()) == before
    filler.unlink()
    assert registration.register(client, PARAMS).version == 2


def test_a_run_whose_process_was_killed_is_ended_by_the_next_registration(client: MlflowClient):
    challenge(client, 1)
    place = versions.experiment(client, NAME)
    killed, elsewhere = (
        client.create_run(place, tags={tracking.REGISTERS_ON: host}).info.run_id
        for host in (socket.gethostname(), "another machine")
    )
    challenge(client)
    assert client.get_run(killed).info.status == "KILLED"
    assert [run.info.run_id for run in left_running(client)] == [elsewhere]


def test_another_user_does_not_read_the_registry(client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/new/mlflow.db")
    versions.connect()
    assert stat.S_IMODE((tmp_path / "new/mlflow.db").stat().st_mode) == 0o600


def test_a_model_is_not_judged_on_another_data_set(client: MlflowClient):
    challenge(client)
    facts = files.read_json("data/raw/manifest.json")
    files.write_json("data/raw/manifest.json", {**facts, "dataset": "mnist"})
    with pytest.raises(BadInput, match="data/ holds mnist, which cannot judge digits-cnn"):
        promotion.promote(client, NAME, PARAMS)
    assert history.events(client, NAME) == []


def test_a_model_of_other_classes_than_the_champion_s_becomes_no_challenger(client: MlflowClient):
    """The service would ask both of the same images."""
    challenge(client)
    promotion.promote(client, NAME, PARAMS)
    form_file.save(Form(classes=tuple("abcdefghij")), places.PROCESSED)
    write_model(3)
    with pytest.raises(
        BadInput, match=r"data/ holds 28×28 of 10 classes \(a, b, c, d, e …\), and the champion of"
    ) as said:
        registration.register(client, PARAMS)
    assert "they cannot stand against each other" in str(said.value)
    assert versions.aliased(client, NAME, versions.CHALLENGER) is None and len(versions.newest(client, NAME, 9)) == 1


def test_a_version_of_other_means_is_one_line(client: MlflowClient):
    challenge(client)
    foreign = client.create_model_version(NAME, "models")
    for use in (history.describe, artifacts.onnx_file):
        with pytest.raises(BadInput, match="version 2 was not registered by this pipeline"):
            use(client, versions.version(client, NAME, str(foreign.version)))
    with pytest.raises(BadInput, match="version 2 was not registered by this pipeline"):
        promotion.promote(client, NAME, PARAMS, "2")


@pytest.mark.parametrize("spoilt", ["no JSON", "[" * 4000, "[]"])
@pytest.mark.parametrize("tag", ["metrics", "files_sha256", "gate"])
def test_a_version_whose_record_was_spoilt_is_one_line_and_no_other_version_s_fault(
    client: MlflowClient, tag: str, spoilt: str
):
    challenge(client)
    promotion.promote(client, NAME, PARAMS)
    sound = versions.champion(client, NAME)
    client.create_model_version(NAME, sound.source, sound.run_id, tags={**sound.tags, tag: spoilt})
    with pytest.raises(BadInput, match=f"digits-cnn version 2: its tag {tag} is not what was written there: ") as said:
        history.describe(client, versions.version(client, NAME, "2"))
        artifacts.check(client, versions.version(client, NAME, "2"))
    assert "\n" not in str(said.value)
    assert snapshot.champion(NAME).version == "1"


def test_what_is_not_there_is_one_line(client: MlflowClient):
    with pytest.raises(BadInput, match="digits-cnn has no version to judge: run `dvc repro`"):
        promotion.promote(client, NAME, PARAMS)
    with pytest.raises(BadInput, match="digits-cnn has no champion yet: run `digits run`"):
        promotion.rollback(client, NAME)
    challenge(client)
    for number in ("7", "latest", "-1", "0", "9" * 30):
        with pytest.raises(BadInput, match=f"digits-cnn has no version {number}: `digits history` lists those judged"):
            versions.version(client, NAME, number)
    assert history.events(client, NAME) == [] and history.events(client, "other-cnn") == []


def test_a_registry_s_file_is_there_once_all_its_tables_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A kill between two of MLflow's steps left a file that MLflow never opened again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    (tmp_path / "mlflow.db").touch()  # as a release before left it

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as once, pytest.raises(KeyboardInterrupt):
        once.setattr(MlflowClient, "get_experiment", killed)
        versions.connect_first()
    assert not (tmp_path / "mlflow.db").stat().st_size and not list(tmp_path.glob("*.part*"))
    assert versions.connect_first().search_registered_models() == []
    assert (tmp_path / "mlflow.db").stat().st_mode & 0o777 == 0o600


def test_the_noise_of_what_was_fitted_is_the_margin_of_that_alone(client: MlflowClient):
    seed_noise.note(client, NAME, "abc", [0.99, 0.98, 0.97])
    students = 4.3027  # quantile for three fits
    assert seed_noise.noted(client, NAME, "abc") == pytest.approx(students * 2**0.5 * 0.01, rel=1e-4)
    assert seed_noise.noted(client, NAME, "of other data") == 0.0


def test_how_long_training_took_stands_with_the_run_of_these_weights_alone(client: MlflowClient):
    digest = write_model(3)
    files.write_json(places.TIMING, {"weights_sha256": digest, "train_seconds": 9.5})
    version = registration.register(client, PARAMS)
    assert client.get_run(version.run_id).data.metrics["train_seconds"] == 9.5
    write_model(4)
    later = registration.register(client, PARAMS)
    assert "train_seconds" not in client.get_run(later.run_id).data.metrics


def test_another_graph_of_the_same_weights_is_another_version(client: MlflowClient):
    first = challenge(client, 1)
    linear_model.write(
        Path("models/model.onnx"), np.zeros((784, 10)), np.zeros(10), certain_from=0.0
    )  # weights.sha256 stays
    second = str(registration.register(client, PARAMS).version)
    assert second != first
    assert str(registration.register(client, PARAMS).version) == second


def test_the_same_model_of_other_data_is_another_version(client: MlflowClient):
    first = challenge(client, 1)
    facts = files.read_json("data/raw/manifest.json")
    files.write_json("data/raw/manifest.json", {**facts, "digests": {"train": {"images": "other"}}})
    assert challenge(client, 1) != first


def test_a_version_of_an_older_release_is_found_again(client: MlflowClient):
    first = challenge(client, 1)
    client.delete_model_version_tag(NAME, first, "train_sha256")
    assert challenge(client, 1) == first


def test_test_data_that_changed_asks_for_a_new_judgement(client: MlflowClient):
    challenge(client)
    promotion.promote(client, NAME, PARAMS)
    challenge(client, 1, 2)
    assert promotion.promote_if_new(client, NAME, PARAMS).event == "refused"
    assert promotion.promote_if_new(client, NAME, PARAMS).event == "unchanged"
    other = images() // 2
    splits.save(places.PROCESSED / "recent", Split(other[:60], LABELS[:60]))
    event = promotion.promote_if_new(client, NAME, PARAMS)
    assert event.event == "refused" and event.verdict and event.verdict.budget
    assert (event.verdict.budget.images, event.verdict.budget.fresh) == (460, 60)
    assert promotion.promote_if_new(client, NAME, PARAMS).event == "unchanged"


def test_what_was_refused_for_its_speed_is_judged_again_by_the_next_run(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
):
    challenge(client)
    promotion.promote(client, NAME, PARAMS)
    challenge(client, 7)
    with monkeypatch.context() as busy:
        busy.setattr(contenders, "latencies", lambda paths, image: [1000.0, 100.0])
        event = promotion.promote(client, NAME, LENIENT)
    assert event.event == "refused" and "latency" in event.why and event.verdict and event.verdict.may_pass
    assert promotion.promote_if_new(client, NAME, LENIENT).event == "promoted"


def test_the_champions_speed_is_measured_in_turns_with_the_challengers(client: MlflowClient):
    challenge(client)
    assert promotion.promote(client, NAME, LENIENT).verdict.checks[-1].name != "latency as a multiple of the champion's"
    challenge(client, 7)
    (ratio,) = [check for check in promotion.promote(client, NAME, LENIENT).verdict.checks if "multiple" in check.name]
    assert ratio.value > 0


def test_a_challenger_stands_against_every_one_that_served(client: MlflowClient):
    three_champions(client)
    challenge(client, 6, 7)
    verdict = promotion.promote(client, NAME, LENIENT).verdict
    assert verdict and [one.version for one in verdict.champions] == ["1", "2", "3"]
    shutil.rmtree(artifacts.download(client, versions.version(client, NAME, "1")))
    shutil.rmtree(places.home() / places.ANSWERS)
    challenge(client, 8)
    verdict = promotion.promote(client, NAME, LENIENT).verdict
    assert verdict and "1" not in [one.version for one in verdict.champions]
    assert any("not compared with version 1, which served once" in note for note in verdict.notes)


@pytest.mark.parametrize("where", ["get_model_version", "get_model_version_download_uri"])
def test_a_former_champion_whose_registry_is_away_for_now_leaves_nobody_promoted(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch, where: str
):
    three_champions(client)
    challenge(client)
    asked = getattr(client, where)

    def away(name: str, number: str) -> Any:
        if number == "1":
            raise RestException({"error_code": "TEMPORARILY_UNAVAILABLE", "message": "come back later"})
        return asked(name, number)

    monkeypatch.setattr(client, where, away)
    with pytest.raises(TemporaryFault), mlflow_errors.explained():
        promotion.promote(client, NAME, LENIENT)
    assert champion(client) == "3" and len(history.events(client, NAME)) == 3


def test_an_artifact_store_that_does_not_answer_is_temporary(client: MlflowClient, monkeypatch: pytest.MonkeyPatch):
    version = client.get_model_version(NAME, challenge(client))

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", fail)
    error: Exception = requests.ConnectionError("connection refused")
    with pytest.raises(TemporaryFault, match=r"version 1 cannot be read: connection refused: try again later"):
        artifacts.download(client, version)
    error = OSError("no such folder")
    with pytest.raises(BadInput, match="cannot be read: no such folder") as raised:
        artifacts.download(client, version)
    assert type(raised.value) is BadInput


@pytest.mark.parametrize(
    "how", ["the run is deleted", "an entry is taken out", "an entry is changed", "the last is no event"]
)
def test_a_history_that_is_not_whole_is_told_by_every_verdict_after_it(client: MlflowClient, how: str):
    three_champions(client)
    assert not any("history" in note for note in history.events(client, NAME)[-1].verdict.notes)
    run = client.get_registered_model(NAME).tags["journal.history"]
    keys = sorted(key for key in client.get_run(run).data.tags if key[0].isdigit())
    if how == "the run is deleted":
        client.delete_run(run)
    elif how == "an entry is taken out":
        client.delete_tag(run, next(key for key in keys if key.startswith("00000003.")))
    elif how == "an entry is changed":
        client.set_tag(run, keys[0], "{")
    else:
        last = json.loads(client.get_run(run).data.tags[keys[-1]])
        client.set_tag(run, keys[-1], json.dumps({**last, "entry": {"event": {"event": "?"}}}))
    for groups in [(7,), (8,)]:
        challenge(client, *groups)
        event = promotion.promote(client, NAME, LENIENT)
        assert event.verdict and wording.HISTORY_NOT_WHOLE in event.verdict.notes
        assert wording.HISTORY_NOT_WHOLE in snapshot.events(NAME)[-1].verdict.notes  # as `digits history` shows


def test_a_clock_that_is_set_back_tangles_nothing(client: MlflowClient, monkeypatch: pytest.MonkeyPatch):
    years = iter(range(2030, 2000, -1))
    monkeypatch.setattr(clock, "now", lambda: f"{next(years)}-01-01T00:00:00+00:00")
    three_champions(client)
    assert promotion.rollback(client, NAME).version == "2"
    assert promotion.rollback(client, NAME).version == "1"
    assert [e.version for e in history.events(client, NAME)] == ["1", "2", "3", "2", "1"]


def test_an_alias_that_was_moved_by_hand_is_recognised(client: MlflowClient):
    three_champions(client)
    client.set_registered_model_alias(NAME, "champion", "1")
    moved = history.events(client, NAME)[-1]
    assert (moved.event, moved.version, moved.previous, moved.at) == ("moved by hand", "1", "3", "")
    assert promotion.rollback(client, NAME).version == "3"  # whom it replaced
    events = history.events(client, NAME)
    assert [(e.event, e.version) for e in events[-2:]] == [("moved by hand", "1"), ("rolled back", "3")]
    assert events[-2].at and history.served(events)[-1] == "3"


def test_an_alias_that_was_moved_back_by_hand_is_no_promotion_that_was_cut_off(client: MlflowClient):
    three_champions(client)
    client.set_registered_model_alias(NAME, "champion", "2")
    events = history.events(client, NAME)
    assert [(e.event, e.version) for e in events[-2:]] == [("promoted", "3"), ("moved by hand", "2")]


def test_a_champion_that_was_made_by_hand_is_one_to_stand_against(client: MlflowClient):
    number = challenge(client)
    client.set_registered_model_alias(NAME, "champion", number)
    challenge(client, 1, 2)
    event = promotion.promote(client, NAME, LENIENT)
    assert event.event == "refused" and event.previous == number
    assert [e.event for e in history.events(client, NAME)] == ["moved by hand", "refused"]


@pytest.mark.parametrize("fault", [KeyError, OSError])  # by the release of Python
def test_who_has_no_name_on_this_machine_is_told_by_number(monkeypatch: pytest.MonkeyPatch, fault: type[Exception]):
    def unknown() -> str:
        raise fault("getpwuid(): uid not found: 54321")

    monkeypatch.delenv("DIGITS_USER", raising=False)
    monkeypatch.setattr(getpass, "getuser", unknown)
    assert history.person() == str(os.getuid())


def test_a_long_reason_is_kept_whole(client: MlflowClient):
    challenge(client)
    reason = "because " * 5000
    assert promotion.promote(client, NAME, PARAMS, reason=reason).reason == reason
    assert history.events(client, NAME)[0].reason == reason
    assert all(len(value) <= 5000 for value in client.get_registered_model(NAME).tags.values())


def test_processed_images_that_are_not_those_of_raw_judge_nobody(client: MlflowClient):
    challenge(client)
    facts = files.read_json("data/raw/manifest.json")
    files.write_json("data/raw/manifest.json", {**facts, "digests": {"test": {"images": "a", "labels": "b"}}})
    with pytest.raises(BadInput, match="data/processed/test is not what data/raw holds: run `dvc repro`"):
        promotion.promote(client, NAME, PARAMS)
    assert history.events(client, NAME) == []


def test_events_of_an_older_release_stand_before_the_new_ones(client: MlflowClient):
    number = challenge(client)
    client.set_registered_model_alias(NAME, "champion", number)
    older = {"event": "promoted", "version": number, "previous": None, "at": "2026-01-01T00:00:00+00:00", "by": "ann"}
    client.set_registered_model_tag(NAME, "event.20260101T000000000000Z", json.dumps(older))
    challenge(client, 1, 2)
    assert promotion.promote(client, NAME, LENIENT).event == "refused"
    first = history.events(client, NAME)[0]
    assert (first.event, first.by) == ("promoted", "ann")


def test_a_promotion_killed_after_its_look_has_paid_for_it(client: MlflowClient, monkeypatch: pytest.MonkeyPatch):
    challenge(client)
    with monkeypatch.context() as patch:
        patch.setattr(contenders, "candidate", lambda *args: (_ for _ in ()).throw(CutOff))
        with pytest.raises(CutOff):
            promotion.promote(client, NAME, PARAMS)
    assert len(ledger.read(client, NAME).looks) == 1
    assert promotion.promote(client, NAME, PARAMS).event == "promoted"
    assert len(ledger.read(client, NAME).looks) == 1


BY_A_PERSON = LENIENT.model_copy(update={"gate": LENIENT.gate.model_copy(update={"approval": "person"})})


def test_what_passes_waits_for_a_person_s_yes_where_that_is_wanted(client: MlflowClient):
    challenge(client, 1)
    assert promotion.promote(client, NAME, BY_A_PERSON).event == "promoted"  # a first model replaces nobody
    challenge(client)
    assert promotion.promote(client, NAME, BY_A_PERSON).event == "waits" and champion(client) == "1"
    assert promotion.promote_if_new(client, NAME, BY_A_PERSON).event == "unchanged"
    event = promotion.approve(client, NAME, "2", "looks good")
    assert (event.event, event.version, event.previous, event.reason) == ("promoted", "2", "1", "looks good")
    assert champion(client) == "2" and event.by and event.verdict
    with pytest.raises(BadInput, match="version 2 waits for nobody: `digits history`"):
        promotion.approve(client, NAME, "2", "again")


def test_a_yes_to_what_was_judged_against_another_champion_is_refused(client: MlflowClient):
    challenge(client, 1)
    promotion.promote(client, NAME, BY_A_PERSON)
    waiting = challenge(client, 2)
    assert promotion.promote(client, NAME, BY_A_PERSON).event == "waits"
    challenge(client)
    promotion.promote(client, NAME, LENIENT)
    with pytest.raises(BadInput, match="was judged against version 1, and champion is 3 now: `digits promote 2`"):
        promotion.approve(client, NAME, waiting, "yes")
