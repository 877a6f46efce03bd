"""Which setting is better, and how sure is that? A grid of trials over a recipe, run on Dask.

A trial is one fit of one setting with one seed, judged on validation images; the test split is never looked at. Each
is a nested MLflow run, written as soon as it ends: a study that was cut off goes on with the trials that are missing.
A cluster computes the same numbers as one machine of its kind (:mod:`pipeline.studies.trial` says how). Leaves
reports/studies/NAME: a table, a plot and the findings in words.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import yaml
from pydantic import TypeAdapter, ValidationError
from tqdm import tqdm

from pipeline.base import files
from pipeline.base import params as params_file
from pipeline.base.errors import BadInput
from pipeline.base.params import TRAIN_IMAGES, Params, Recipe, Study, StudyName
from pipeline.data import splits
from pipeline.data.splits import Split
from pipeline.registry import versions
from pipeline.studies import trial as trial_process
from pipeline.studies.trial import CURVES, Trial

if TYPE_CHECKING:
    from distributed import Client
    from mlflow import MlflowClient

REPORTS = Path("reports/studies")
NUMBERS = ("best_val_loss", "epochs", "overfits_from", "seconds", "weights")
SCHEDULER_SECONDS = 10


def read(name: str, params: Params, file: Path | None = None) -> Study:
    """The study of that name in params.yaml, or in a ``file`` of studies; :class:`BadInput` if there is none."""
    studies = _read_file(file) if file else params.studies
    if name not in studies:
        raise BadInput(f"{file or params_file.PATH}: there is no study {name!r}: choose one of {', '.join(studies)}")
    return studies[name]


def _read_file(file: Path) -> dict[str, Study]:
    try:
        return TypeAdapter(dict[StudyName, Study]).validate_python(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadInput(f"{file}: {reason}: give a YAML file of studies") from None
    except yaml.YAMLError as error:
        raise BadInput(f"{file} is not YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        raise BadInput("\n".join(params_file.explain(file, each) for each in error.errors())) from None


def trials(name: str, study: Study, params: Params) -> list[Trial]:
    """Every cell of the grid with every seed; :class:`BadInput` for a param that the recipe does not have, or a value
    that it cannot take, before anything is run."""
    from sklearn.model_selection import ParameterGrid

    chosen = study.recipe or params.train.recipe
    if chosen not in params.recipes:
        raise BadInput(f"study {name}: there is no recipe {chosen!r}: choose one of {', '.join(params.recipes)}")
    base = _with(params.recipes[chosen].model_dump(), study.common, name)
    found = []
    for settings in ParameterGrid(study.grid):
        rest = {key: value for key, value in settings.items() if key != TRAIN_IMAGES}
        try:
            recipe = Recipe.model_validate(_with(base, rest, name))
        except ValidationError as error:
            raise BadInput("\n".join(params_file.explain(f"study {name}", each) for each in error.errors())) from None
        images = settings.get(TRAIN_IMAGES, study.train_images)
        found += [Trial(settings, recipe, images, params.train.seed + i) for i in range(study.seeds)]
    _check_cells(name, found[:: study.seeds])
    return found


def _with(recipe: dict[str, Any], settings: dict[str, Any], name: str) -> dict[str, Any]:
    """A copy of the recipe with other values at dotted keys; :class:`BadInput` for a key that is not there."""
    changed = json.loads(json.dumps(recipe))
    for key, value in settings.items():
        *path, last = key.split(".")
        section = changed
        for part in path:
            section = section.get(part, {}) if isinstance(section, dict) else {}
        if not isinstance(section, dict) or last not in section:
            raise BadInput(f"study {name}: the recipe has no param {key!r}: correct it or add it to the recipe")
        section[last] = value
    return changed


def _check_cells(name: str, firsts: list[Trial]) -> None:
    """:class:`BadInput` for a cell that stands twice or cannot be built; ``firsts`` has a trial of each."""
    from pipeline.learning import fitting

    labels = set()
    for trial in firsts:
        if trial.label in labels:
            raise BadInput(f"study {name}: {trial.label} stands twice in the grid: name it once")
        labels.add(trial.label)
        try:
            fitting.compiled(trial.recipe, steps_per_epoch=1)
        except BadInput as error:
            raise BadInput(f"study {name}, {trial.label}: {error}") from None


def run(name: str, study: Study, params: Params, scheduler: str | None = None) -> dict[str, Any]:
    """Run the trials that are missing and leave the report; ``scheduler`` is a Dask scheduler's address.

    Returns ``{"study", "trials", "table", "findings", "report"}``. :class:`BadInput` if the scheduler does not answer.
    """
    wanted = trials(name, study, params)
    train, val = (splits.load(splits.PROCESSED / part) for part in ("train", "val"))
    wanted = _affordable(name, wanted, len(train.labels))
    data = _digest(train, val)
    with _dask(scheduler) as dask:
        client = versions.connect()
        parent = _parent(client, name, study, params, data)
        done = _finished(client, parent)
        keys = [_key(trial, data) for trial in wanted]
        missing = {key: trial for key, trial in zip(keys, wanted, strict=True) if key not in done}
        bar = tqdm(
            total=len(wanted), initial=len(wanted) - len(missing), desc=f"study {name}", disable=None, unit="trial"
        )
        with bar:
            for key, trial, result in _results(dask, missing, train, val):
                _record(client, parent, key, trial, result)
                done[key] = result
                bar.update()
    client.set_terminated(parent)
    results = [(trial, done[key]) for trial, key in zip(wanted, keys, strict=True)]
    found = _report(name, study, results, len(val.labels), client, parent)
    if study.is_of_noise:
        recipe = study.recipe or params.train.recipe
        accuracies = [result["kept_val_accuracy"] for _, result in results]
        found["noise"] = versions.note_noise(client, versions.model_name(params.dataset), recipe, accuracies)
    return found


def _affordable(name: str, wanted: list[Trial], there: int) -> list[Trial]:
    """The trials for which there are enough train images: a curve over their number ends with what there is, anything
    else that wants more is :class:`BadInput`."""
    enough = [trial for trial in wanted if (trial.train_images or 0) <= there]
    most = max(trial.train_images or 0 for trial in wanted)
    if any(TRAIN_IMAGES not in trial.settings for trial in wanted if trial not in enough) or not enough:
        raise BadInput(
            f"study {name} wants {most:,} train images, data/processed has {there:,}: lower train_images, or "
            "`digits run --dataset mnist` first"
        )
    return enough


# --- Dask -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _dask(scheduler: str | None) -> Iterator[Client]:
    """A client of the scheduler, or of a local cluster with a trial a core that ends with the study."""
    from distributed import Client, LocalCluster

    if scheduler:
        try:
            client = Client(scheduler, timeout=SCHEDULER_SECONDS)
        except (OSError, ValueError) as error:  # distributed's CommClosedError and TimeoutError are OSErrors
            words = " ".join(str(error).split())
            raise BadInput(f"no Dask scheduler answers at {scheduler} ({words}): start it or correct it") from None
        with client:
            try:
                client.wait_for_workers(1, timeout=SCHEDULER_SECONDS)
            except TimeoutError:
                raise BadInput(f"the Dask scheduler at {scheduler} has no workers: start some") from None
            yield client
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(
            n_workers=1,
            threads_per_worker=os.cpu_count(),  # a trial is a process of its own
            dashboard_address=None,
            memory_limit=0,
            local_directory=folder,
            silence_logs="CRITICAL",
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def _results(
    dask: Client, missing: dict[str, Trial], train: Split, val: Split
) -> Iterator[tuple[str, Trial, dict[str, Any]]]:
    """The trials' results as they come in. A trial whose worker dies is run again on another."""
    from distributed import KilledWorker, as_completed

    if not missing:
        return
    arrays = [Split(*map(np.asarray, split)) for split in (train, val)]
    there = dask.scatter(arrays, broadcast=True)
    futures = {dask.submit(trial_process.run, trial, *there, key=f"trial-{key}"): key for key, trial in missing.items()}
    try:
        for future in as_completed(futures):
            key = futures[future]
            try:
                yield key, missing[key], future.result()
            except KilledWorker:
                raise RuntimeError(
                    f"{missing[key].label}: every worker that tried it died: see the workers' logs"
                ) from None
            future.release()
    finally:
        dask.cancel(list(futures))


