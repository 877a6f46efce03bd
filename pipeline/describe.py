"""The images in numbers, once for all: data/features/{train,test,recent}.parquet, read by every stage and by intake."""

from pipeline.base import form, places
from pipeline.base.errors import one_line
from pipeline.data import descriptions, splits


def main() -> None:
    parts = {name: splits.load(places.RAW / name) for name in ("train", "test", "recent")}
    of = form.load(places.RAW)
    splits.check_arrays(parts["train"], parts["test"], of, "describe")
    tables = {name: descriptions.describe(split, of.kind) for name, split in parts.items()}
    for name, table in tables.items():
        descriptions.save(name, table, of.kind)
    counts = ", ".join(f"{len(table):,} {name}" for name, table in tables.items())
    print(f"describe: {counts} images, {tables['train'].shape[1]} columns")


if __name__ == "__main__":
    with one_line():
        main()
