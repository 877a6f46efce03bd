"""May this data in? Great Expectations on one row of summary numbers an image, and one row a class.

Leaves reports/validation.json and the Data Docs in reports/validation/, then stops the pipeline with a line for each
critical finding. Warnings are printed and go on. The bands are params.yaml's section `validate`.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import chisquare

from pipeline.base import files
from pipeline.base import params as params_file
from pipeline.base.errors import BadInput, one_line
from pipeline.base.params import Validate
from pipeline.data import splits
from pipeline.data.splits import CLASSES, Split
from pipeline.digits import features

REPORT = Path("reports/validation.json")
DOCS = Path("reports/validation")
DIGITS = list(range(CLASSES))
MOSTLY_PAPER = 0.995  # of the images must have a rim of paper: a few touch it, an inverted set has none


class Rule(NamedTuple):
    """An expectation and how a person is told that it was not met."""

    name: str
    expectation: Any
    advice: str


def image_rows(split: Split, hashes: np.ndarray, other: np.ndarray) -> pd.DataFrame:
    """One row an image; ``hashes`` uint64 (N,) of this split's images, ``other`` of the other split's."""
    described = features.describe(split.images)[["mean", "ink_share", "border_ink"]]
    labels = pd.Series(np.asarray(split.labels))
    by_content = labels.groupby(hashes)
    return described.assign(
        label=labels.astype(int),
        minimum=_reduced(split.images, np.min),
        maximum=_reduced(split.images, np.max),
        duplicate=pd.Series(hashes).duplicated().astype(int),
        contradicting=(by_content.transform("nunique") > 1).astype(int),
        in_other_split=np.isin(hashes, other).astype(int),
    )


def _reduced(images: np.ndarray, reduce: Any) -> np.ndarray:
    """``reduce`` over each image's pixels, read in chunks."""
    starts = range(0, len(images), features.CHUNK)
    parts = [reduce(images[start : start + features.CHUNK], axis=(1, 2)) for start in starts]
    return np.concatenate(parts).astype(int) if parts else np.empty(0, int)


def class_rows(train: Split, test: Split) -> pd.DataFrame:
    """One row a class: its share of train and of test, and the difference."""
    shares = [np.bincount(s.labels, minlength=256)[:CLASSES] / max(len(s.labels), 1) for s in (train, test)]
    rows = pd.DataFrame({"digit": DIGITS, "train_share": shares[0], "test_share": shares[1]})
    return rows.assign(difference=(rows["train_share"] - rows["test_share"]).abs())


def image_rules(split: str, params: Validate) -> list[Rule]:
    """What is expected of a split's images. ``split`` is "train" or "test"."""
    from great_expectations import expectations as gxe
    from great_expectations.expectations.metadata_types import FailureSeverity

    warning = FailureSeverity.WARNING
    low, high = params.mean_pixel
    least, most = params.ink_share
    rules = [
        Rule(
            "enough images",
            gxe.ExpectTableRowCountToBeBetween(min_value=getattr(params, f"min_{split}")),
            "add images, or lower validate.min_" + split,
        ),
        Rule(
            "labels are 0 to 9",
            gxe.ExpectColumnValuesToBeInSet(column="label", value_set=DIGITS),
            "correct or remove these labels",
        ),
        Rule(
            "every class is present",
            gxe.ExpectColumnDistinctValuesToContainSet(column="label", value_set=DIGITS),
            "add images of the missing digits",
        ),
        Rule(
            "paper reaches 0",
            gxe.ExpectColumnMinToBeBetween(column="minimum", min_value=0, max_value=0),
            "bring the pixels to 0 = paper",
        ),
        Rule(
            "ink reaches 255",
            gxe.ExpectColumnMaxToBeBetween(column="maximum", min_value=255, max_value=255),
            "bring the pixels to 0–255; a highest value of 1 means that they were scaled to 0–1",
        ),
        Rule(
            "mean grey level",
            gxe.ExpectColumnMeanToBeBetween(column="mean", min_value=low, max_value=high),
            "look at the images, then correct them or validate.mean_pixel",
        ),
        Rule(
            "share of ink",
            gxe.ExpectColumnMeanToBeBetween(column="ink_share", min_value=least, max_value=most),
            "look at the images, then correct them or validate.ink_share",
        ),
        Rule(
            "no blank or constant image",
            gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A="maximum", column_B="minimum"),
            "remove these images",
        ),
        Rule(
            "paper is 0, ink is 255",
            gxe.ExpectColumnValuesToBeBetween(
                column="border_ink", max_value=params.max_border_ink, mostly=MOSTLY_PAPER
            ),
            "the images look inverted: 0 must be paper and 255 ink",
        ),
        Rule(
            "few exact duplicates",
            gxe.ExpectColumnMeanToBeBetween(column="duplicate", max_value=params.max_duplicate_share, severity=warning),
            "remove the copies: they count twice in training",
        ),
        Rule(
            "equal images have equal labels",
            gxe.ExpectColumnMaxToBeBetween(column="contradicting", max_value=0, severity=warning),
            "correct their labels",
        ),
    ]
    return rules + (leak_rules(params) if split == "test" else [])


