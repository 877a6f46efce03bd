import re
from pathlib import Path

import pytest

from pipeline import params
from pipeline.errors import BadInput

SHIPPED = Path(params.__file__).parents[1] / "params.yaml"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    copy = tmp_path / "params.yaml"
    copy.write_text(SHIPPED.read_text())
    return copy


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert len(re.findall(old, text)) == 1, f"{old} should be there once"
    path.write_text(re.sub(old, new, text))


def test_the_shipped_file_is_read():
    loaded = params.load(SHIPPED)
    assert loaded.dataset in ("digits", "mnist") and loaded.validate_.class_share[0] < 0.1


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (r"  epochs: \d+", "  epocs: 10", r"unknown key train\.epocs: remove it or correct its spelling"),
        (r"  epochs: \d+", "", r"the key train\.epochs is missing: add it"),
        (r"  epochs: \d+", "  epochs: ten", r"train\.epochs is 'ten': input should be a valid integer"),
        (r"  epochs: \d+", "  epochs: '10'", r"train\.epochs is '10': input should be a valid integer"),
        (r"  epochs: \d+", "  epochs: 0", r"train\.epochs is 0: .*greater than or equal to 1"),
        (r"dataset: \w+", "dataset: svhn", r"dataset is 'svhn': input should be 'digits', 'mnist'"),
        (r"class_share: \[.*\]", "class_share: [0.3, 0.1]", r"validate\.class_share is .*above"),
        (r"when_indistinguishable: \w+", "when_indistinguishable: maybe", r"when_indistinguishable is 'maybe'"),
        (r"\ntrain:", "\ntrain: [", r"is not YAML"),
    ],
)
def test_a_wrong_key_is_one_line_that_names_it(path: Path, old: str, new: str, line: str):
    edit(path, old, new)
    with pytest.raises(BadInput, match=line) as error:
        params.load(path)
    assert str(path) in str(error.value)


def test_every_wrong_key_has_its_line(path: Path):
    edit(path, r"  epochs: \d+", "  epocs: 10")
    with pytest.raises(BadInput) as error:
        params.load(path)
    assert len(str(error.value).splitlines()) == 2  # the unknown one and the missing one


def test_no_file_is_one_line(tmp_path: Path):
    with pytest.raises(BadInput, match=r"there is no .*: run this in the workspace's top folder"):
        params.load(tmp_path / "params.yaml")


def test_the_data_set_is_changed_in_its_line_alone(path: Path):
    before = path.read_text().splitlines()
    params.set_dataset("mnist", path)
    after = path.read_text().splitlines()
    assert params.load(path).dataset == "mnist"
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert len(changed) == 1 and changed[0][1].startswith("dataset: mnist ") and "# the data set" in changed[0][1]
    unchanged_at = path.stat().st_mtime_ns
    params.set_dataset("mnist", path)
    assert path.stat().st_mtime_ns == unchanged_at
