"""Which setting is better, and how sure is that? A grid of trials over a recipe, run on Dask.

A trial is one fit of one setting with one seed, judged on validation images; the test split is never looked at. Each
is a nested MLflow run, written as soon as it ends: a study that was cut off goes on with the trials that are missing.
A cluster computes the same numbers as one machine of its kind (:mod:`pipeline.studies.trial` says how). Leaves
reports/studies/NAME: a table, a plot and the findings in words.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import yaml
from pydantic import TypeAdapter, ValidationError
from tqdm import tqdm

from pipeline.base import cluster, files, form, places
from pipeline.base import params as params_file
from pipeline.base.errors import BadInput, brief
from pipeline.base.params import TRAIN_IMAGES, Params, Recipe, Study, StudyName
from pipeline.base.words import counted
from pipeline.data import splits
from pipeline.data.splits import Split
from pipeline.registry import seed_noise, versions
from pipeline.reporting import figures
from pipeline.studies import findings
from pipeline.studies import trial as trial_process
from pipeline.studies.trial import CURVES, Trial

if TYPE_CHECKING:
    from distributed import Client
    from mlflow import MlflowClient

EXPERIMENT_NOTE = (
    "A run a study, its trials below it. To compare them choose a study's trials and, in the chart view, add parallel "
    "coordinates of the params that vary and `kept_val_accuracy`. The description of a study's run says what it found."
)
SECTION = "studies"  # of params.yaml
NUMBERS = ("best_val_loss", "epochs", "overfits_from", "seconds", "weights")


def read(name: str, params: Params, file: Path | None = None) -> Study:
    """The study of that name in params.yaml, or in a ``file`` of studies; :class:`BadInput` if there is none."""
    studies = _read_file(file) if file else params.studies
    if name not in studies:
        raise BadInput(f"{file or places.PARAMS}: there is no study {name!r}: choose one of {', '.join(studies)}")
    return studies[name]


def _read_file(file: Path) -> dict[str, Study]:
    """The studies of a file, which may stand below `studies` as they do in params.yaml."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        if isinstance(content, dict) and set(content) == {SECTION} and isinstance(content[SECTION], dict):
            content = content[SECTION]
        return TypeAdapter(dict[StudyName, Study]).validate_python(content)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadInput(f"{file}: {reason}: give a YAML file of studies") from None
    except yaml.YAMLError as error:
        raise BadInput(f"{file} is not YAML: {brief(error)}") from None
    except ValidationError as error:
        raise BadInput("\n".join(params_file.explained(file, error))) from None


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
            raise BadInput("\n".join(params_file.explained(f"study {name}", error))) from None
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
    from pipeline.learning import fit_identity

    wanted = trials(name, study, params)
    train, val = (splits.load(places.PROCESSED / part) for part in ("train", "val"))
    of = form.load()
    wanted = [trial._replace(form=of) for trial in _affordable(name, wanted, len(train.labels))]
    data = fit_identity.data_digest(train, val)
    # a trial is a process of its own, and a thread waits for it
    with cluster.connected(scheduler, workers=1, threads=cluster.cores()) as dask:
        client = versions.connect()
        parent = _parent(client, name, study, params, data)
        done = _finished(client, parent)
        keys = [_key(trial, data) for trial in wanted]
        missing = {key: trial for key, trial in zip(keys, wanted, strict=True) if key not in done}
        results = _with_progress(name, len(wanted), len(missing), _results(dask, missing, train, val))
        try:
            for key, trial, result in results:
                _record(client, parent, key, trial, result)
                done[key] = result
        except BaseException:
            client.set_terminated(parent, "FAILED")  # MLflow's page would show it at work; the next call goes on
            raise
    client.set_terminated(parent)
    every = [(trial, done[key]) for trial, key in zip(wanted, keys, strict=True)]
    found = _report(name, study, every, len(val.labels), client, parent)
    if study.is_of_noise:
        fitted = fit_identity.digest(every[0][0].recipe, data, of)
        accuracies = [result["kept_val_accuracy"] for _, result in every]
        found["noise"] = seed_noise.note(client, versions.model_name(params.named), fitted, accuracies)
    return found


Result = tuple[str, Trial, dict[str, Any]]


def _with_progress(name: str, count: int, missing: int, results: Iterator[Result]) -> Iterator[Result]:
    """The results, of so many trials of which some are missing, with a bar that knows the time left on a terminal, and
    a line a trial either way, on stderr."""
    finished = count - missing
    there = f", {finished} of which are there from before" if finished else ""
    print(f"study {name}: {counted(count, 'trial')}{there}", file=sys.stderr, flush=True)
    form = "{desc} {percentage:3.0f}% |{bar}| {elapsed} gone, {remaining} left"
    with tqdm(total=count, initial=finished, desc=f"study {name}", disable=None, leave=False, bar_format=form) as bar:
        for key, trial, result in results:
            yield key, trial, result
            finished += 1
            bar.update()
            said = f"{trial.label}, seed {trial.seed}: val accuracy {result['kept_val_accuracy']:.2%}"
            tqdm.write(f"study {name}: {finished} of {count}: {said}, {result['seconds']:.0f} s", file=sys.stderr)


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


def _results(dask: Client, missing: dict[str, Trial], train: Split, val: Split) -> Iterator[Result]:
    """The trials' results as they come in. A trial whose worker dies is run again on another."""
    from distributed import KilledWorker, as_completed

    if not missing:
        return
    asked = [trial.train_images for trial in missing.values()]
    most = None if None in asked else max(count for count in asked if count)  # no trial looks at more
    there = dask.scatter([trial_process.lowest(train, most), Split(*map(np.asarray, val))], broadcast=True)
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


def _key(trial: Trial, data: str) -> str:
    """What a trial's result comes from: the fit, how many images of it, the seed, and the code of the trial itself."""
    from pipeline.learning import fit_identity

    own = files.sha256_file(trial_process.__file__)
    facts = [fit_identity.digest(trial.recipe, data, trial.form), trial.train_images, trial.seed, own]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _parent(client: MlflowClient, name: str, study: Study, params: Params, data: str) -> str:
    """The id of the study's own run: the one that is there for this data, or a new one."""
    experiment = versions.experiment(client, f"{versions.model_name(params.named)}-studies", EXPERIMENT_NOTE)
    found = client.search_runs([experiment], f"tags.study = '{name}' and tags.data_sha256 = '{data}'", max_results=1)
    if found:
        client.update_run(found[0].info.run_id, status="RUNNING")
        return str(found[0].info.run_id)
    tags = {"study": name, "data_sha256": data, versions.NOTE: study.question}
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
    each = pd.DataFrame(
        {"setting": t.label, "seed": t.seed, **t.settings, TRAIN_IMAGES: t.train_images}
        | {"val_accuracy": r["kept_val_accuracy"]}
        | {number: r[number] for number in NUMBERS}
        for t, r in results
    )
    summary = findings.summarise(each)
    words = findings.words(name, study, summary, each, val_images)
    folder = places.STUDIES / name
    for file, table in {"trials.csv": each, "table.csv": summary}.items():
        files.write_text(folder / file, table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    files.write_text(folder / "findings.md", words)
    figures.save(figures.study(summary, each, [(t.label, r["val_loss"]) for t, r in results]), folder / "plot.png")
    client.set_tag(parent, versions.NOTE, words)
    for path in sorted(folder.iterdir()):
        client.log_artifact(parent, str(path))
    table = json.loads(summary.to_json(orient="records"))  # None where a number is missing
    told = {"table": table, "findings": words, "report": str(folder)}
    return {"study": name, "trials": len(each), **told}
