import re
from pathlib import Path

import pytest
from workspace import ROOT

from pipeline.base import params
from pipeline.base.errors import BadInput

SHIPPED = ROOT / "params.yaml"


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
        (r"  seed: \d+", "  sed: 10", r"unknown key train\.sed: remove it or correct its spelling"),
        (r"  seed: \d+", "", r"the key train\.seed is missing: add it"),
        (r"  seed: \d+", "  seed: ten", r"train\.seed is 'ten': input should be a valid integer"),
        (r"  seed: \d+", "  seed: '10'", r"train\.seed is '10': input should be a valid integer"),
        (r"  seed: \d+", "  seed: -1", r"train\.seed is -1: .*greater than or equal to 0"),
        (r"\n  recipe: fast", "\n  recipe: slow", r"train\.recipe is 'slow': choose one of fast, .*two-conv"),
        (r"batch_size: 1024", "batch_size: 0", r"recipes\.six-layer-bn\.batch_size is 0: .*greater than or equal to 1"),
        (r"\ndataset: \w+", "\ndataset: svhn", r"dataset is 'svhn': input should be 'digits', 'mnist'"),
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
    edit(path, r"  seed: \d+", "  sed: 10")
    with pytest.raises(BadInput) as error:
        params.load(path)
    assert len(str(error.value).splitlines()) == 2  # the unknown one and the missing one


def test_no_file_is_one_line(tmp_path: Path):
    with pytest.raises(BadInput, match=r"there is no .*: run this in the workspace's top folder"):
        params.load(tmp_path / "params.yaml")


@pytest.mark.parametrize(("key", "value"), [("dataset", "mnist"), ("recipe", "two-conv")])
def test_a_choice_changes_its_line_alone(path: Path, key: str, value: str):
    before = path.read_text().splitlines()
    params.choose(path, **{key: value})
    after = path.read_text().splitlines()
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert len(changed) == 1 and changed[0][1].strip().startswith(f"{key}: {value} ") and "# " in changed[0][1]
    loaded = params.load(path)
    assert value in (loaded.dataset, loaded.train.recipe)
    unchanged_at = path.stat().st_mtime_ns
    params.choose(path, **{key: value})
    assert path.stat().st_mtime_ns == unchanged_at


@pytest.mark.parametrize(("key", "value"), [("dataset", "svhn"), ("recipe", "slow"), ("recipe", "fast\n  x: 1")])
def test_an_unknown_choice_is_one_line_and_changes_nothing(path: Path, key: str, value: str):
    before = path.read_bytes()
    with pytest.raises(BadInput, match=r"choose one of|input should be"):
        params.choose(path, **{key: value})
    assert path.read_bytes() == before


def test_a_choice_that_has_no_line_of_its_own_is_told(path: Path):
    path.write_text(
        path.read_text()
        .replace("train:\n  recipe: fast ", "train: {recipe: fast, seed: 7}  #", 1)
        .replace("\n  seed: 7\n", "\n", 1)
    )
    assert params.load(path).train.recipe == "fast"
    with pytest.raises(BadInput, match="on lines of their own"):
        params.choose(path, recipe="accurate")
    before = path.read_bytes()
    with pytest.raises(BadInput, match="on lines of their own"):
        params.choose(path, dataset="mnist", recipe="accurate")
    assert path.read_bytes() == before


def test_what_is_in_use_holds_one_recipe():
    used = params.load(SHIPPED).in_use()
    assert used["recipe"]["network"]["name"] and "recipes" not in used and used["validate"]["min_train"]
