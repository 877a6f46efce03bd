"""`dvc plots show` in a browser that reaches nothing: the scripts of the page are in it."""

import configparser
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright
from workspace import ROOT

from pipeline.base import processes

CHROMIUM = shutil.which("chromium")
PLOTS = """
plots:
  - Loss:
      x: epoch
      y: {history.csv: [loss, val_loss]}
"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A DVC project with this one's settings and a plot."""
    (tmp_path / ".dvc").mkdir()
    for name in ("config", "plots.html"):
        shutil.copy(ROOT / ".dvc" / name, tmp_path / ".dvc" / name)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / "dvc.yaml").write_text(PLOTS)
    (tmp_path / "history.csv").write_text("epoch,loss,val_loss\n1,0.9,0.8\n2,0.5,0.6\n")
    return tmp_path


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser.new_page()
        browser.close()


def test_it_draws_without_a_network(project: Path, page: Page):
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    said = processes.call(processes.dvc("plots", "show"), cwd=project)
    page.goto(said.strip())
    page.wait_for_selector(".vega-embed canvas, .vega-embed svg.marks")
    assert errors == [] and [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def test_git_leaves_the_pages_alone():
    assert "/dvc_plots/" in (ROOT / ".gitignore").read_text().splitlines()
    config = configparser.ConfigParser()
    config.read_string((ROOT / ".dvc/config").read_text().replace("    ", ""))
    assert (ROOT / ".dvc" / config["plots"]["html_template"]).is_file()


def test_the_page_carries_the_licences_of_what_is_in_it():
    notices = (ROOT / ".dvc/plots.html").read_text(encoding="utf-8").partition("-->")[0]
    for licence in ("Redistribution and use in source", "Permission to use, copy,", "Permission is hereby granted"):
        assert notices.count(licence) == 1
    for holder in ("Interactive Data Lab", "Mike Bostock", "Observable", "Mapbox", "Joachim Wester", "Simon Lydell"):
        assert holder in notices