def leak_rules(params: Validate) -> list[Rule]:
    """What is expected of test images that stand in train too."""
    from great_expectations import expectations as gxe
    from great_expectations.expectations.metadata_types import FailureSeverity

    return [
        Rule(
            "no leakage from test to train",
            gxe.ExpectColumnMeanToBeBetween(column="in_other_split", max_value=params.max_leaked_share),
            "test images stand in train: take them out of one of the two",
        ),
        Rule(
            "no test image in train",
            gxe.ExpectColumnMaxToBeBetween(column="in_other_split", max_value=0, severity=FailureSeverity.WARNING),
            "preprocess drops these images from train",
        ),
    ]


def class_rules(params: Validate) -> list[Rule]:
    """What is expected of the classes' shares."""
    from great_expectations import expectations as gxe

    low, high = params.class_share
    balance = [
        Rule(
            f"class balance of {split}",
            gxe.ExpectColumnValuesToBeBetween(column=f"{split}_share", min_value=low, max_value=high),
            "add images of the rare digits or remove some of the frequent ones",
        )
        for split in ("train", "test")
    ]
    alike = gxe.ExpectColumnValuesToBeBetween(column="difference", max_value=params.max_share_difference)
    return [*balance, Rule("train and test are balanced alike", alike, "draw the two splits from the same source")]


def validate(train: Split, test: Split, params: Validate, docs: Path) -> dict:
    """Run every expectation; the report, and the Data Docs in ``docs``. `splits.check_arrays` comes first."""
    hashes = {"train": splits.content_hashes(train.images), "test": splits.content_hashes(test.images)}
    tables = {
        "train": (image_rows(train, hashes["train"], hashes["test"]), image_rules("train", params)),
        "test": (image_rows(test, hashes["test"], hashes["train"]), image_rules("test", params)),
        "classes": (class_rows(train, test), class_rules(params)),
    }
    checks = _run(tables, docs)
    classes = tables["classes"][0]
    copies = {name: int(tables[name][0]["duplicate"].sum()) for name in ("train", "test")}
    return {
        "success": not any(c["severity"] == "critical" and not c["passed"] for c in checks),
        "counts": {"train": len(train.labels), "test": len(test.labels)},
        "duplicates": {**copies, "test_in_train": int(tables["test"][0]["in_other_split"].sum())},
        "class_shares": {name: classes[f"{name}_share"].round(6).tolist() for name in ("train", "test")},
        "chi_square": {"train": _uniformity(train.labels), "test": _uniformity(test.labels)},
        "checks": checks,
    }


def _uniformity(labels: np.ndarray) -> dict[str, float | None]:
    """Pearson's chi-square of the class counts against equal ones; reported, because large sets always differ."""
    counts = np.bincount(labels, minlength=256)[:CLASSES]
    if not counts.any():  # no label is a digit: the statistic would be NaN, which JSON does not have
        return {"statistic": None, "p_value": None}
    result = chisquare(counts)
    return {"statistic": round(float(result.statistic), 4), "p_value": float(result.pvalue)}


