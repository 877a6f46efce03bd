"""Do the Data Docs ask for nothing from elsewhere, and say what they said?"""

import re
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import yaml
from workspace import ROOT

from pipeline.base import params as params_file
from pipeline.data import checks, data_docs, descriptions
from pipeline.data.datasets import catalogue
from pipeline.data.splits import Split

PARAMS = params_file.load(ROOT / "params.yaml").model_copy(update={"dataset": "digits"})


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those of the embedded digits, the test split inverted so that some expectations fail."""
    folder = tmp_path_factory.mktemp("reports") / "docs"
    loaded = catalogue.load(PARAMS)
    inverted = Split(255 - np.asarray(loaded.test.images), loaded.test.labels)
    checks.validate(descriptions.describe(loaded.train), descriptions.describe(inverted), PARAMS.validate_, folder)
    return folder


def test_no_page_asks_for_anything(docs: Path):
    pages = {page: page.read_text(encoding="utf-8") for page in docs.rglob("*.html")}
    assert len(pages) == 7
    for page, text in pages.items():
        assert not re.search(r"<script|<link|<img|@import|url\(|\bon\w+=", text), page
        assert text.count("<style>") == 1 and data_docs.STYLE.read_text(encoding="utf-8") in text
    assert {path.suffix for path in docs.rglob("*") if path.is_file()} == {".html"}


def test_every_link_between_the_pages_leads_to_one(docs: Path):
    for page in docs.rglob("*.html"):
        links = re.findall(r'<a\b[^>]*\bhref="([^"#]+)"', page.read_text(encoding="utf-8"))
        inside = [link for link in links if not link.startswith("https://greatexpectations.io")]
        assert inside and all((page.parent / unquote(link)).is_file() for link in inside), page


def test_the_index_names_every_table_and_how_it_fared(docs: Path):
    text = (docs / "index.html").read_text(encoding="utf-8")
    rows = re.findall(r'<tr><th scope="row"><a href="([^"]+)">(\w+)</a></th>(.*?)</tr>', text, re.DOTALL)
    found = {(link.split("/")[0], name): re.sub("<[^>]+>", "", rest).split() for link, name, rest in rows}
    assert found == {
        ("validations", "classes"): ["Success"],
        ("validations", "test"): ["Failed"],
        ("validations", "train"): ["Success"],
        **{("expectations", name): [] for name in ("classes", "test", "train")},
    }


def test_a_page_says_what_was_expected_and_found(docs: Path):
    (page,) = (docs / "validations/test").rglob("*.html")
    words = " ".join(re.sub("<[^>]+>", " ", page.read_text(encoding="utf-8")).split())
    assert "border_ink" in words and "values must be less than or equal to 128.0" in words
    assert "Unsuccessful Expectations" in words and "100% unexpected" in words.replace("≈", "")


def test_the_stage_runs_anew_when_the_style_changes():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert str(data_docs.STYLE.relative_to(ROOT)) in stages["validate"]["deps"]


def test_what_the_style_hides_stands_in_the_pages(docs: Path):
    """The style knows Great Expectations' classes: another release may have others."""
    (page,) = (docs / "validations/test").rglob("*.html")
    text = page.read_text(encoding="utf-8")
    for name in ("hide-succeeded-validation-target-child", "fa-check-circle", "text-success", "ge-section", "fa-times"):
        assert name in text and name in data_docs.STYLE.read_text(encoding="utf-8"), name
    assert 'id="option2"' in text
