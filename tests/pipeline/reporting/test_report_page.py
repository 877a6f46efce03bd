import json
import re
import shutil
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from workspace import ROOT

from pipeline import evaluate, report
from pipeline.base import files, form, params, places
from pipeline.base.errors import BadInput
from pipeline.base.form import Form
from pipeline.data import splits
from pipeline.digits import features
from pipeline.digits.non_digits import NonDigits
from pipeline.learning import evaluation
from pipeline.learning.inference import Answers
from pipeline.reporting import figures, mosaics
from pipeline.reporting import page as page_room

PARAMS = ROOT / "params.yaml"
VOID = {"meta", "img", "br", "link", "input", "hr"}
SECTIONS = {
    *("training", "confusions", "mistakes", "classes", "slices", "robustness", "refusal", "calibration"),
    *("labels", "data", "validation", "drift", "files"),
}
CHECKS = [
    {"name": "class share", "observed": [0.09, 0.11], "expected": [0.05, 0.16], "severity": "critical", "passed": True},
    {"name": "duplicates", "observed": 0.02, "expected": None, "severity": "warning", "passed": False},
]


class Page(HTMLParser):
    """What a browser would find: elements with their attributes, text, and whether every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which every stage before the report has run."""
    folder = tmp_path_factory.mktemp("workspace")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        shutil.copy(PARAMS, folder)
        rng = np.random.default_rng(0)
        labels = np.tile(np.arange(10, dtype=np.uint8), 30)
        images = rng.integers(0, 256, (300, 28, 28), dtype=np.uint8)
        logits = rng.normal(size=(300, 10)) + 4 * np.eye(10)[labels]
        logits[0] = 20 * np.eye(10)[(labels[0] + 1) % 10]  # a label to be doubted
        probabilities = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)
        for name in page_room.PARTS:
            splits.save(places.PROCESSED / name, splits.Split(images, labels))
        ask = params.load().evaluate
        test = splits.Split(images, labels)
        answer = lambda seen: probabilities[: len(seen)]  # noqa: E731
        found = evaluation.tables(test, features.describe(images), probabilities, answer, ask)
        for name, table in found.items():
            files.write_text(places.EVALUATION / f"{name}.csv", table.to_csv(index=False))
        evaluate.draw(test, probabilities, found, ask.mistakes)
        drawn = NonDigits(images, np.random.default_rng(0), count=300)
        found["refusal"] = evaluation.refusal(drawn, Answers(probabilities, rng.uniform(size=300)))
        files.write_text(places.EVALUATION / "refusal.csv", found["refusal"].to_csv(index=False))
        figures.save(mosaics.refusal(drawn.by_kind(10), found["refusal"]), places.EVALUATION / "refusal.png")
        every = dict.fromkeys((*page_room.PARTS, "recent"), probabilities)
        truth = dict.fromkeys((*page_room.PARTS, "recent"), labels)
        numbers = evaluation.measure(every, truth, ask)
        numbers |= evaluation.believed(labels, Answers(probabilities, np.ones(300))) | {"non_digits_refused": 0.98}
        numbers["robustness"] = found["robustness"]["relative"].mean()
        files.write_json(places.METRICS, numbers)
        leave_other_stages()
    return folder


def leave_other_stages() -> None:
    counts = {"train": 1234, "test": 300}
    files.write_json(places.MANIFEST, {"dataset": "sketches", "source": "a <folder>", "counts": counts, "files": {}})
    message = "2 % are duplicates: look at <b>them</b>"
    checks = [{**check, "split": "train", "message": message} for check in CHECKS]
    files.write_json("reports/validation.json", {"checks": checks})
    limit = {"threshold": 0.25, "by_chance": 0.15}
    columns = [
        {"name": name, "distance": distance, **limit, "drifted": distance >= 0.25}
        for name, distance in (("slant", 0.04), ("ink_share", 0.31), ("label", 0.03))
    ]
    rows = {"reference_rows": 1234, "current_rows": 300}
    shares = {"drifted_share": 0.333333, "max_drifted_share": 0.34}
    files.write_json("reports/drift.json", {"verdict": "alike", **rows, **shares, "columns": columns})
    for page in ("drift.html", "validation/index.html", "validation/expectations/deep/index.html"):
        files.write_text(f"reports/{page}", "<html></html>")
    history = pd.DataFrame({"epoch": [1, 2], "loss": [0.5, 0.2], "val_loss": [0.4, 0.3], "accuracy": [0.8, 0.9]})
    history = history.assign(member=1, val_accuracy=[0.81, 0.91], learning_rate=0.001, kept=[False, True])
    history.to_csv("reports/history.csv", index=False)
    figures.save(figures.curves(history), "reports/curves.png")
    training = {"recipe": "quick", "members": 1, "epochs": 2, "weights": 1234, "kept_epoch": 2}
    training |= {"val_accuracy": 0.91, "overfits_from": None, "augmented": True}
    files.write_json("reports/training.json", training)


