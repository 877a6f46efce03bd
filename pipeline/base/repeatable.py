"""What makes a page a function of what it shows, whatever the day and the process that drew it?"""

import re
import uuid
from collections.abc import Callable
from pathlib import Path

# Versions 4 and 7, with or without hyphens: drawn at random or from the clock. Constants of page scripts are others.
_RANDOM_UUID = re.compile(
    r"(?<![0-9A-Za-z])[0-9a-f]{8}(-?)[0-9a-f]{4}\1[47][0-9a-f]{3}\1[89ab][0-9a-f]{3}\1[0-9a-f]{12}(?![0-9A-Za-z])"
)
_NAMESPACE = uuid.UUID(int=0)


def stable_ids(text: str) -> str:
    """Each random UUID replaced by one that depends on its place among them; equal ones stay equal, and so do links."""
    places: dict[str, int] = {}

    def renamed(found: re.Match[str]) -> str:
        place = places.setdefault(found[0].replace("-", ""), len(places))
        new = str(uuid.uuid5(_NAMESPACE, str(place)))
        return new if found[1] else new.replace("-", "")

    return _RANDOM_UUID.sub(renamed, text)


def rewrite(page: Path, *changes: Callable[[str], str]) -> None:
    """Apply the changes to a page's text, one after another; its line ends stay as they are."""
    text = page.read_bytes().decode()
    for change in changes:
        text = change(text)
    page.write_bytes(text.encode())
