import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chisquare
from workspace import ROOT

from pipeline.base import files
from pipeline.base import params as params_file
from pipeline.data import checks, descriptions
from pipeline.data.checks import Check, Validated
from pipeline.data.datasets import catalogue
from pipeline.data.splits import Split

PARAMS = params_file.load(ROOT / "params.yaml").model_copy(update={"dataset": "digits"})


@pytest.fixture(scope="module")
def clean() -> tuple[Split, Split]:
    loaded = catalogue.load(PARAMS)
    return loaded.train, loaded.test


@pytest.fixture
def copies(clean: tuple[Split, Split]) -> tuple[Split, Split]:
    """The clean splits, to be spoilt."""
    train, test = (Split(*map(np.copy, split)) for split in clean)
    return train, test


def validated(train: Split, test: Split, docs: Path) -> Validated:
    return checks.validate(descriptions.describe(train), descriptions.describe(test), PARAMS.validate_, docs)


def findings(train: Split, test: Split, docs: Path) -> dict[str, Check]:
    """The checks that were not passed, by split and name."""
    found = validated(train, test, docs).checks
    return {f"{check.split}: {check.name}": check for check in found if not check.passed}


def test_clean_data_passes_every_check(clean: tuple[Split, Split], tmp_path: Path):
    report = validated(*clean, tmp_path / "docs").as_json()
    assert report["success"] and all(check["passed"] for check in report["checks"])
    assert report["counts"] == {"train": len(clean[0].labels), "test": len(clean[1].labels)}
    assert sum(report["class_shares"]["train"]) == pytest.approx(1, abs=1e-4)
    expected = chisquare(np.bincount(clean[0].labels))
    assert report["chi_square"]["train"]["statistic"] == pytest.approx(expected.statistic, abs=1e-3)
    assert report["chi_square"]["train"]["p_value"] == pytest.approx(expected.pvalue)
    assert report["duplicates"] == {"train": 0, "test": 0, "test_in_train": 0}
    pages = [path.read_text() for path in (tmp_path / "docs").rglob("*.html")]
    assert any("correct or remove these labels" in page for page in pages)
    assert (tmp_path / "docs/index.html").is_file() and len(pages) >= 7
    assert not any(str(tmp_path) in page for page in pages)


def label_10(train: Split, test: Split) -> None:
    train.labels[5] = 10


def class_missing(train: Split, test: Split) -> None:
    test.labels[test.labels == 4] = 9


def inverted(train: Split, test: Split) -> None:
    train.images[:] = 255 - train.images


def scaled_to_one(train: Split, test: Split) -> None:
    train.images[:] = train.images > 127


def never_paper(train: Split, test: Split) -> None:
    test.images[:] = np.maximum(test.images, 1)


def one_constant(train: Split, test: Split) -> None:
    train.images[7] = 0


def leaked(train: Split, test: Split) -> None:
    test.images[:10] = train.images[:10]


def unbalanced(train: Split, test: Split) -> None:
    train.labels[np.flatnonzero(train.labels == 2)[:130]] = 3


def repeated(train: Split, test: Split) -> None:
    train.images[:40], train.labels[:40] = train.images[40:80], train.labels[40:80]


def contradicting(train: Split, test: Split) -> None:
    train.images[0], train.labels[0] = train.images[1], (train.labels[1] + 1) % 10


def one_leaked(train: Split, test: Split) -> None:
    test.images[0], test.labels[0] = train.images[0], train.labels[0]


