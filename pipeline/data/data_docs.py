"""How can the Data Docs be read without the network?

Great Expectations' pages take their style and their scripts from other sites, and the index draws its tables by script.
Here a page gets the style that lies beside this module, its tables as HTML, and no script: what is left asks for
nothing. Filtering the failed expectations is the style's.
"""

import ast
import re
import shutil
from html import escape
from pathlib import Path
from typing import Any

from pipeline.base import repeatable

STYLE = Path(__file__).with_suffix(".css")

_GONE = re.compile(
    r"<script\b.*?</script>|<style\b.*?</style>|<footer\b.*?</footer>"
    r'|<link\b[^>]*>|<title></title>|\bonclick="[^"]*"'
    r'|<div id="[^"]*-toolbar".*?</div>',
    re.DOTALL,
)
_LOGO = re.compile(r'<img\b[^>]*\bsrc="https?:[^>]*>', re.DOTALL)
_DRAWN = re.compile(r"<table\s[^>]*>\s*</table>\s*(?:<script>.*?</script>\s*)+", re.DOTALL)  # by its scripts
_ROWS = re.compile(r"\bdata: (\[.*\]),$", re.MULTILINE)
_HEAD = re.compile(r"<html>\s*<head>")


def stand_alone(docs: Path) -> None:
    """Let the pages below the folder ``docs`` ask for nothing that does not lie there."""
    style = STYLE.read_text(encoding="utf-8")
    for page in docs.rglob("*.html"):
        repeatable.rewrite(page, lambda text: of_its_own(text, style))
    shutil.rmtree(docs / "static", ignore_errors=True)  # 4 MB that no page asks for any more


def of_its_own(text: str, style: str) -> str:
    """A page with ``style`` in place of what it would load, and the tables that its scripts would draw."""
    text = _DRAWN.sub(lambda found: _table(found[0]), text)
    text = _LOGO.sub("Data Docs", _GONE.sub("", text))
    return _HEAD.sub(lambda _: f'<html lang="en">\n  <head>\n    <style>\n{style}    </style>', text, count=1)


def _table(drawn: str) -> str:
    """A table of the index; its rows are sorted, as they come in the order in which the file system lists the pages."""
    found = _ROWS.search(drawn)
    rows = sorted(ast.literal_eval(found[1]), key=lambda row: row["_table_row_link_path"]) if found else []
    validated = any("asset_name" in row for row in rows)
    title, named = "Expectation suites", "expectation_suite_name"
    if validated:
        title, named = "Validation results", "asset_name"
    columns = '<th scope="col">Table</th>' + ('<th scope="col">Status</th>' if validated else "")
    lines = "\n".join(f"<tr>{_name(row, named)}{_status(row)}</tr>" for row in rows)
    head = f"<caption>{title}</caption>\n<thead><tr>{columns}</tr></thead>"
    return f'<table class="table">{head}\n<tbody>\n{lines}\n</tbody></table>\n'


def _name(row: dict[str, Any], column: str) -> str:
    link, name = (escape(str(row[key])) for key in ("_table_row_link_path", column))
    return f'<th scope="row"><a href="{link}">{name}</a></th>'


def _status(row: dict[str, Any]) -> str:
    """Great Expectations' own mark, in words too; nothing where there is none."""
    words = row.get("_validation_success_text")
    return f"<td>{row['validation_success'].strip()} {escape(words)}</td>" if words else ""
