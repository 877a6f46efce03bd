import contextlib
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from dask_processes import Start, answers, started
from ports import free_port
from waiting import until
from workspace import ROOT

from pipeline.base import cluster, places
from pipeline.base import params as params_file
from pipeline.base.errors import BadInput
from pipeline.base.params import Study
from pipeline.data import splits
from pipeline.data.splits import Split
from pipeline.learning import fit_identity, networks
from pipeline.registry import seed_noise, versions
from pipeline.studies import findings, study, trial
from pipeline.studies.trial import Trial

PARAMS = params_file.load(ROOT / "params.yaml").model_copy(update={"dataset": "digits"})
TINY = Study(
    question="does it run?",
    recipe="three-conv-early-stopping",
    train_images=60,
    seeds=2,
    common={"epochs": 2, "batch_size": 20, "network.filters": 2},
    grid=[{"network.blocks": [1, 2]}],
)


def tiny(**changes: object) -> Study:
    return TINY.model_copy(update=changes)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    rng = np.random.default_rng(0)
    for name, count in {"train": 80, "val": 40}.items():
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = rng.integers(0, 100, (count, 28, 28), dtype=np.uint8)
        images[np.arange(count), :, labels * 2 + 4] = 255
        splits.save(places.PROCESSED / name, Split(images, labels))
    return tmp_path


# --- What is run ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PARAMS.studies)
def test_every_shipped_study_can_be_run(name: str):
    wanted = study.trials(name, PARAMS.studies[name], PARAMS)
    assert len(wanted) >= 4 and len({trial.label for trial in wanted}) * PARAMS.studies[name].seeds == len(wanted)


def test_a_grid_is_every_cell_with_every_seed():
    wanted = study.trials("tiny", tiny(grid=[{"network.blocks": [1, 2], "batch_size": [5]}, {"l2": [0.1]}]), PARAMS)
    seeds = (PARAMS.train.seed, PARAMS.train.seed + 1)
    assert [(trial.label, trial.seed) for trial in wanted] == [
        (label, seed) for label in ("batch_size 5, blocks 1", "batch_size 5, blocks 2", "l2 0.1") for seed in seeds
    ]
    assert wanted[2].recipe.network.settings["blocks"] == 2 and wanted[2].recipe.epochs == 2
    assert PARAMS.recipes["three-conv-early-stopping"].epochs == 30  # the recipe itself is as it was


def test_the_number_of_train_images_can_be_in_the_grid():
    wanted = study.trials("tiny", tiny(grid=[{"train_images": [10, 20]}]), PARAMS)
    assert [trial.train_images for trial in wanted] == [10, 10, 20, 20]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"recipe": "none"}, r"study tiny: there is no recipe 'none': choose one of fast"),
        ({"grid": [{"dropout": [0.1]}]}, r"study tiny: the recipe has no param 'dropout'"),
        ({"grid": [{"network.depth": [1]}]}, r"study tiny: the recipe has no param 'network.depth'"),
        ({"grid": [{"network.blocks.more": [1]}]}, r"study tiny: the recipe has no param 'network.blocks.more'"),
        ({"common": {"epoch": 3}}, r"study tiny: the recipe has no param 'epoch'"),
        ({"grid": [{"epochs": [0]}]}, r"study tiny: epochs is 0: .*greater"),
        ({"grid": [{"optimizer": ["adm"]}]}, r"study tiny, optimizer adm: .*Keras knows no optimizer 'adm'"),
        ({"grid": [{"network.blocks": [9]}]}, r"study tiny, blocks 9: .*1 to 4 blocks"),
        (
            {"grid": [{"network.blocks": [1, 2]}, {"network.blocks": [2]}]},
            r"study tiny: blocks 2 stands twice",
        ),
        ({"train_images": 81}, r"study tiny wants 81 train images, data/processed has 80: lower train_images"),
    ],
)
def test_a_study_that_cannot_be_run_is_one_line_before_anything_is_run(workspace: Path, changes: dict, line: str):
    with pytest.raises(BadInput, match=line) as error:
        study.run("tiny", tiny(**changes), PARAMS)
    assert "\n" not in str(error.value) and not (workspace / "mlflow.db").exists()


