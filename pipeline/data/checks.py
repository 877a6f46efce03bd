"""May this data in? Great Expectations on one row of summary numbers an image, and one row a class.

The tables are those of :mod:`pipeline.data.descriptions`; what is expected of them is in
:mod:`pipeline.data.expectations`.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import chisquare

from pipeline.base import repeatable
from pipeline.base.form import DIGITS, TEN, Form
from pipeline.base.params import Validate
from pipeline.base.rules import Rule
from pipeline.data import data_docs, expectations, splits

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # stands for "no date", which Data Docs cannot do without
_MOMENT = re.compile(r"\b2\d{3}[01]\d[0-3]\dT[0-2]\d[0-5]\d[0-5]\d\.\d{6}Z")  # as Great Expectations writes it
_SHOWN = re.compile(r"(?<='run_time': ')[^']*|\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\b")  # a run's time, for people
NAMED = 5  # classes that a line names


@dataclass(frozen=True)
class Check:
    """What came of a rule."""

    key: str
    name: str
    split: str
    severity: str
    """critical, warning or info"""
    passed: bool
    observed: str
    expected: str
    advice: str

    @property
    def stops(self) -> bool:
        """Whether the data may not in."""
        return self.severity == "critical" and not self.passed

    @property
    def message(self) -> str:
        return f"{self.split}: {self.name}: found {self.observed}, expected {self.expected}: {self.advice}"

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "message": self.message}


def image_rows(table: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """One row an image of the described split ``table``; ``other`` is the split that must share no image with it."""
    hashes = table["hash"]
    contradicting = np.zeros(len(table), np.uint8)
    again = np.flatnonzero(hashes.duplicated(keep=False))  # few, and only these can contradict one another
    labels = table["label"].iloc[again]
    contradicting[again] = labels.groupby(hashes.iloc[again]).transform("nunique") > 1
    found = {
        "duplicate": hashes.duplicated().astype(np.uint8),
        "contradicting": contradicting,
        "in_other_split": hashes.isin(other["hash"]).astype(np.uint8),
    }
    return _with({name: table[name] for name in table.columns if name != "hash"} | found)


def _with(columns: dict[str, Any]) -> pd.DataFrame:
    """A frame of these columns, which are not copied: of many images they take the most memory."""
    return pd.DataFrame(columns, copy=False)


def class_rows(train: pd.DataFrame, test: pd.DataFrame, classes: Sequence[str] = TEN) -> pd.DataFrame:
    """One row a class: its name, its share of train and of test, and the difference."""
    shares = [splits.class_shares(table["label"].to_numpy(), len(classes)) for table in (train, test)]
    rows = pd.DataFrame({"class": list(classes), "train_share": shares[0], "test_share": shares[1]})
    return rows.assign(difference=(rows["train_share"] - rows["test_share"]).abs())


class Validated(NamedTuple):
    """Every check, and the numbers beside."""

    checks: list[Check]
    numbers: dict[str, Any]

    @property
    def success(self) -> bool:
        return not any(check.stops for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        return {"success": self.success, **self.numbers, "checks": [check.as_json() for check in self.checks]}


def validate(
    train: pd.DataFrame, test: pd.DataFrame, params: Validate, docs: Path, form: Form = DIGITS, shard: int | None = None
) -> Validated:
    """Run every expectation on two described splits; leaves the Data Docs in ``docs``. ``shard`` is how many images one
    holds, of splits that lie in shards."""
    count = len(form.classes)
    asked = expectations.columns(params, form)
    train, test = (_with({name: table[name] for name in asked}) for table in (train, test))
    tables = {
        "train": (image_rows(train, test), expectations.image_rules("train", params, form)),
        "test": (image_rows(test, train), expectations.image_rules("test", params, form)),
        "classes": (
            class_rows(train, test, form.classes),
            expectations.class_rules(params, {"train": len(train), "test": len(test)}, count),
        ),
    }
    checks = _run(tables, docs, form, shard)
    classes = tables["classes"][0]
    copies = {name: int(tables[name][0]["duplicate"].sum()) for name in ("train", "test")}
    numbers = {
        "counts": {"train": len(train), "test": len(test)},
        "duplicates": {**copies, "test_in_train": int(tables["test"][0]["in_other_split"].sum())},
        "class_shares": {name: classes[f"{name}_share"].round(6).tolist() for name in ("train", "test")},
        "chi_square": {name: _uniformity(table["label"], count) for name, table in (("train", train), ("test", test))},
    }
    return Validated(checks, numbers)


def _uniformity(labels: pd.Series, classes: int) -> dict[str, float | None]:
    """Pearson's chi-square of the class counts against equal ones; reported, because large sets always differ."""
    counts = np.bincount(labels, minlength=classes)[:classes]
    if not counts.any():  # no label is of a class: the statistic would be NaN, which JSON does not have
        return {"statistic": None, "p_value": None}
    result = chisquare(counts)
    return {"statistic": round(float(result.statistic), 4), "p_value": float(result.pvalue)}