def _run(tables: dict[str, tuple[pd.DataFrame, list[Rule]]], docs: Path) -> list[dict]:
    """Validate each table by its rules with Great Expectations; a row a check, and the Data Docs in ``docs``."""
    import great_expectations as gx
    from great_expectations.checkpoint import UpdateDataDocsAction
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    for default in list(context.get_site_names()):
        context.delete_data_docs_site(default)
    backend: Any = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs.resolve())}
    index: Any = {"class_name": "DefaultSiteIndexBuilder"}
    context.add_data_docs_site(
        "validation", {"class_name": "SiteBuilder", "site_index_builder": index, "store_backend": backend}
    )
    source = context.data_sources.add_pandas("data")
    checks = []
    for name, (rows, rules) in tables.items():
        for rule in rules:
            rule.expectation.notes = rule.advice  # shown beside the expectation in the Data Docs
        suite = context.suites.add(gx.ExpectationSuite(name, expectations=[rule.expectation for rule in rules]))
        batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("whole")
        definition = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
        checkpoint = context.checkpoints.add(
            gx.Checkpoint(
                name=name,
                validation_definitions=[definition],
                actions=[UpdateDataDocsAction(name="docs", site_names=["validation"])],
            )
        )
        run = checkpoint.run(batch_parameters={"dataframe": rows})
        (result,) = run.run_results.values()
        checks += [_check(name, rows, rule, _of(rule, suite, result)) for rule in rules]
    return checks


def _of(rule: Rule, suite: Any, result: Any) -> Any:
    """The result of a rule's expectation: Great Expectations does not keep their order."""
    (found,) = [r for r in result.results if r.expectation_config.id == rule.expectation.id]
    return found


def _check(table: str, rows: pd.DataFrame, rule: Rule, result: Any) -> dict:
    if result.exception_info.get("raised_exception"):
        raise RuntimeError(f"{table}: {rule.name}: {result.exception_info}")
    observed, expected = _observed(rows, result), _expected(result.expectation_config.kwargs)
    return {
        "name": rule.name,
        "split": table,
        "severity": str(getattr(rule.expectation.severity, "value", rule.expectation.severity)),
        "passed": bool(result.success),
        "observed": observed,
        "expected": expected,
        "message": f"{table}: {rule.name}: found {observed}, expected {expected}: {rule.advice}",
    }


def _observed(rows: pd.DataFrame, result: Any) -> str:
    """What was found, for a person: a number, what is missing, or what broke the rule."""
    facts = result.result
    if "partial_missing_list" in facts:
        return f"none of {', '.join(map(str, facts['partial_missing_list']))}" if facts["missing_count"] else "all ten"
    if "observed_value" in facts:
        value = facts["observed_value"]
        return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}"
    count, first = facts["unexpected_count"], facts["partial_unexpected_index_list"]
    if not count:
        return "none against it"
    if "digit" in rows:
        shares = rows[result.expectation_config.kwargs["column"]]
        return ", ".join(f"{shares[digit]:.3f} for {digit}" for digit in first)
    return f"{count:,} of {len(rows):,} images, the first at index {', '.join(map(str, first[:3]))}"


def _expected(kwargs: dict) -> str:
    if "value_set" in kwargs:
        return "0 to 9"
    if "column_A" in kwargs:
        return "ink and paper in each"
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    if low is None:
        mostly = kwargs.get("mostly", 1)
        return f"at most {high:g}" + (f" in {mostly:.1%} of the images" if mostly < 1 else "")
    if high is None:
        return f"at least {low:,}"
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def main() -> None:
    params = params_file.load().validate_
    train, test = splits.load(splits.RAW / "train"), splits.load(splits.RAW / "test")
    splits.check_arrays(train, test, "validate")
    DOCS.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=DOCS.parent) as folder:
        report = validate(train, test, params, Path(folder) / "docs")
        shutil.rmtree(DOCS, ignore_errors=True)
        (Path(folder) / "docs").replace(DOCS)
    files.write_json(REPORT, report)
    failed = [check for check in report["checks"] if not check["passed"]]
    for check in failed:
        if check["severity"] != "critical":
            print(f"warning: validate: {check['message']}")
    if not report["success"]:
        raise BadInput("\n".join(f"validate: {c['message']}" for c in failed if c["severity"] == "critical"))
    print(f"validate: {len(report['checks'])} checks, warnings: {len(failed)}; see {DOCS}/index.html")


if __name__ == "__main__":
    with one_line():
        main()
