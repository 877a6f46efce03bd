"""Does the page of doubted labels show each of them, whatever a class is called, and ask for nothing?"""

from pathlib import Path

import numpy as np
import pytest

from pipeline.base.form import DIGITS, Form
from pipeline.data.batches import Doubt
from pipeline.reporting import suspects


def doubts(count: int) -> list[Doubt]:
    return [Doubt(index=n, image=f"{n:016x}", label=0, suggested=1, clear=n > 0) for n in range(count)]


@pytest.mark.parametrize(
    ("form", "label"), [(DIGITS, "labelled 0,"), (Form("plain", (16, 24, 3), ("<b>", "b")), "labelled &lt;b&gt;,")]
)
def test_each_doubt_is_shown_with_its_number_and_both_classes(form: Form, label: str, tmp_path: Path):
    images = np.random.default_rng(0).integers(0, 256, (3, *form.shape), dtype=np.uint8)
    suspects.write(tmp_path / "page.html", "a <name>", doubts(3), images, form)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<li>") == page.count(label) == page.count("data:image/png;base64,") == 3
    assert "<h1>3 doubted labels of a &lt;name&gt;</h1>" in page and page.count("(unsure)") == 1
    assert "http" not in page.replace("http-equiv", "") and "<script" not in page


def test_more_than_people_look_at_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(suspects, "SHOWN", 2)
    suspects.write(tmp_path / "page.html", "a", doubts(3), np.zeros((3, 28, 28), np.uint8))
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "3 doubted labels of a" in page and "The first 2 are shown." in page and page.count("<li>") == 2
    suspects.write(tmp_path / "page.html", "a", doubts(1), np.zeros((1, 28, 28), np.uint8))
    assert "1 doubted label of a" in (tmp_path / "page.html").read_text(encoding="utf-8")
