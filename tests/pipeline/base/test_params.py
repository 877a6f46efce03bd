import re
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import modify_yaml
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


def changed_lines(before: str, after: str) -> list[tuple[str, str]]:
    pairs = zip(before.splitlines(), after.splitlines(), strict=True)
    return [(was, now) for was, now in pairs if was != now]


def test_the_shipped_file_is_read():
    loaded = params.load(SHIPPED)
    assert loaded.dataset in ("digits", "mnist") and loaded.validate_.class_balance[0] < 1


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (r"  seed: \d+", "  sed: 10", r"params\.yaml: train\.sed is an unknown key: did you mean seed\?$"),
        (r"  seed: 7", "  seed: 7\n  wombat: 1", r"train\.wombat is an unknown key: remove it or correct its"),
        (r"  seed: \d+", "", r"the key train\.seed is missing: add it"),
        (r"  seed: \d+", "  seed: ten", r"train\.seed is 'ten': input should be a valid integer"),
        (r"  seed: \d+", "  seed: '10'", r"train\.seed is '10': input should be a valid integer"),
        (r"  seed: \d+", "  seed: -1", r"train\.seed is -1: .*greater than or equal to 0"),
        (r"\n  recipe: fast", "\n  recipe: slow", r"train\.recipe is 'slow': choose one of fast, .*two-conv"),
        (r"batch_size: 1024", "batch_size: 0", r"recipes\.six-layer-bn\.batch_size is 0: .*greater than or equal to 1"),
        (r"\ndataset: \w+", "\ndataset: svhn", r"dataset is 'svhn': input should be 'digits', 'mnist'"),
        (r"- 0\.5\n  - 1\.6", "- 2.0\n  - 1.0", r"validate\.class_balance is .*above"),
        (r"  risk: 0.05", "  risk: 0", r"gate\.risk is 0: input should be greater than 0"),
        (r"  risk: 0.05", "  risk: 1", r"gate\.risk is 1: input should be less than 1"),
        (r"    digits: 0.03", "    digits: 0.6", r"max_loss\.digits is 0\.6: input should be less than or equal"),
        (r"    other: 0.002 .*\n", "", r"gate\.max_loss .* the key other is missing"),
        (
            r"    other: 0.002",
            "    mnits: 0.1\n    other: 0.002",
            r"gate\.max_loss names 'mnits', which is no",
        ),
        (r"  name: ''", "  name: mnist", r"ingest\.name is 'mnist', which is another data set's"),
        (r"\ntrain:", "\ntrain: [", r"is not YAML: line \d+, column \d+: .*expected"),
        (r"  seed: 7", "  seed: 7\n  seed: 8", r"is not YAML: line \d+, column 3: found duplicate key \"seed\""),
        (r"  seed: 7", "  seed: *none", r"is not YAML: line \d+, column 9: found undefined alias"),
        (r"  seed: 7", "  seed: \x07", r"is not YAML: .*control characters"),
    ],
)
def test_a_wrong_key_is_one_line_that_names_it(path: Path, old: str, new: str, line: str):
    edit(path, old, new)
    with pytest.raises(BadInput, match=line) as error:
        params.load(path)
    assert str(path) in str(error.value)


def test_a_data_set_of_ones_own_has_a_loss_of_its_own(path: Path):
    edit(path, r"\ndataset: \w+", "\ndataset: folder")
    edit(path, r"  name: ''", "  name: birds")
    edit(path, r"    other: 0.002", "    birds: 0.05\n    other: 0.002")
    read = params.load(path)
    assert read.gate.allowed(read.named, read.dataset).loss == 0.05


def test_every_wrong_key_has_its_line(path: Path):
    edit(path, r"  seed: \d+", "  wombat: 10")
    with pytest.raises(BadInput) as error:
        params.load(path)
    assert len(str(error.value).splitlines()) == 2  # the unknown one and the missing one


def test_no_file_is_one_line(tmp_path: Path):
    with pytest.raises(BadInput, match=r"there is no .*: run this in the workspace's top folder"):
        params.load(tmp_path / "params.yaml")


