"""Are the site's pages made of the repository's, with links that lead to what they mean?"""

import re
from pathlib import Path

import pytest

from docs import handbook
from pipeline.base.params import Params


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("site") / "pages"
    handbook.write(folder)
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*.md")}


@pytest.mark.parametrize(
    ("source", "link", "turned", "linked"),
    [
        ("README.md", "docs/serve.md#health", "serve.md#health", set()),
        ("README.md", "docs/pictures/report.png", "pictures/report.png", set()),
        ("docs/serve.md", "../CONTRIBUTING.md", "contributing.md", set()),
        ("docs/tour.md", "models.ipynb", "models.md", set()),
        ("docs/serve.md", "../compose.yaml", "code/compose.yaml.md", {"compose.yaml"}),
        ("docs/serve.md", "https://example.org/a.md", "https://example.org/a.md", set()),
        ("docs/serve.md", "#limits", "#limits", set()),
        ("docs/serve.md", "nowhere.md", "nowhere.md", set()),
        ("docs/serve.md", "../../elsewhere.md", "../../elsewhere.md", set()),
    ],
)
def test_a_link_is_turned_to_the_site(source: str, link: str, turned: str, linked: set[str]):
    assert handbook.turned(f"see [it]({link}).", source) == (f"see [it]({turned}).", linked)


@pytest.mark.parametrize("path", [*(handbook.ROOT / "docs").glob("*.md"), *map(handbook.ROOT.joinpath, handbook.NAMED)])
def test_a_page_is_read_without_the_site(path: Path):
    links = [link[2] for link in handbook.LINK.finditer(path.read_text())]
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_every_page_is_in_the_navigation_but_listings(pages: dict[str, str]):
    import tomllib

    nav = re.findall(
        r"[\w-]+\.md", str(tomllib.loads((handbook.ROOT / "docs/zensical.toml").read_text())["project"]["nav"])
    )
    assert sorted(nav) == sorted(page for page in pages if not page.startswith("code/"))


def test_every_section_and_key_of_params_is_in_the_reference(pages: dict[str, str]):
    told = pages["params.md"]
    assert set(re.findall(r"(?m)^## (\w+)$", told)) == set(Params.model_json_schema()["properties"])
    assert "| `test_share` | number ≥ 0, < 1 |" in told
    assert "| `approval` | `gate`, `person` |" in told
    assert "# of ever having a champion worse than the best so far" in told


def test_every_command_is_in_the_reference(pages: dict[str, str]):
    import typer

    from cli import app

    told = pages["commands.md"]
    assert all(f"## `digits {name}`" in told for name in typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    assert "..." not in told.replace("[ARGS]...", "").replace("PATH}...", "")


def test_the_site_loads_nothing_from_elsewhere():
    settings = (handbook.ROOT / "docs/zensical.toml").read_text()
    assert "font = false" in settings and "://" not in settings
