"""Which pictures have a doubted label? A page of them for a person, who keeps or drops them one by one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.base import files
from pipeline.base.form import DIGITS, Form
from pipeline.base.stored import Images
from pipeline.base.words import counted
from pipeline.data.batches import Doubt
from pipeline.reporting import templating, thumbnails

SHOWN = 1000  # on a page: more are not looked at one by one


def write(path: Path, name: str, doubts: Sequence[Doubt], images: Images, form: Form = DIGITS) -> None:
    """The page of the batch ``name``: ``images`` uint8 (N, *shape) in the order of the doubts."""
    environment = templating.environment()
    environment.filters["counted"] = counted
    rows = [
        {
            "number": number,
            "label": form.classes[doubt.label],
            "suggested": form.classes[doubt.suggested],
            "clear": doubt.clear,
            "png": thumbnails.png(image, form),
        }
        for number, (doubt, image) in enumerate(zip(doubts, np.asarray(images), strict=True), 1)
    ]
    page = environment.get_template("suspects.html.j2").render(name=name, rows=rows[:SHOWN], count=len(rows))
    files.write_text(path, page)
