"""Which samples are trained on, which are held out? Leaves data/processed/{train,val,test,recent}, still uint8.

The val split is decided by the hash of each sample's content, so that it is stable for ever; images of train that
also stand in test or recent, or nearly the same ones, are dropped from train, so that these stay unseen. Rescaling is
the model's own first layer.
"""

import functools
import json
from collections.abc import Sequence

import numpy as np

from pipeline.base import cluster, files, form, places
from pipeline.base import params as params_file
from pipeline.base.errors import BadInput, one_line
from pipeline.base.form import TEN
from pipeline.data import splits, validation_split


def check_alike(train: np.ndarray, val: np.ndarray, max_difference: float, classes: Sequence[str] = TEN) -> str:
    """The largest difference of a class's share between the labels of train and val, beside what it may be, in words;
    :class:`BadInput` above ``max_difference``, or above what chance does in so few images, if that is more."""
    shares = [splits.class_shares(labels, len(classes)) for labels in (train, val)]
    differences = np.abs(shares[0] - shares[1])
    worst = int(differences.argmax())
    by_chance = splits.by_chance(len(classes), len(val))
    why = f", as much as chance does in {len(val):,} images" if by_chance > max_difference else ""
    max_difference = max(max_difference, by_chance)
    if differences[worst] > max_difference:
        raise BadInput(
            f"preprocess: class {classes[worst]}'s share differs by {differences[worst]:.3f} between train "
            f"({len(train)} images) and val ({len(val)}), allowed {max_difference:.3g}{why}: add images or change "
            "val_share"
        )
    return f"{differences[worst]:.3f}, allowed {max_difference:.3g}{why}"


def main() -> None:
    params = params_file.load()
    of = form.load(places.RAW)
    unseen = json.dumps([splits.digests(places.RAW / name) for name in ("test", "recent")])
    with files.swapped(places.PROCESSED) as folder:
        write = functools.partial(
            validation_split.write_shard, folder=folder, val_share=params.recipe.val_share, unseen=unseen
        )
        separated = cluster.each(write, validation_split.pieces(), "preprocess")
        for name in ("train", "val"):
            splits.finish(folder / name, [getattr(one, name) for one in separated])
        for name in ("test", "recent"):
            splits.save(folder / name, splits.load(places.RAW / name), before=places.RAW / name)
        form.save(of, folder)
    train, val, test = (splits.load(places.PROCESSED / name).labels for name in ("train", "val", "test"))
    difference = check_alike(train, val, params.preprocess.max_share_difference, of.classes)
    print(
        f"preprocess: {len(train):,} train, {len(val):,} val, {len(test):,} test images; "
        f"{sum(one.leaked for one in separated)} of train dropped because test or recent holds them, or nearly; class "
        f"shares differ by at most {difference}"
    )


if __name__ == "__main__":
    with one_line():
        main()
