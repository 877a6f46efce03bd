"""What are the pages of the site? Those of docs/ and of the root, the files they link to, and a reference made of code.

    python -m docs.handbook FOLDER      writes them there, as Markdown, with the settings by which Zensical makes a site

The pages are written to be read where they lie, on a forge or in an editor, so their links are relative to the
repository. Here each link is turned to where the site has what it means; one that leads nowhere is left, for the site's
builder to complain of.
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parent.parent
NAMED = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(r"(\]\()([^)\s#:]+)(#[^)\s]*)?(?=\))")  # of Markdown: ](path#heading), no address
LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml"}


def write(folder: Path) -> None:
    """All pages, as Markdown, into a new ``folder``."""
    shutil.copytree(ROOT / "docs/pictures", folder / "pictures")
    linked: set[str] = set()
    for path in [*sorted((ROOT / "docs").glob("*.md")), *map(ROOT.joinpath, NAMED)]:
        source = path.relative_to(ROOT).as_posix()
        _page(folder, source, path.read_text(encoding="utf-8"), linked)
    _page(folder, "docs/models.ipynb", notebook(ROOT / "docs/models.ipynb"), linked)
    _page(folder, "docs/params.md", parameters(), linked)
    for source in sorted(linked):
        _write(folder / place_of(source), _listing(source))
    _write(folder / "commands.md", commands())


def place_of(source: str) -> str:
    """Where the site has what is at ``source`` in the repository, both as paths with slashes."""
    if source in NAMED:
        return NAMED[source]
    path = PurePosixPath(source)
    if path.parts[0] == "docs" and path.suffix in {".md", ".ipynb", ".png"}:
        return path.relative_to("docs").with_suffix(".md" if path.suffix == ".ipynb" else path.suffix).as_posix()
    return f"code/{source}.md"


def turned(text: str, source: str) -> tuple[str, set[str]]:
    """The Markdown of ``source`` with its links turned to the site's pages, and the files of code that it links to."""
    linked: set[str] = set()

    def turn(link: re.Match[str]) -> str:
        target = os.path.normpath(PurePosixPath(source).parent / link[2]).replace(os.sep, "/")
        if target.startswith("..") or not (ROOT / target).is_file():
            return link[0]
        place = place_of(target)
        if place.startswith("code/"):
            linked.add(target)
        here = PurePosixPath(place_of(source)).parent
        return f"{link[1]}{os.path.relpath(place, here).replace(os.sep, '/')}{link[3] or ''}"

    return LINK.sub(turn, text), linked


def notebook(path: Path) -> str:
    """A notebook's cells as Markdown, without what they printed."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    return "\n\n".join(text if kind == "markdown" else f"```python\n{text}\n```" for kind, text in texts) + "\n"


def commands() -> str:
    """The ``digits`` command by Typer's own generator."""
    import typer
    from typer.cli import get_docs_for_click

    from cli import app

    click_command = typer.main.get_command(app)
    context = typer.Context(click_command, info_name="digits")
    text = get_docs_for_click(obj=click_command, ctx=context, name="digits", title="Commands")
    # Its lists of commands are cut after some words; each command's own heading says it whole.
    return re.sub(r"\*\*Commands\*\*:\n\n(\* .*\n)+\n?", "", text)


def parameters() -> str:
    """params.yaml, a heading a section: as it is shipped, with its comments, and what each key may be."""
    from pipeline.base.params import Params

    lines = (ROOT / "params.yaml").read_text(encoding="utf-8")
    schema = Params.model_json_schema()
    said = [
        "# Params\n\nEach section of [params.yaml](../params.yaml) as it is shipped, and what its keys may be. "
        "Another key, or another value, is refused in one line before anything runs.\n"
    ]
    for name, block in _sections(lines):
        if name in {"recipes", "studies"}:  # long, and by name: the file has them
            block = re.split(rf"(?m)^(?={name}:)", block)[0]
        said.append(f"## {name}\n\n```yaml\n{block.strip()}\n```\n")
        rows = list(_allowed(schema["properties"][name], schema, ""))
        said.append(
            "| key | may be |\n| --- | --- |\n" + "".join(f"| `{key or name}` | {may} |\n" for key, may in rows)
        )
    return "\n".join(said)


def _sections(text: str) -> Iterator[tuple[str, str]]:
    """Of params.yaml: each section's name and paragraph, with the comment above it."""
    for paragraph in re.split(r"\n\n(?=#|\w)", text)[1:]:  # the first is about the file
        yield re.findall(r"(?m)^(\w+):", paragraph)[0], paragraph


def _allowed(part: dict, schema: dict, key: str) -> Iterator[tuple[str, str]]:
    """(Key with dots, what it may be) of all that a part of a JSON schema describes."""
    if "$ref" in part:
        part = schema["$defs"][part["$ref"].rsplit("/", 1)[1]]
    inner = part.get("properties", {})
    if isinstance(each := part.get("additionalProperties"), dict):
        inner = {**inner, "NAME": each}
    if not inner:
        yield key, _words(part, schema)
    for name, value in inner.items():
        yield from _allowed(value, schema, f"{key}.{name}".lstrip("."))


def _words(part: dict, schema: dict) -> str:
    if "anyOf" in part:
        return " or ".join(_words(each, schema) for each in part["anyOf"])
    if "const" in part:
        return f"`{part['const']}`"
    if "enum" in part:
        return ", ".join(f"`{value}`" for value in part["enum"])
    kind = {"string": "text", "array": "a list", "object": "keys and values", "null": "nothing"}
    words = [kind.get(part.get("type", ""), part.get("type", "anything"))]
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    words += [f"{sign} {part[limit]:g}" for limit, sign in signs.items() if limit in part]
    if "pattern" in part:
        words.append(f"that matches `{part['pattern']}`".replace("|", "\\|"))
    return " ".join(words[:2]) + "".join(f", {word}" for word in words[2:])


def _page(folder: Path, source: str, text: str, linked: set[str]) -> None:
    turned_text, more = turned(text, source)
    linked |= more
    _write(folder / place_of(source), turned_text)


def _listing(source: str) -> str:
    fence = LANGUAGES.get(PurePosixPath(source).suffix, "text")
    return f"# {source}\n\n````{fence}\n{(ROOT / source).read_text(encoding='utf-8')}````\n"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    site = Path(sys.argv[1])
    shutil.rmtree(site, ignore_errors=True)
    write(site / "pages")
    shutil.copy(ROOT / "docs/zensical.toml", site)
