"""Do a stage's `deps` in dvc.yaml name what it imports, and the key of a fit too? The import graph is the judge."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import get_args

import grimp
import pytest
import yaml
from workspace import ROOT

from pipeline.base.params import Kind
from pipeline.data import kinds
from pipeline.learning import fit_identity

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("pipeline", exclude_type_checking_imports=True, cache_dir=None)


def file_of(module: str) -> Path:
    path = Path(*module.split("."))
    return path.with_suffix(".py") if (ROOT / path.with_suffix(".py")).is_file() else path / "__init__.py"


def imported(graph: grimp.ImportGraph, module: str) -> set[Path]:
    """The files of the modules that this one needs, itself among them. A package's own docstring says nothing."""
    modules, found = {module}, set()
    while found != modules:
        found = modules
        modules = found | {one for name in found for one in (*graph.find_upstream_modules(name), *of_kinds(name))}
    return {path for path in map(file_of, modules) if path.name != "__init__.py"}


@cache
def of_kinds(module: str) -> set[str]:
    """The modules of every kind of image that this one has imported when it runs, as by ``kinds.framing(…)``."""
    calls = [
        node.func for node in ast.walk(ast.parse((ROOT / file_of(module)).read_text())) if isinstance(node, ast.Call)
    ]
    asked = [call for call in calls if isinstance(call, ast.Attribute) and isinstance(call.value, ast.Name)]
    parts = {call.attr for call in asked if call.value.id == "kinds"}
    return {f"pipeline.{kind}.{part}" for part in parts for kind in get_args(Kind)}


PARTS = (kinds.Framing, kinds.Features, kinds.Corruptions, kinds.Training, kinds.Expectations)


def asked_of(part: type) -> set[str]:
    """The names that every kind's module of that part must have."""
    return {name for name in (*vars(part), *part.__annotations__) if not name.startswith("_")}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_kind_of_image_has_every_module_with_all_that_is_asked_of_it(kind: str, part: type):
    assert asked_of(part) and asked_of(part) <= set(vars(getattr(kinds, part.__name__.lower())(kind)))


@pytest.mark.parametrize("part", PARTS)
def test_the_docs_tell_of_all_that_a_kind_must_have_and_so_does_their_example(part: type):
    page = (ROOT / "docs/your-own-kind.md").read_text()
    row, name = next(line for line in page.splitlines() if f"| `{part.__name__.lower()}` |" in line), part.__name__
    assert all(f"`{asked}" in row for asked in asked_of(part)), row
    (code,) = re.findall(rf"```python\n# pipeline/middle/{name.lower()}.py\n(.*?)```", page, re.DOTALL)
    nodes = ast.parse(code).body
    there = {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert asked_of(part) <= there | {node.name for node in nodes if isinstance(node, ast.FunctionDef)}


def files_in(deps: list[str]) -> set[Path]:
    """The Python files that these files and folders are."""
    paths = [ROOT / dep for dep in deps if dep.startswith("pipeline/")]
    found = [path for dep in paths for path in (dep.rglob("*.py") if dep.is_dir() else [dep])]
    return {path.relative_to(ROOT) for path in found if path.suffix == ".py" and path.name != "__init__.py"}


def of_base(paths: set[Path]) -> set[Path]:
    return {path for path in paths if path.is_relative_to("pipeline/base")}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_what_it_imports_and_on_nothing_else(graph: grimp.ImportGraph, stage: str):
    needed, named = imported(graph, f"pipeline.{stage}"), files_in(STAGES[stage]["deps"])
    assert not needed - named, "imported, and not among the deps"
    assert not (named - of_base(named)) - needed, "among the deps, and not imported"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_s_templates_are_among_its_deps(graph: grimp.ImportGraph, stage: str):
    shows = any("PackageLoader" in (ROOT / path).read_text() for path in imported(graph, f"pipeline.{stage}"))
    assert ("pipeline/reporting/templates" in STAGES[stage]["deps"]) is shows


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_the_module_of_its_name(stage: str):
    assert STAGES[stage]["cmd"] == f"python -m pipeline.{stage}" and (ROOT / f"pipeline/{stage}.py").is_file()


def test_what_a_fit_is_keyed_by_is_the_code_that_makes_it(graph: grimp.ImportGraph):
    named = files_in([f"pipeline/{part}" for part in fit_identity.CODE])
    needed = imported(graph, "pipeline.learning.fitting")
    assert not needed - named and not (named - of_base(named)) - needed


def test_packages_hold_nothing_but_their_docstring():
    for path in (ROOT / "pipeline").rglob("*/__init__.py"):
        (only,) = ast.parse(path.read_text(encoding="utf-8")).body
        assert isinstance(only, ast.Expr), path


def test_nothing_imports_the_command_line():
    for package in ("flows", "pipeline", "serving"):
        for path in (ROOT / package).rglob("*.py"):
            names = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import)]
            froms = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
            assert "cli" not in [alias.name for node in names for alias in node.names] + [f.module for f in froms], path


# What takes a second or more to import.
SLOW = {"evidently", "great_expectations", "keras", "mlflow", "prefect", "sklearn", "tensorflow"}
NEEDED = {
    "pipeline.train": {"keras", "sklearn", "tensorflow"},  # Keras looks for scikit-learn
    "pipeline.register": {"mlflow"},
    "flows.retrain": {"prefect"},
}
BEGIN = [*(f"pipeline.{stage}" for stage in STAGES), "pipeline.run", "pipeline.registry.promotion", "cli", "digits"]


def among_imported(module: str, names: set[str]) -> set[str]:
    """Which of these packages come with the module."""
    code = f"import sys, {module}; print(*{names!r} & {{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", [*BEGIN, "pipeline.monitoring.monitor", "flows.retrain", "serving.service"])
def test_what_is_slow_to_import_waits_until_it_is_needed(module: str):
    assert among_imported(module, SLOW) <= NEEDED.get(module, set())


@pytest.mark.parametrize("module", ["flows.retrain", "pipeline.run"])
def test_what_may_find_nothing_to_do_does_not_wait_for_tables(module: str):
    assert not among_imported(module, {"pandas", "pyarrow", "scipy"})
