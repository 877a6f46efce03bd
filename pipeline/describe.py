"""The images in numbers, once for all: a table a split, or a shard, in data/features, read by every stage and intake.

A shard that was described before, by this very code, is not described again.
"""

import functools

from pipeline.base import cluster, files, form, places
from pipeline.base.errors import one_line
from pipeline.data import descriptions, splits


def main() -> None:
    of = form.load(places.RAW)
    parts = {name: splits.load(places.RAW / name) for name in descriptions.SPLITS}
    splits.check_arrays(parts["train"], parts["test"], of, "describe")
    wanted = descriptions.pieces(of.kind)
    known = [p for p in wanted if p.origin and descriptions.origin(places.FEATURES / p.file) == p.origin]
    missing = [piece for piece in wanted if piece not in known]
    with files.swapped(places.FEATURES) as folder:
        for piece in known:
            files.linked(places.FEATURES / piece.file, folder / piece.file)
        cluster.each(functools.partial(descriptions.describe_shard, folder=folder), missing, "describe")
        descriptions.finish(folder, wanted)
    told = ", ".join(f"{len(split.labels):,} {name}" for name, split in parts.items())
    before = f", {len(known)} of {len(wanted)} shards known" if known else ""
    print(f"describe: {told} images, {len(descriptions.columns(of.kind))} columns{before}")


if __name__ == "__main__":
    with one_line():
        main()