# --- MLflow ---------------------------------------------------------------------------------------------------------


def _digest(train: Split, val: Split) -> str:
    return hashlib.sha256("".join(files.sha256_array(a) for split in (train, val) for a in split).encode()).hexdigest()


def _key(trial: Trial, data: str) -> str:
    from importlib.metadata import version

    from pipeline.learning import fitting

    setting = [trial.recipe.model_dump(), trial.train_images, trial.seed, data]
    facts = [*setting, version("keras"), version("tensorflow"), *fitting.code()]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _parent(client: MlflowClient, name: str, study: Study, params: Params, data: str) -> str:
    """The id of the study's own run: the one that is there for this data, or a new one."""
    experiment = versions.experiment(client, f"{versions.model_name(params.dataset)}-studies")
    found = client.search_runs([experiment], f"tags.study = '{name}' and tags.data_sha256 = '{data}'", max_results=1)
    if found:
        client.update_run(found[0].info.run_id, status="RUNNING")
        return str(found[0].info.run_id)
    tags = {"study": name, "data_sha256": data, "mlflow.note.content": study.question}
    return str(client.create_run(experiment, tags=tags, run_name=name).info.run_id)


def _finished(client: MlflowClient, parent: str) -> dict[str, dict[str, Any]]:
    """The results of the trials that MLflow holds as finished under ``parent``, by their keys."""
    experiment = client.get_run(parent).info.experiment_id
    query = f"tags.mlflow.parentRunId = '{parent}' and attributes.status = 'FINISHED'"
    done = {}
    token = None
    while True:
        page = client.search_runs([experiment], query, page_token=token)
        for found in page:
            metrics, run_id = found.data.metrics, found.info.run_id
            curves = {name: [m.value for m in client.get_metric_history(run_id, name)] for name in CURVES}
            numbers = {name: metrics.get(name) for name in (*NUMBERS, "kept_val_accuracy")}
            done[found.data.tags["trial_key"]] = {**numbers, **curves}
        token = page.token
        if not token:
            return done