@pytest.mark.parametrize(
    ("spoil", "severity", "expected"),
    [
        (label_10, "critical", {"train: labels are 0 to 9": "1 of 1,440 images, the first at index 5"}),
        (
            class_missing,
            "critical",
            {"test: every class is present": "none of 4", "classes: class balance of test": "0.000 for 4"},
        ),
        (
            inverted,
            "critical",
            {
                "train: paper is 0, ink is 255": "the images look inverted: 0 must be paper",
                "train: mean grey level": "expected 15 to 60",
            },
        ),
        (
            scaled_to_one,
            "critical",
            {"train: ink reaches 255": "found 1, expected 255: bring the pixels to 0–255"},
        ),
        (never_paper, "critical", {"test: paper reaches 0": "found 1, expected 0"}),
        (one_constant, "critical", {"train: no blank or constant image": "1 of 1,440 images, the first at index 7"}),
        (leaked, "critical", {"test: no leakage from test to train": "test images stand in train"}),
        (
            unbalanced,
            "critical",
            {
                "classes: class balance of train": "for 2",
                "classes: train and test are balanced alike": "expected at most 0.06",
            },
        ),
        (repeated, "warning", {"train: few exact duplicates": "found 0.02778, expected at most 0.01"}),
        (contradicting, "warning", {"train: equal images have equal labels": "correct their labels"}),
        (one_leaked, "warning", {"test: no test image in train": "preprocess drops these images"}),
    ],
)
def test_a_finding_names_what_where_and_what_to_do(
    copies: tuple[Split, Split],
    tmp_path: Path,
    spoil: Callable[[Split, Split], None],
    severity: str,
    expected: dict[str, str],
):
    spoil(*copies)
    found = findings(*copies, tmp_path / "docs")
    for name, words in expected.items():
        assert found[name].severity == severity
        assert found[name].message.startswith(name) and words in found[name].message
    assert severity == "critical" or all(check.severity == "warning" for check in found.values())


def test_a_split_without_any_digit_is_reported_in_strict_json(copies: tuple[Split, Split], tmp_path: Path):
    copies[0].labels[:] = 10
    report = validated(*copies, tmp_path / "docs").as_json()
    assert not report["success"] and report["chi_square"]["train"] == {"statistic": None, "p_value": None}
    json.dumps(report, allow_nan=False)


def test_a_few_images_that_touch_the_rim_are_let_in(copies: tuple[Split, Split], tmp_path: Path):
    train, test = copies
    train.images[:7] = 255 - train.images[:7]  # 0.49 % of 1,440
    assert "train: paper is 0, ink is 255" not in findings(train, test, tmp_path / "few")
    train.images[7] = 255 - train.images[7]
    message = findings(train, test, tmp_path / "more")["train: paper is 0, ink is 255"].message
    assert "8 of 1,440 images" in message and "expected at most 128 in 99.5% of the images" in message


def test_too_few_images_are_a_finding(clean: tuple[Split, Split], tmp_path: Path):
    train, test = clean
    found = findings(Split(train.images[:900], train.labels[:900]), test, tmp_path / "docs")
    assert "found 900, expected at least 1,000" in found["train: enough images"].message


def test_the_data_docs_are_the_same_bytes_twice(clean: tuple[Split, Split], tmp_path: Path):
    def pages(name: str) -> dict[str, str]:
        validated(*clean, tmp_path / name)
        files_of_it = [path for path in (tmp_path / name).rglob("*") if path.is_file()]
        return {str(path.relative_to(tmp_path / name)): files.sha256_file(path) for path in files_of_it}

    assert pages("first") == pages("second")


@pytest.mark.parametrize(("shard", "where"), [(None, "index 1003"), (2000, "index 1003"), (500, "index 3 of shard 2")])
def test_a_finding_names_the_shard_only_where_there_are_shards(
    copies: tuple[Split, Split], tmp_path: Path, shard: int | None, where: str
):
    """A batch that is handed in lies in none, however large it is."""
    train, test = copies
    train.labels[1003] = 10
    tables = [descriptions.describe(split) for split in (train, test)]
    found = checks.validate(*tables, PARAMS.validate_, tmp_path / "docs", shard=shard).checks
    (label,) = [check for check in found if check.key == "labels_in_range" and check.split == "train"]
    assert label.observed == f"1 of 1,440 images, the first at {where}"