@pytest.fixture
def workspace(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def page(workspace: Path) -> Page:
    report.main()
    return Page(places.REPORT_PAGE.read_text(encoding="utf-8"))


def test_every_section_is_there_and_the_navigation_reaches_it(page: Page):
    assert {section["id"] for section in page.all("section")} == SECTIONS
    targets = {link["href"] for link in page.all("a") if str(link["href"]).startswith("#")}
    assert targets == {f"#{name}" for name in (*SECTIONS, "main")}


def test_it_is_one_whole_document(page: Page):
    assert page.open == []
    assert [tag for tag, _ in page.elements].count("h1") == 1
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    assert page.all("html")[0]["lang"] == "en"
    assert "{{" not in page.text and "{%" not in page.text


def test_it_asks_nothing_of_the_network(page: Page):
    addresses = [a[key] for _, a in page.elements for key in ("src", "href") if key in a]
    assert not [address for address in addresses if re.match(r"(?i)\s*(https?:)?//", str(address))]
    text = places.REPORT_PAGE.read_text(encoding="utf-8")
    assert "<script" not in text and "@import" not in text and "url(" not in text


def test_every_picture_is_inside_and_has_words_for_who_cannot_see_it(page: Page):
    pictures = page.all("img")
    assert len(pictures) == len(page_room.PICTURES) + 2
    assert all(str(picture["src"]).startswith("data:image/png;base64,iVBOR") for picture in pictures)
    assert all(len(str(picture["alt"])) > 15 for picture in pictures)


def test_every_link_leads_to_a_file_that_is_there(page: Page, workspace: Path):
    links = {str(link["href"]) for link in page.all("a")}
    outside = {link for link in links if not link.startswith("#")}
    assert {"drift.html", "validation/index.html", "evaluation/mistakes.csv", "evaluation/confusion.csv"} <= outside
    assert all((workspace / "reports" / link).is_file() for link in outside)


def test_tables_have_headers_with_a_scope(page: Page):
    assert len(page.all("table")) == 7
    assert all(header["scope"] in ("row", "col") for header in page.all("th"))


def test_it_shows_the_numbers_that_the_stages_left(page: Page):
    metrics = json.loads(places.METRICS.read_text())
    text = " ".join(page.text.split())
    assert f"{metrics['accuracy']:.2%} of unseen digits read correctly" in text
    assert f"{metrics['accuracy_low']:.2%} to {metrics['accuracy_high']:.2%}" in text
    assert "dataset sketches · recipe quick" in text and "1,234 images to train on" in text
    assert "quick trained for 2 epochs (1,234 weights)" in text and "those of epoch 2" in text
    assert "no sign of overfitting" in text
    assert "1 of 2 checks passed" in text and "0.09, 0.11" in text
    assert "Verdict: alike, by 1,234 images of train and 300 of test. 1 of 3 columns lies further apart" in text
    assert "calibration_bins:" in text


def test_what_comes_from_data_is_escaped(page: Page):
    assert "look at <b>them</b>" in page.text and "a <folder>" in page.text
    assert not page.all("b") and not page.all("folder")


def test_no_sentence_runs_into_the_next(page: Page):
    assert not re.findall(r"[a-z)%][.:][A-Z]\w*", page.text.split("The params of this run")[0])


def test_features_have_the_names_that_people_use(page: Page):
    assert "share of ink" in page.text and "ink_share" not in page.text.split("The params of this run")[0]


def test_what_is_far_apart_is_no_fault_where_the_verdict_is_alike(page: Page, workspace: Path):
    assert "further apart" in page.text and "✗ drifted" not in page.text
    drift = files.read_json(places.DRIFT)
    files.write_json(places.DRIFT, {**drift, "verdict": "drift"})
    report.main()
    assert "✗ drifted" in Page(places.REPORT_PAGE.read_text(encoding="utf-8")).text


def test_a_keyboard_reaches_the_report_and_whatever_scrolls(page: Page):
    first = page.all("a")[0]
    assert first["href"] == "#main" and page.all("main")[0]["id"] == "main"
    scrolling = [a for a in page.all("div") if {"wide", "narrow", "scroll"} & {*str(a.get("class")).split()}]
    assert len(scrolling) > 10 and all(a["tabindex"] == "0" and a["role"] == "region" for a in scrolling)
    assert all(a["aria-label"] for a in scrolling)


def test_headings_are_in_order(page: Page):
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1 and all(after <= before + 1 for before, after in pairwise(levels))


def test_a_model_without_mistakes_has_words_in_place_of_pictures(workspace: Path):
    for name in ("mistakes", "confused_pairs", "suspected_labels"):
        table = pd.read_csv(places.EVALUATION / f"{name}.csv")
        table[:0].to_csv(places.EVALUATION / f"{name}.csv", index=False)
    report.main()
    perfect = Page(places.REPORT_PAGE.read_text(encoding="utf-8"))
    assert perfect.text.count("None: every test image was read correctly.") == 2
    assert "None: of no test image is the model as sure" in perfect.text
    assert not [picture for picture in perfect.all("img") if "mistakes" in str(picture["alt"])]


def test_one_epoch_and_one_mistake_are_told_in_the_singular(workspace: Path):
    training = {**files.read_json(places.TRAINING), "epochs": 1, "kept_epoch": 1}
    files.write_json(places.TRAINING, training)
    table = pd.read_csv(places.EVALUATION / "mistakes.csv")
    table[:1].to_csv(places.EVALUATION / "mistakes.csv", index=False)
    report.main()
    text = " ".join(Page(places.REPORT_PAGE.read_text(encoding="utf-8")).text.split())
    assert "trained for 1 epoch (" in text and "One epoch does not tell whether it overfits." in text
    assert "mistakes in all" not in text


def test_pictures_in_colour_are_not_turned_round_in_the_dark(workspace: Path):
    def photos() -> int:
        report.main()
        return len([a for a in Page(places.REPORT_PAGE.read_text()).all("div") if "photos" in str(a.get("class"))])

    assert photos() == 0
    form.save(Form("plain", (28, 28), form.load().classes), places.PROCESSED)
    assert photos() == len(page_room.OF_IMAGES)


def test_the_same_run_gives_the_same_page(page: Page):
    before = places.REPORT_PAGE.read_bytes()
    report.main()
    assert places.REPORT_PAGE.read_bytes() == before


def test_what_is_missing_is_named_a_line_each(workspace: Path):
    (workspace / "reports/drift.json").unlink()
    (workspace / "reports/evaluation/slices.png").unlink()
    with pytest.raises(BadInput) as refusal:
        report.main()
    assert str(refusal.value).splitlines() == [
        "there is no reports/drift.json: run `dvc repro`",
        "there is no reports/evaluation/slices.png: run `dvc repro`",
    ]
    assert not places.REPORT_PAGE.exists()


def test_missing_data_docs_are_refused(workspace: Path):
    shutil.rmtree(places.DATA_DOCS)
    with pytest.raises(BadInput, match=r"there is no index.html in reports/validation: run `dvc repro`"):
        report.main()


def gate(min_accuracy: float, min_recall: float) -> params.Gate:
    return params.load(PARAMS).gate.model_copy(update={"min_accuracy": min_accuracy, "min_recall": min_recall})


METRICS = {"n_test": 10_000, "errors": 45, "accuracy": 0.9955, "min_recall": 0.985}
PAIRS = pd.DataFrame({"true": ["4", "7"], "predicted": ["9", "2"], "count": [8, 1], "share": [0.01, 0.001]})


def test_the_verdict_names_the_commonest_mistake():
    assert page_room.verdict(METRICS, PAIRS, gate(0.98, 0.93)) == (
        "It reads 9,955 of 10,000 unseen digits correctly, which clears the floors of the gate; "
        "the commonest mistake is a 4 taken for a 9 (8 times)."
    )
    assert page_room.verdict(METRICS, PAIRS[1:], gate(0.98, 0.93)).endswith("a 7 taken for a 2 (once).")
    eight = page_room.verdict(METRICS, PAIRS.assign(true="8"), gate(0.98, 0.93))
    assert eight.endswith("the commonest mistake is an 8 taken for a 9 (8 times).")
    letters = page_room.verdict(METRICS, PAIRS.assign(true="8"), gate(0.98, 0.93), "image")
    assert letters.endswith("the commonest mistake is 8 taken for 9 (8 times).") and "unseen images" in letters


def test_the_verdict_names_the_floors_that_were_missed():
    words = page_room.verdict(METRICS, PAIRS, gate(0.998, 0.99))
    assert (
        "but its accuracy is below the floor of 99.8% and its weakest class's recall is below the floor of 99%" in words
    )


def test_the_verdict_on_a_perfect_model():
    metrics = {"n_test": 360, "errors": 0, "accuracy": 1.0, "min_recall": 1.0}
    words = page_room.verdict(metrics, PAIRS[:0], gate(0.98, 0.93))
    assert words == "It reads all 360 unseen digits correctly, which clears the floors of the gate."


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.123456, "0.1235"),
        (60000, "60,000"),
        (True, "True"),
        ([0.05, 16], "0.05, 16"),
        (None, "–"),
        (float("nan"), "–"),
        ({"low": 1}, '{"low": 1}'),
        ("0–9", "0–9"),
    ],
)
def test_values_are_written_plainly(value: object, written: str):
    assert page_room.plain(value) == written


def test_class_shares_by_hand():
    rows = page_room.class_rows({"train": np.array([0, 0, 0, 9]), "test": np.array([9])})
    assert rows[0] == {"digit": "0", "splits": [(3, 0.75), (0, 0.0)]}
    assert rows[9] == {"digit": "9", "splits": [(1, 0.25), (1, 1.0)]}


def test_calibration_says_which_way_it_errs():
    table = pd.DataFrame({"confidence": [0.9, 0.5], "accuracy": [0.8, 0.6], "n": [300, 100]})
    assert page_room.calibration_sentence(table) == "On the whole it is overconfident by 5.00 points."
    table["accuracy"] = [1.0, 0.5]
    assert page_room.calibration_sentence(table) == "On the whole it is underconfident by 7.50 points."