def test_a_study_is_read_from_a_file_of_its_own(tmp_path: Path):
    path = tmp_path / "studies.yaml"
    path.write_text("a:\n  {question: q, recipe: fast, train_images: 9, seeds: 2, grid: [{epochs: [1]}]}\n")
    assert study.read("a", PARAMS, path).train_images == 9
    with pytest.raises(BadInput, match=r"studies.yaml: there is no study 'b': choose one of a"):
        study.read("b", PARAMS, path)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: [", r"is not YAML"),
        ("a: {question: q, seeds: 2, grid: [{epochs: []}]}", r"a.grid.0.epochs is \[\]"),
        ("a: {question: q, seeds: 2, grid: [{train_images: [9, 0]}]}", r"train_images in the grid is 0: give a whole"),
        ("a: {question: q, seeds: 2, grid: [{train_images: [all]}]}", r"train_images in the grid is 'all': give a"),
        ("../a: {question: q, seeds: 2, grid: [{}]}", r"is '../a': .*match pattern"),
        ("a: {question: \udcff}", r"give a YAML file of studies"),
        ("a: {question: q}", r"the key a.seeds is missing"),
        ("a: {question: q, recipe: fast, train_images: 9, seeds: 1, grid: []}", r"a.seeds is 1"),
    ],
)
def test_a_wrong_file_of_studies_is_told(tmp_path: Path, text: str, line: str):
    path = tmp_path / "studies.yaml"
    path.write_text(text, errors="surrogateescape")
    with pytest.raises(BadInput, match=line):
        study.read("a", PARAMS, path)
    with pytest.raises(BadInput, match=r"nothing.yaml: No such file"):
        study.read("a", PARAMS, tmp_path / "nothing.yaml")


# --- Where it is run ------------------------------------------------------------------------------------------------


@pytest.fixture
def registry(workspace: Path, empty_registry: Path) -> None:
    shutil.copy(empty_registry, workspace / places.DATABASE)


def results(name: str = "tiny") -> pd.DataFrame:
    return pd.read_csv(f"reports/studies/{name}/trials.csv").drop(columns="seconds")


def nested_runs() -> int:
    client = versions.connect()
    experiment = client.get_experiment_by_name("digits-cnn-studies")
    return len(client.search_runs([experiment.experiment_id], "tags.trial_key != ''"))


@pytest.mark.system
def test_a_study_leaves_its_report_and_is_not_run_twice(registry: None, monkeypatch: pytest.MonkeyPatch):
    told = study.run("tiny", TINY, PARAMS)
    assert told["trials"] == 4 and nested_runs() == 4
    assert {path.name for path in Path(told["report"]).iterdir()} == {
        *("trials.csv", "table.csv", "findings.md", "plot.png"),
    }
    assert "does it run?" in told["findings"] and "blocks 1" in told["findings"] and "2 seeds" in told["findings"]
    client = versions.connect()
    (parent,) = client.search_runs(
        [client.get_experiment_by_name("digits-cnn-studies").experiment_id], "tags.study = 'tiny'"
    )
    assert parent.data.tags[versions.NOTE] == told["findings"]  # as MLflow's page describes the study's run
    first = results()
    monkeypatch.setattr(study.trial_process, "run", None)  # a trial that was sent to Dask again would fail
    study.run("tiny", TINY, PARAMS)
    pd.testing.assert_frame_equal(results(), first)
    assert nested_runs() == 4


def status() -> str:
    """How the study's own run stands in MLflow."""
    client = versions.connect()
    within = client.get_experiment_by_name("digits-cnn-studies").experiment_id
    (parent,) = client.search_runs([within], "tags.study = 'tiny'")
    return str(parent.info.status)


