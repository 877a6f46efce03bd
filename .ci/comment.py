"""What does a change do to the model? The comment on a pull request: the verdict, and which metrics and params differ.

python .ci/comment.py REVISION RUN.json     of the workspace against REVISION, and what `digits run --json` said
"""

import json
import re
import subprocess
import sys
from pathlib import Path

MOST = 20_000  # characters of a table: GitHub takes 65,536 of a comment
BECAME = {"kept": "is not promoted", "waits": "waits for a person's yes"}  # where the event is no word of the version


def comment(outcome: dict, metrics: str, params: str) -> str:
    """Markdown of what ``digits run --json`` answered and of DVC's tables, which are empty where nothing differs."""
    lines = ["### The model of this change", "", *_verdict(outcome), ""]
    for title, table in (("Metrics", metrics), ("Params", params)):
        lines += [f"#### {title}", "", _verbatim(table) if table.strip() else "Nothing differs.", ""]
    return "\n".join(lines)


def _verdict(outcome: dict) -> list[str]:
    event = outcome["decision"]
    if event["event"] == "unchanged":
        return ["**Nothing to decide**", "", _verbatim(event["reason"])]
    became = BECAME.get(event["event"], event["event"])
    return [f"**Version {event['version']} {became}**", "", _verbatim(event["verdict"]["reason"])]


def _verbatim(text: str) -> str:
    """A block in which nothing is Markdown, HTML or the name of a person: params and classes may be called anything."""
    text = text.strip() if len(text) <= MOST else f"{text[:MOST]}\n… and {len(text) - MOST:,} characters more"
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return f"{fence}text\n{text}\n{fence}"


def _differs(what: str, revision: str) -> str:
    table = subprocess.run(["dvc", what, "diff", "--md", revision], check=True, capture_output=True, text=True).stdout
    header, line, rows = table.partition("\n")
    return header.replace(revision, "base".ljust(len(revision))).replace("workspace", "change   ") + line + rows


if __name__ == "__main__":
    base, answered = sys.argv[1:]
    said = json.loads(Path(answered).read_text(encoding="utf-8"))
    print(comment(said, _differs("metrics", base), _differs("params", base)))
