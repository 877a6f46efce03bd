"""`digits label`: one key a picture, or Label Studio's labels; parses, calls one room, prints."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cli_batches import AsJson, By, show
from pipeline.base.errors import BadInput
from pipeline.base.words import counted

KEYS = "0123456789abcdefghijklmnopqrstuvwxyz"
NONE, BACK, END = " ", ("\x7f", "\b"), ("\x1b", "\x03", "\x04", "\r", "\n", "")

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Images to label, as an alert of drift names them.")]
Batch = Annotated[bool, typer.Option("--batch", help="Write what people agree on as a batch, instead of labelling.")]
Export = Annotated[
    Path | None,
    typer.Option("--from", metavar="FILE", help="Take in Label Studio's JSON export, instead of labelling."),
]


def label(folder: Folder, by: By = None, batch: Batch = False, export: Export = None, as_json: AsJson = False) -> None:
    """Label images that the champion was unsure of, one key a picture.

    Each person does so under a name of their own; --batch then makes a batch of what most of them say.
    """
    from pipeline.monitoring import labelling
    from pipeline.registry import history

    if batch and export is not None:
        raise BadInput("give either --batch or --from: labels are taken in before a batch is made of them")
    if export is not None:
        taken = labelling.from_label_studio(folder, export)
        people = ", ".join(f"{count:,} of {person}" for person, count in taken.items()) or "none"
        show(as_json, taken, f"labels taken in: {people}; `digits label {folder} --batch` when all are there")
    elif batch:
        merged = labelling.merge(folder)
        path = labelling.write_batch(folder, merged)
        show(as_json, merged._asdict() | {"batch": str(path)}, _merged_text(merged, path))
    else:
        person = by or history.person()
        labelled, left = _ask(folder, person)
        text = f"{labelled:,} labelled, {left:,} left; `digits label {folder} --batch` when all who label have done so"
        show(as_json, {"person": person, "labelled": labelled, "left": left}, text)


def _merged_text(merged: Any, path: Path) -> str:
    return (
        f"{counted(len(merged.labels), 'image has a label', 'images have a label')}; on {merged.agreed:,} two or more "
        f"people agree, {len(merged.disputed):,} are left out as disputed, {merged.skipped:,} as none of the classes: "
        f"`digits add-batch {path}`"
    )


def _ask(folder: Path, person: str) -> tuple[int, int]:
    """Show one image after the other that the person has not labelled; each key is kept at once. How many now are, and
    are left. What is asked goes to stderr: stdout is for what came of it."""
    from pipeline.monitoring import labelling

    images, classes = labelling.read(folder)
    said = labelling.of(folder, person)
    keys = _keys(classes)
    left = [number for number in range(len(images)) if number not in said]
    named = "  ".join(f"{key} {name}" for key, name in keys.items() if key != name)
    print(named or "the key of a class says which it is", file=sys.stderr)
    print("space: none of them · backspace: the one before again · Enter or Esc: stop", file=sys.stderr)
    at = 0
    while at < len(left):
        print(f"\n{at + 1} of {len(left)}\n{_drawn(images[left[at]])}", file=sys.stderr, flush=True)
        key = _key()
        if key in END:
            break
        if key in BACK:
            at = max(at - 1, 0)
        elif key == NONE or key in keys:
            labelling.keep(folder, person, {left[at]: labelling.SKIPPED if key == NONE else keys[key]})
            at += 1
    labelled = len(labelling.of(folder, person))
    return labelled, len(images) - labelled


def _keys(classes: list[str]) -> dict[str, str]:
    """Which key says which class: its name, where that is one character of each."""
    if all(len(name) == 1 for name in classes):
        return {name: name for name in classes}
    if len(classes) > len(KEYS):
        raise BadInput(f"{len(classes)} classes are more than there are keys: label them in Label Studio")
    return dict(zip(KEYS, classes, strict=False))


def _key() -> str:
    """The next key; the end of what is typed stops."""
    if not sys.stdin.isatty():
        return sys.stdin.read(1)
    import click

    try:
        return click.getchar()
    except (EOFError, KeyboardInterrupt):
        return ""


def _drawn(image: Any) -> str:
    """The image uint8 (height, width[, 3]) in half blocks of grey, two rows a line."""
    grey = image if image.ndim == 2 else image.mean(axis=2).astype("uint8")
    rows = [232 + row // 11 for row in grey.astype(int)]  # the 24 greys of a terminal
    lines = []
    for upper, lower in zip(rows[::2], [*rows[1::2], rows[-1]], strict=False):
        cells = (f"\x1b[38;5;{min(a, 255)};48;5;{min(b, 255)}m▀" for a, b in zip(upper, lower, strict=True))
        lines.append("".join(cells) + "\x1b[0m")
    return "\n".join(lines)