@pytest.fixture
def made_up(registry: None, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Trials come back at once with results of a kind: the tests that ask for this are about what is made of them.

    How many trials each call of the study sends out is appended to the list.
    """
    sent: list[int] = []

    def results(_: object, missing: dict[str, Trial], *__: Split) -> Iterator[tuple[str, Trial, dict]]:
        sent.append(len(missing))
        for number, (key, wanted) in enumerate(missing.items()):
            curve = [0.5 + 0.01 * number] * 2
            numbers = {"best_val_loss": 0.5, "epochs": 2, "overfits_from": None, "seconds": 0.1, "weights": 10}
            yield key, wanted, {**dict.fromkeys(trial.CURVES, curve), **numbers, "kept_val_accuracy": curve[0]}

    monkeypatch.setattr(cluster, "connected", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(study, "_results", results)
    return sent


def test_a_study_that_was_cut_off_goes_on_with_the_trials_that_are_missing(
    made_up: list[int], monkeypatch: pytest.MonkeyPatch
):
    record, recorded = study._record, []

    def cut_off_at_the_third(*arguments: object) -> None:
        if len(recorded) == 2:
            raise KeyboardInterrupt
        record(*arguments)  # type: ignore[arg-type]
        recorded.append(arguments)

    with monkeypatch.context() as patch:
        patch.setattr(study, "_record", cut_off_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            study.run("tiny", TINY, PARAMS)
    assert nested_runs() == 2 and status() == "FAILED"  # and not as if it were at work
    study.run("tiny", TINY, PARAMS)
    assert nested_runs() == 4 and len(results()) == 4 and status() == "FINISHED"
    assert made_up == [4, 2]


def test_a_trial_of_other_code_is_another_trial(monkeypatch: pytest.MonkeyPatch):
    one = study.trials("tiny", TINY, PARAMS)[0]
    known = study._key(one, "data")
    assert study._key(one, "data") == known
    monkeypatch.setattr(fit_identity, "code", lambda: "other")
    assert study._key(one, "data") != known


def test_a_study_of_the_recipe_as_it_is_measures_the_noise_that_the_gate_allows_for(made_up: list[int]):
    quick = PARAMS.recipe.model_copy(update={"epochs": 1, "min_steps_per_epoch": 1})
    params = PARAMS.model_copy(update={"recipes": {**PARAMS.recipes, PARAMS.train.recipe: quick}})
    told = study.run("noise", tiny(recipe=None, train_images=None, grid=[{}], common={}), params)
    accuracies = results("noise")["val_accuracy"]
    assert told["noise"]["std"] == pytest.approx(accuracies.std()) and told["noise"]["seeds"] == 2
    train, val = (splits.load(places.PROCESSED / name) for name in ("train", "val"))
    fitted = fit_identity.digest(quick, fit_identity.data_digest(train, val))
    margin = seed_noise.noted(versions.connect(), "digits-cnn", fitted)
    assert margin == pytest.approx(12.706 * 2**0.5 * accuracies.std(), rel=1e-4)  # Student's t of two
    assert seed_noise.noted(versions.connect(), "digits-cnn", fit_identity.digest(PARAMS.recipe, "other data")) == 0.0
    assert "The seed alone moves validation accuracy by" in told["findings"]


@pytest.mark.parametrize(
    "changes", [{"grid": [{"epochs": [1]}]}, {"grid": [{}], "common": {"epochs": 1}}, {"grid": [{}], "train_images": 9}]
)
def test_a_study_of_another_setting_than_the_recipe_s_is_none_of_noise(changes: dict):
    assert not tiny(**{"train_images": None, "common": {}, **changes}).is_of_noise


@pytest.mark.slow
def test_a_trial_is_the_whole_model_with_all_its_members():
    rng = np.random.default_rng(0)
    train, val = (Split(rng.integers(0, 256, (40, 28, 28), np.uint8), np.arange(40) % 10) for _ in range(2))
    recipe = PARAMS.recipe.model_copy(update={"epochs": 2, "min_steps_per_epoch": 1, "members": 2})
    found = trial.run(Trial({}, recipe, None, 3), train, val)
    alone = networks.build(recipe.network).count_params()
    assert found["weights"] == 2 * alone and found["epochs"] == 2 == len(found["val_loss"])


def test_a_learning_curve_ends_with_the_images_there_are_and_says_if_more_would_help(made_up: list[int]):
    told = study.run("tiny", tiny(train_images=None, grid=[{"train_images": [20, 60, 500]}]), PARAMS)
    assert told["trials"] == 4 and "From 20 to 60 train images brought" in told["findings"]


@pytest.fixture
def start(workspace: Path) -> Iterator[Start]:
    with started(workspace) as start:
        yield start


@pytest.mark.slow
def test_a_killed_worker_loses_no_finished_trial_and_the_results_are_those_of_another_cluster(
    start: Start, monkeypatch: pytest.MonkeyPatch
):
    address = f"tcp://127.0.0.1:{free_port()}"
    start("scheduler", "--port", address.rsplit(":", 1)[1])
    workers = [start("worker", address, "--nthreads", "2", "--no-nanny") for _ in range(2)]
    record, recorded = study._record, []

    def kill_one_worker_after_the_first_trial(*arguments: object) -> None:
        record(*arguments)  # type: ignore[arg-type]
        recorded.append(arguments)
        if len(recorded) == 1:
            workers[0].send_signal(signal.SIGKILL)

    with monkeypatch.context() as patch:
        patch.setattr(study, "_record", kill_one_worker_after_the_first_trial)
        study.run("tiny", TINY, PARAMS, address)
    assert len(recorded) == 4 and nested_runs() == 4
    study.run("here", TINY, PARAMS)
    pd.testing.assert_frame_equal(results(), results("here"))


def test_a_scheduler_that_does_not_answer_is_one_line(workspace: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cluster, "SCHEDULER_SECONDS", 1)
    for address in (f"tcp://127.0.0.1:{free_port()}", "nonsense://there"):
        with pytest.raises(BadInput, match=rf"no Dask scheduler answers at {address} .*: start it or correct it"):
            study.run("tiny", TINY, PARAMS, address)
    assert not (workspace / "mlflow.db").exists()


def test_a_scheduler_without_workers_is_one_line(start: Start, workspace: Path, monkeypatch: pytest.MonkeyPatch):
    address = f"tcp://127.0.0.1:{free_port()}"
    start("scheduler", "--port", address.rsplit(":", 1)[1])
    until(lambda: answers(address), "an answer of the scheduler")
    monkeypatch.setattr(cluster, "SCHEDULER_SECONDS", 4)  # enough to answer in, on a busy machine
    with pytest.raises(BadInput, match=rf"the Dask scheduler at {address} has no workers: start some"):
        study.run("tiny", TINY, PARAMS, address)
    assert not (workspace / "mlflow.db").exists()


# --- What it says ---------------------------------------------------------------------------------------------------


def each(**accuracies: list[float]) -> pd.DataFrame:
    rows = [
        {"setting": setting, "seed": seed, "val_accuracy": accuracy, "best_val_loss": 0.1, "epochs": 5}
        | {"train_images": 60, "overfits_from": 4.0 if setting == "deep" else None, "seconds": 1.0, "weights": 10}
        for setting, values in accuracies.items()
        for seed, accuracy in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_differences_are_paired_by_seed_and_have_intervals():
    trials = each(deep=[0.95, 0.96, 0.97], flat=[0.93, 0.94, 0.95], noisy=[0.97, 0.96, 0.94])
    table = findings.summarise(trials).set_index("setting")
    assert list(table.index) == ["deep", "noisy", "flat"]
    assert table.loc["flat", "below_best"] == pytest.approx(0.02)
    assert table.loc["flat", "below_low"] == pytest.approx(0.02)  # the same difference with every seed
    assert table.loc["noisy", "below_low"] < 0 < table.loc["noisy", "below_high"]
    # Student's t with 2 degrees of freedom, 4.3027, times the standard error 0.01 / sqrt(3)
    assert table.loc["deep", "high"] - 0.96 == pytest.approx(4.3027 * 0.01 / 3**0.5, rel=1e-4)


def test_the_findings_say_who_is_worse_who_cannot_be_told_apart_and_who_overfits():
    trials = each(deep=[0.95, 0.96, 0.97], flat=[0.93, 0.94, 0.95], noisy=[0.97, 0.96, 0.94])
    words = findings.words("depth", TINY, findings.summarise(trials), trials, val_images=40)
    assert "best of 3 settings is **deep**: 96.00% of the validation images" in words
    assert "flat is 2.00 points below (2.00 to 2.00): worse." in words
    assert "noisy is 0.33 points below" in words and "not to be told from it" in words
    assert "deep overfits in 3 of 3 seeds, from epoch 4 (median)." in words


def test_a_grid_of_images_and_another_setting_is_told_cell_by_cell():
    grid = [{"train_images": [20, 60], "network.blocks": [1, 2]}]
    trials = each(a=[0.9, 0.9], b=[0.8, 0.9], c=[0.7, 0.9], d=[0.6, 0.9]).assign(
        train_images=[20, 20, 20, 20] + 4 * [60]
    )
    words = findings.words("depth", tiny(grid=grid), findings.summarise(trials), trials, val_images=40)
    assert "20 to 60 train images" in words and "brought" not in words


def test_a_file_may_have_its_studies_below_the_word_as_params_yaml_has(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    own = PARAMS.studies["depth"].model_dump()
    path.write_text(yaml.safe_dump({"studies": {"mine": own}}))
    assert study.read("mine", PARAMS, path) == PARAMS.studies["depth"]


def test_each_trial_has_its_line_as_it_ends(capsys: pytest.CaptureFixture[str]):
    one = study.trials("depth", PARAMS.studies["depth"], PARAMS)[0]
    results = iter([("a", one, {"kept_val_accuracy": 0.95, "seconds": 46.2})])
    assert [key for key, *_ in study._with_progress("depth", 3, 1, results)] == ["a"]
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "study depth: 3 trials, 2 of which are there from before",
        f"study depth: 3 of 3: {one.label}, seed {one.seed}: val accuracy 95.00%, 46 s",
    ]
