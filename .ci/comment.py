"""What does a change do to the model? The comment on a pull request: the verdict, and which metrics and params differ.

python .ci/comment.py REVISION RUN.json     of the workspace against REVISION, and what `digits run --json` said
"""

import json
import subprocess
import sys
from pathlib import Path

BECAME = {"kept": "is not promoted", "waits": "waits for a person's yes"}  # where the event is no word of the version


def comment(outcome: dict, metrics: str, params: str) -> str:
    """Markdown of what ``digits run --json`` answered and of DVC's tables, which are empty where nothing differs."""
    lines = ["### The model of this change", "", f"**{_verdict(outcome)}**", ""]
    for title, table in (("Metrics", metrics), ("Params", params)):
        lines += [f"#### {title}", "", table.strip() or "Nothing differs.", ""]
    return "\n".join(lines)


def _verdict(outcome: dict) -> str:
    event = outcome["decision"]
    if event["event"] == "unchanged":
        return f"Nothing to decide: {event['reason']}"
    return f"Version {event['version']} {BECAME.get(event['event'], event['event'])}: {event['verdict']['reason']}"


def _differs(what: str, revision: str) -> str:
    table = subprocess.run(["dvc", what, "diff", "--md", revision], check=True, capture_output=True, text=True).stdout
    return table.replace(revision, "base").replace("workspace", "change")


if __name__ == "__main__":
    base, answered = sys.argv[1:]
    said = json.loads(Path(answered).read_text(encoding="utf-8"))
    print(comment(said, _differs("metrics", base), _differs("params", base)))
