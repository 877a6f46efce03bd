"""Where is what was refused, and what did a person say of its doubted labels?

A refused batch is its owner's: what is needed is copied to data/quarantine, beside a report and the doubted images; the
batch stays where it lay.
"""

import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.base import files, places
from pipeline.base.errors import BadInput
from pipeline.base.params import Batches
from pipeline.data import handed_in, splits
from pipeline.data.batches import Doubt, Filed
from pipeline.data.splits import Split

SUSPECTS = "suspects"  # a folder with the doubted images as a split, in the order of the report's doubts
NAME = 60  # bytes of a batch's name that go into a folder's


class Decided(NamedTuple):
    """Doubted images by their hashes, as a person saw them."""

    kept: frozenset[str] = frozenset()
    dropped: frozenset[str] = frozenset()

    def applied(self, whole: Split) -> Split:
        """The batch without what is dropped."""
        stay = ~np.isin(splits.names(whole.images), list(self.dropped))
        return Split(whole.images[stay], whole.labels[stay])


UNDECIDED = Decided()


def put(path: Path | None, filed: Filed, limits: Batches, doubted: Split | None = None) -> Filed:
    """Leave a refused batch in data/quarantine: a report, a copy of what lies at ``path`` (None: of nothing), and the
    ``doubted`` images. :class:`BadInput` if it cannot be written; nothing is left then."""
    safe = re.sub(r"[^\w.-]", "_", filed.batch).encode()[:NAME].decode(errors="ignore").lstrip(".")
    place = places.QUARANTINE / f"{safe}-{datetime.now(UTC):%H%M%S%f}"
    filed = filed.model_copy(update={"place": str(place)})
    try:
        place.mkdir(parents=True)
        if path is not None:
            handed_in.copy(path, place / path.name, limits)
        if doubted is not None and len(doubted.labels):
            splits.save(place / SUSPECTS, doubted)
        files.write_json(place / places.QUARANTINE_REPORT, filed.as_json() | {"place": str(place)})
    except (OSError, shutil.Error, BadInput) as error:
        shutil.rmtree(place, ignore_errors=True)
        if isinstance(error, OSError) and error.errno is not None:
            error = BadInput(f"{error.strerror}: {error.filename}")
        reason = filed.findings[0].message
        raise BadInput(f"{path} is refused ({reason}), and cannot be kept in {places.QUARANTINE}: {error}") from None
    return filed


def find(name: str) -> Filed:
    """The refused batch whose folder, or whose name, begins so; the latest if there are several."""
    found = refused(name)
    if not found:
        raise BadInput(f"{places.QUARANTINE} holds no refused batch {name}: see what is in it")
    return max(found, key=lambda one: (one.at, one.place))


def refused(name: str = "") -> list[Filed]:
    """The refused batches whose folders begin so; what was removed lies beside them."""
    reports = [
        folder / places.QUARANTINE_REPORT
        for folder in (places.QUARANTINE.iterdir() if places.QUARANTINE.is_dir() else ())
        if folder.name.startswith(name) and (folder / places.QUARANTINE_REPORT).is_file()
    ]
    return [one for one in map(_report, reports) if one.event == "quarantined"]


def before(filed: Filed) -> Filed | None:
    """The latest refusal of the very same labelled images for the same data set, if there was one before this."""
    same = [one for one in refused() if (one.digest, one.dataset) == (filed.digest, filed.dataset)]
    earlier = [one for one in same if filed.digest and one.place != filed.place]
    return max(earlier, key=lambda one: one.at, default=None)


def _report(path: Path) -> Filed:
    return Filed.model_validate(files.read_json(path)).model_copy(update={"place": str(path.parent)})


def copy_of(filed: Filed) -> Path:
    """The copy of what was handed in; :class:`BadInput` if there was nothing that could be copied."""
    path = Path(filed.place) / Path(filed.source).name
    if not path.exists():
        raise BadInput(f"{filed.place} holds no copy of {filed.source}: mend the batch, then `digits add-batch` it")
    return path


def check_numbers(keep: set[int], drop: set[int], count: int) -> None:
    """:class:`BadInput` if one is to be kept and dropped, or is none of ``count`` doubted images."""
    if both := keep & drop:
        raise BadInput(f"image {min(both)} is to be kept and dropped: say one of the two")
    if beyond := {number for number in keep | drop if not 1 <= number <= count}:
        raise BadInput(f"there is no image {min(beyond)} among the {count} doubted ones")


def carry_on(filed: Filed, again: Filed) -> None:
    """What a person said of a refused batch holds for it where it is refused ``again``, for other doubts."""
    said = Path(filed.place) / places.DECISIONS
    shutil.copyfile(said, Path(again.place) / places.DECISIONS)


def decide(filed: Filed, keep: set[int], drop: set[int]) -> tuple[Decided, list[Doubt]]:
    """Note what a person says of doubted images, by their numbers on the page (from 1): all that was said so far, and
    the doubts that are left. A later word takes the place of an earlier one."""
    check_numbers(keep, drop, len(filed.doubts))
    path = Path(filed.place) / places.DECISIONS
    said = files.read_json(path) if path.is_file() else {}
    for numbers, word in ((keep, "keep"), (drop, "drop")):
        said |= {filed.doubts[number - 1].image: word for number in numbers}
    files.write_json(path, said)
    kept, dropped = (frozenset(image for image, word in said.items() if word == which) for which in ("keep", "drop"))
    return Decided(kept, dropped), [doubt for doubt in filed.doubts if doubt.image not in said]
