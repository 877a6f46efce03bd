"""The images in numbers, once for all: a table a split, or a shard, in data/features, read by every stage and intake.

A shard that was described before, by this very code, is not described again.
"""

from pipeline.base import cluster, form, places
from pipeline.base.errors import one_line
from pipeline.data import descriptions, splits


def main() -> None:
    of = form.load(places.RAW)
    parts = {name: splits.load(places.RAW / name) for name in descriptions.SPLITS}
    splits.check_arrays(parts["train"], parts["test"], of, "describe")
    wanted = {descriptions.place(piece.split, piece.number, piece.of): piece for piece in descriptions.pieces(of.kind)}
    missing = [piece for path, piece in wanted.items() if not piece.origin or descriptions.origin(path) != piece.origin]
    cluster.each(descriptions.describe_shard, missing, "describe")
    for path in set(places.FEATURES.glob("*.parquet")) - wanted.keys():  # of an earlier data set
        path.unlink()
    told = ", ".join(f"{len(split.labels):,} {name}" for name, split in parts.items())
    known = f", {len(wanted) - len(missing)} of {len(wanted)} shards known" if len(missing) < len(wanted) else ""
    print(f"describe: {told} images, {len(descriptions.columns(of.kind))} columns{known}")


if __name__ == "__main__":
    with one_line():
        main()