def _record(client: MlflowClient, parent: str, key: str, trial: Trial, result: dict[str, Any]) -> None:
    """Write a trial as a run below the study's; it counts as finished only once all of it is there."""
    from mlflow.entities import Metric, Param

    tags = {"mlflow.parentRunId": parent, "trial_key": key}
    made = client.create_run(
        client.get_run(parent).info.experiment_id, tags=tags, run_name=f"{trial.label}, seed {trial.seed}"
    )
    at = made.info.start_time
    metrics = [Metric(name, result[name][i], at, i + 1) for name in CURVES for i in range(len(result[name]))]
    metrics += [Metric(n, result[n], at, 0) for n in (*NUMBERS, "kept_val_accuracy") if result[n] is not None]
    told = {**trial.settings, "seed": trial.seed, TRAIN_IMAGES: trial.train_images}
    client.log_batch(made.info.run_id, metrics, [Param(k, str(v)) for k, v in told.items()])
    client.set_terminated(made.info.run_id)


# --- What it says ---------------------------------------------------------------------------------------------------


def _report(
    name: str, study: Study, results: list[tuple[Trial, dict]], val_images: int, client: MlflowClient, parent: str
) -> dict[str, Any]:
    """Leave the tables, the plot and the words in reports/studies/NAME and with the study's run."""
    from pipeline.reporting import figures

    each = pd.DataFrame(
        {"setting": t.label, "seed": t.seed, **t.settings, TRAIN_IMAGES: t.train_images}
        | {"val_accuracy": r["kept_val_accuracy"]}
        | {number: r[number] for number in NUMBERS}
        for t, r in results
    )
    summary = summarise(each)
    words = findings(name, study, summary, each, val_images)
    folder = REPORTS / name
    for file, table in {"trials.csv": each, "table.csv": summary}.items():
        files.write_text(folder / file, table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    files.write_text(folder / "findings.md", words)
    figures.save(figures.study(summary, each, [(t.label, r["val_loss"]) for t, r in results]), folder / "plot.png")
    for path in sorted(folder.iterdir()):
        client.log_artifact(parent, str(path))
    table = json.loads(summary.to_json(orient="records"))  # None where a number is missing
    told = {"table": table, "findings": words, "report": str(folder)}
    return {"study": name, "trials": len(each), **told}


def summarise(each: pd.DataFrame) -> pd.DataFrame:
    """A row a setting, the best first: mean validation accuracy over the seeds, its 95 % interval, its difference to
    the best (paired by seed) with interval, and in how many seeds it overfits. Intervals are Student's t.

    ``each`` has a row a trial: setting, seed, val_accuracy, best_val_loss, epochs, overfits_from, seconds, weights.
    """
    wide = each.pivot(index="setting", columns="seed", values="val_accuracy")
    best = wide.mean(axis=1).idxmax()
    rows = []
    for setting in wide.mean(axis=1).sort_values(ascending=False, kind="stable").index:
        own = each[each["setting"] == setting]
        overfitting = own["overfits_from"].dropna()
        low, high = interval(wide.loc[setting])
        below = wide.loc[best] - wide.loc[setting]
        below_low, below_high = interval(below)
        rows.append(
            {
                "setting": setting,
                "val_accuracy": wide.loc[setting].mean(),
                "low": low,
                "high": high,
                "below_best": below.mean(),
                "below_low": below_low,
                "below_high": below_high,
                "best_val_loss": own["best_val_loss"].mean(),
                "epochs": own["epochs"].mean(),
                "overfits": len(overfitting),
                "overfits_from": overfitting.median() if len(overfitting) else None,
                "seeds": len(own),
                "seconds": own["seconds"].mean(),
                "weights": own["weights"].iloc[0],
            }
        )
    return pd.DataFrame(rows)


def interval(values: pd.Series) -> tuple[float, float]:
    """Student's 95 % interval on the mean of at least two values."""
    from scipy.stats import sem, t

    half = float(t.ppf(0.975, len(values) - 1) * sem(values))
    return float(values.mean()) - half, float(values.mean()) + half


def findings(name: str, study: Study, summary: pd.DataFrame, each: pd.DataFrame, val_images: int) -> str:
    """What the study says, as a paragraph of Markdown with intervals."""
    best = summary.iloc[0]
    if len(summary) == 1:
        return _words_on_noise(name, study, each, val_images)
    sentences = [
        f"The best of {len(summary)} settings is **{best['setting']}**: {best['val_accuracy']:.2%} of the validation "
        f"images ({best['low']:.2%} to {min(best['high'], 1):.2%})."
    ]
    for _, row in summary.iloc[1:].iterrows():
        below, low, high = (100 * row[column] for column in ("below_best", "below_low", "below_high"))
        points = f"{below:.2f} points below ({low:.2f} to {high:.2f})"
        sure = "worse" if row["below_low"] > 0 else "not to be told from it with so few seeds"
        sentences.append(f"{row['setting']} is {points}: {sure}.")
    for _, row in summary[summary["overfits"] > 0].iterrows():
        sentences.append(
            f"{row['setting']} overfits in {row['overfits']} of {row['seeds']} seeds, from epoch "
            f"{row['overfits_from']:.0f} (median)."
        )
    if not summary["overfits"].any():
        sentences.append("None overfits: validation loss does not rise towards the end.")
    if all(set(block) == {TRAIN_IMAGES} for block in study.grid):
        sentences.append(_words_on_data(each))
    return (
        f"# {name}: {study.question}\n\n{' '.join(sentences)}\n\n"
        f"{len(each)} trials: {_of_what(study, each)}, {val_images:,} validation images, "
        f"{study.seeds} seeds a setting. Intervals are 95 %, Student's t over the seeds, differences paired by seed, "
        "not corrected for the number of comparisons; all trials answer the same images.\n"
    )


def _of_what(study: Study, each: pd.DataFrame) -> str:
    recipe = f"recipe `{study.recipe}`" if study.recipe else "the recipe that trains"
    images = [f"{count:,.0f}" for count in sorted(each[TRAIN_IMAGES].dropna().unique())]
    images += ["all"] if each[TRAIN_IMAGES].isna().any() else []
    return f"{recipe}, {' to '.join(dict.fromkeys((images[0], images[-1])))} train images"


def _words_on_noise(name: str, study: Study, each: pd.DataFrame, val_images: int) -> str:
    """What the seed alone does, for a study of one setting."""
    found, margin = each["val_accuracy"], versions.margin(each["val_accuracy"].std())
    return (
        f"# {name}: {study.question}\n\nThe seed alone moves validation accuracy by {found.std():.3%} (standard "
        f"deviation of {len(each)} fits, {found.min():.2%} to {found.max():.2%}, mean {found.mean():.2%}). Two fits of "
        f"this recipe differ by more than {margin:.3%} once in twenty times: less than that is nothing to the gate.\n\n"
        f"{len(each)} trials: {_of_what(study, each)}, {val_images:,} validation images.\n"
    )


def _words_on_data(each: pd.DataFrame) -> str:
    """Whether more images would help: what the last step on the curve brought, paired by seed, with its interval."""
    wide = each.pivot(index=TRAIN_IMAGES, columns="seed", values="val_accuracy").sort_index()
    fewer, most = wide.index[-2:]
    gain = wide.loc[most] - wide.loc[fewer]
    low, high = interval(gain)
    would = "more would probably help" if low > 0 else "that more would help cannot be told"
    return f"From {fewer:,} to {most:,} train images brought {gain.mean():.2%} ({low:.2%} to {high:.2%}): {would}."
