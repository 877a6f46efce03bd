"""Which images of train are validated on, and which may not be there at all? A shard of train becomes one of train and
one of val, whatever the other shards are."""

import functools
from typing import NamedTuple

from pipeline.base import places
from pipeline.base.stored import Joined
from pipeline.data import near_copies, splits
from pipeline.data.splits import Shard, Split


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
    test, recent = (splits.load(places.RAW / name).images for name in ("test", "recent"))
    return near_copies.Among(Joined([test, recent]))


def write_shard(number: int, of: int, val_share: float, unseen: str) -> Separated:
    """Separate one shard of data/raw's train, of so many, and write what comes of it into data/processed. ``unseen`` is
    the digest of test and recent."""
    folder = places.RAW / "train"
    shard = splits.load_shard(folder, number, splits.shards(folder))
    train, val, leaked = separate(shard, _unseen(unseen), val_share)
    written = {
        name: splits.write_shard(places.PROCESSED / name, split, number, of)
        for name, split in {"train": train, "val": val}.items()
    }
    return Separated(**written, leaked=leaked)