def _run(tables: dict[str, tuple[pd.DataFrame, list[Rule]]], docs: Path, form: Form, shard: int | None) -> list[Check]:
    """Validate each table by its rules with Great Expectations; a row a check, and the Data Docs in ``docs``."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    for default in list(context.get_site_names()):
        context.delete_data_docs_site(default)
    backend: Any = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs.resolve())}
    index: Any = {"class_name": "DefaultSiteIndexBuilder"}
    site: Any = {"class_name": "SiteBuilder", "site_index_builder": index, "store_backend": backend}
    context.add_data_docs_site("validation", site | {"show_how_to_buttons": False})
    source = context.data_sources.add_pandas("data")
    checks = []
    for number, (name, (rows, rules)) in enumerate(tables.items()):
        for rule in rules:
            rule.expectation.notes = rule.advice  # shown beside the expectation in the Data Docs
        suite = context.suites.add(gx.ExpectationSuite(name, expectations=[rule.expectation for rule in rules]))
        batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("whole")
        definition = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
        checkpoint = context.checkpoints.add(gx.Checkpoint(name=name, validation_definitions=[definition]))
        run = checkpoint.run(batch_parameters={"dataframe": rows}, run_id=_run_id(number))
        (result,) = run.run_results.values()
        checks += [_check(name, rows, rule, _of(rule, suite, result), form, shard) for rule in rules]
    context.build_data_docs(["validation"])  # once: each time it copies four megabytes, a thousand files
    data_docs.stand_alone(docs)
    for page in docs.rglob("*.html"):
        repeatable.rewrite(page, repeatable.stable_ids, _stable_times)
    return checks


def _run_id(number: int) -> Any:
    """A run's page is named by its place, not by the clock; a second apart, as the browser sorts the index by time."""
    from great_expectations.core import RunIdentifier

    return RunIdentifier(run_name="digits", run_time=EPOCH + timedelta(seconds=number))


def _stable_times(text: str) -> str:
    """No moments: neither those taken from the clock, nor a run's time, which is shown in the local time zone. EPOCH's
    day stays: it is in the names of files."""
    day, stand_in = f"{EPOCH:%Y%m%d}", f"{EPOCH:%Y%m%dT%H%M%S.%fZ}"
    text = _MOMENT.sub(lambda found: found[0] if found[0].startswith(day) else stand_in, text)
    return _SHOWN.sub("no date", text)


def _of(rule: Rule, suite: Any, result: Any) -> Any:
    """The result of a rule's expectation: Great Expectations does not keep their order."""
    (found,) = [r for r in result.results if r.expectation_config.id == rule.expectation.id]
    return found


def _check(table: str, rows: pd.DataFrame, rule: Rule, result: Any, form: Form, shard: int | None) -> Check:
    if result.exception_info.get("raised_exception"):
        raise RuntimeError(f"{table}: {rule.name}: {result.exception_info}")
    return Check(
        key=rule.key,
        name=rule.name,
        split=table,
        severity=str(getattr(rule.expectation.severity, "value", rule.expectation.severity)),
        passed=bool(result.success),
        observed=_observed(rows, result, form, shard),
        expected=_expected(result.expectation_config.kwargs, form.classes),
        advice=rule.advice,
    )


def _observed(rows: pd.DataFrame, result: Any, form: Form, shard: int | None) -> str:
    """What was found, for a person: a number, what is missing, or what broke the rule."""
    facts, classes = result.result, form.classes
    if "partial_missing_list" in facts:
        every = "all ten" if classes == TEN else f"all {len(classes)}"
        missing = [classes[label] for label in facts["partial_missing_list"]]
        return f"none of {', '.join(missing)}" if facts["missing_count"] else every
    if "observed_value" in facts:
        value = facts["observed_value"]
        return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}"
    count, first = facts["unexpected_count"], facts["partial_unexpected_index_list"]
    if not count:
        return "none against it"
    if "class" in rows:
        shares = rows[result.expectation_config.kwargs["column"]]
        named = ", ".join(f"{shares[label]:.3f} for {rows['class'][label]}" for label in first[:NAMED])
        return named + (f" and {count - NAMED} more" if count > NAMED else "")
    return f"{count:,} of {len(rows):,} images, the first at {_at(first[:3], len(rows), shard)}"


def _at(places: Sequence[int], images: int, shard: int | None) -> str:
    """Where images of a split lie, among so many: their index, and where there are several shards, in which."""
    if shard is None or images <= shard:
        return f"index {', '.join(map(str, places))}"
    return ", ".join(f"index {place % shard} of shard {place // shard}" for place in places)


def _expected(kwargs: dict, classes: Sequence[str]) -> str:
    if "value_set" in kwargs:
        return "0 to 9" if tuple(classes) == TEN else f"the {len(classes)} classes"
    if "column_A" in kwargs:
        return "different levels in each"
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    if low is None:
        mostly = kwargs.get("mostly", 1)
        return f"at most {high:g}" + (f" in {mostly:.1%} of the images" if mostly < 1 else "")
    if high is None:
        return f"at least {low:,}"
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"