@pytest.mark.parametrize("exp_run", [[], ["train.seed=8"]], ids=["as shipped", "after exp run -S"])
@pytest.mark.parametrize(
    ("key", "value"), [("dataset", "mnist"), ("recipe", "two-conv"), ("recipe", "three-conv-early-stopping")]
)
def test_a_choice_changes_its_line_alone(path: Path, exp_run: list[str], key: str, value: str):
    if exp_run:
        apply_overrides(path, exp_run)
    before = path.read_text()
    assert params.choose(path, **{key: value})
    ((_, line),) = changed_lines(before, path.read_text())
    assert line.strip().startswith(f"{key}: {value} ") and "# " in line
    loaded = params.load(path)
    assert value in (loaded.dataset, loaded.train.recipe)
    unchanged_at = path.stat().st_mtime_ns
    assert not params.choose(path, **{key: value})
    assert path.stat().st_mtime_ns == unchanged_at


@pytest.mark.parametrize(("key", "value"), [("dataset", "svhn"), ("recipe", "slow"), ("recipe", "fast\n  x: 1")])
def test_an_unknown_choice_is_one_line_and_changes_nothing(path: Path, key: str, value: str):
    before = path.read_bytes()
    with pytest.raises(BadInput, match=r"choose one of|input should be"):
        params.choose(path, **{key: value})
    assert path.read_bytes() == before


def test_a_choice_need_not_stand_where_it_was_shipped(path: Path):
    edit(
        path,
        r"(?s)\ntrain:\n  recipe: fast.*?\n  workers: 1 .*?\n",
        "\ntrain: {seed: 7, workers: 1, recipe: 'fast'}  # mine\n",
    )
    edit(path, r"\ndataset: \w+ ", "\n")
    path.write_text(path.read_text() + "dataset:\n  digits\n")
    params.choose(path, dataset="mnist", recipe="accurate")
    loaded = params.load(path)
    assert (loaded.dataset, loaded.train.recipe, loaded.train.seed) == ("mnist", "accurate", 7)
    assert "recipe: accurate} # mine\n" in path.read_text()


def test_a_choice_that_is_there_already_leaves_a_layout_of_ones_own(path: Path):
    edit(path, r"\n  seed: 7\n", "\n  seed:    7\n")
    before = path.read_bytes()
    params.choose(path, dataset="digits", recipe="fast")
    assert path.read_bytes() == before


def test_the_shipped_file_is_as_dvc_writes_it(path: Path):
    with modify_yaml(path):
        pass
    assert path.read_bytes() == SHIPPED.read_bytes(), (
        "`dvc exp run -S` would change more than it is told: mend the layout"
    )


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("train.seed=8", "  seed: 8"),
        ("recipes.fast.epochs=3", "    epochs: 3"),
        ("recipes.fast.augment.shift=1.25", "      shift: 1.25"),
        ("recipes.kaggle.network.dropout=0.45", None),
        ("validate.class_balance=[0.5,1.8]", "  - 1.8"),
        ("serving.shadow=false", None),
        ("studies.regularization.common.epochs=13", "      epochs: 13"),
    ],
)
def test_exp_run_sets_one_line(path: Path, override: str, line: str | None):
    apply_overrides(path, [override])  # all that `dvc exp run -S` does to the file
    ((_, set_line),) = changed_lines(SHIPPED.read_text(), path.read_text())
    assert line in (None, set_line)
    params.load(path)


def test_a_small_number_that_exp_run_set_is_a_number(path: Path):
    apply_overrides(path, ["recipes.fast.learning_rate=0.00001"])
    assert "learning_rate: 1e-05\n" in path.read_text()  # a string to PyYAML
    assert params.load(path).recipes["fast"].learning_rate == 0.00001


def test_what_is_in_use_holds_one_recipe():
    used = params.load(SHIPPED).in_use()
    assert used["recipe"]["network"]["name"] and "recipes" not in used and used["validate"]["min_train"]
