"""Which images of train are validated on, and which may not be there at all? A shard of train becomes one of train and
one of val, whatever the other shards are."""

import functools
from pathlib import Path
from typing import NamedTuple

from pipeline.base import places
from pipeline.base.stored import Joined
from pipeline.data import near_copies, splits
from pipeline.data.splits import Part, Shard, Split


class Separated(NamedTuple):
    """What became of a shard of train."""

    train: Shard
    val: Shard
    leaked: int
    """images that were dropped"""


def separate(train: Split, unseen: near_copies.Among, val_share: float) -> tuple[Split, Split, int]:
    """Split train into train and val; returns both and how many images were dropped because they, or nearly the same,
    are among the ``unseen``."""
    hashes = splits.content_hashes(train.images)
    leaked = unseen.has(train.images)
    held_out = splits.held_out(hashes, val_share, "val")
    return train.chosen(~leaked & ~held_out), train.chosen(~leaked & held_out), int(leaked.sum())


@functools.lru_cache(maxsize=1)
def _unseen(_digest: str) -> near_copies.Among:
    """Test and recent, of that digest: once a process, as the tree takes a while."""
    return near_copies.Among(Joined([splits.lying(places.RAW / name) for name in ("test", "recent")]))


class Piece(NamedTuple):
    """A shard of data/raw's train."""

    part: Part
    before: dict[str, Part | None]
    """what data/processed has of its train and val"""


def pieces() -> list[Piece]:
    """All of train."""
    before = {name: splits.parts(places.PROCESSED / name) for name in ("train", "val")}
    return [
        Piece(part, {name: (*parts[part.number :], None)[0] for name, parts in before.items()})
        for part in splits.parts(places.RAW / "train")
    ]


def write_shard(piece: Piece, folder: Path, val_share: float, unseen: str) -> Separated:
    """Separate one shard, and write what comes of it into ``folder``, which is to be data/processed. ``unseen`` is the
    digest of test and recent."""
    shard = splits.load_shard(places.RAW / "train", piece.part)
    train, val, leaked = separate(shard, _unseen(unseen), val_share)
    number, of, _ = piece.part
    written = {
        name: splits.write_shard(folder / name, split, number, of, places.PROCESSED / name, piece.before[name])
        for name, split in {"train": train, "val": val}.items()
    }
    return Separated(**written, leaked=leaked)
