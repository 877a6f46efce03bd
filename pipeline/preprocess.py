"""Which samples are trained on, which are held out? Leaves data/processed/{train,val,test,recent}, still uint8.

The val split is decided by the hash of each sample's content, so that it is stable for ever; images of train that
also stand in test or recent, or nearly the same ones, are dropped from train, so that these stay unseen. Rescaling is
the model's own first layer.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.base import form, places
from pipeline.base import params as params_file
from pipeline.base.errors import BadInput, one_line
from pipeline.base.form import TEN
from pipeline.data import near_copies, splits
from pipeline.data.splits import Split


def separate(train: Split, unseen: np.ndarray, val_share: float) -> tuple[Split, Split, int]:
    """Split train into train and val; returns both and how many images were dropped because they, or nearly the same,
    are in ``unseen``."""
    hashes = splits.content_hashes(train.images)
    leaked = near_copies.find(train.images, unseen)
    held_out = splits.held_out(hashes, val_share, "val")
    return (
        Split(train.images[~leaked & ~held_out], train.labels[~leaked & ~held_out]),
        Split(train.images[~leaked & held_out], train.labels[~leaked & held_out]),
        int(leaked.sum()),
    )


def check_alike(train: Split, val: Split, max_difference: float, classes: Sequence[str] = TEN) -> float:
    """The largest difference of a class's share between train and val; :class:`BadInput` above ``max_difference``."""
    shares = [splits.class_shares(split.labels, len(classes)) for split in (train, val)]
    differences = np.abs(shares[0] - shares[1])
    worst = int(differences.argmax())
    max_difference = max(max_difference, splits.by_chance(len(classes), len(val.labels)))
    if differences[worst] > max_difference:
        raise BadInput(
            f"preprocess: class {classes[worst]}'s share differs by {differences[worst]:.3f} between train "
            f"({len(train.labels)} images) and val ({len(val.labels)}), allowed {max_difference:.3g}: add images or "
            "change val_share"
        )
    return float(differences[worst])


def main() -> None:
    params = params_file.load()
    of = form.load(places.RAW)
    raw, test, recent = (splits.load(places.RAW / name) for name in ("train", "test", "recent"))
    unseen = np.concatenate([test.images, recent.images])
    train, val, leaked = separate(raw, unseen, params.recipe.val_share)
    difference = check_alike(train, val, params.preprocess.max_share_difference, of.classes)
    for name, split in {"train": train, "val": val, "test": test, "recent": recent}.items():
        splits.save(places.PROCESSED / name, split)
    form.save(of, places.PROCESSED)
    print(
        f"preprocess: {len(train.labels):,} train, {len(val.labels):,} val, {len(test.labels):,} test images; "
        f"{leaked} of train dropped because test or recent holds them, or nearly; class shares differ by at most "
        f"{difference:.3f}"
    )


if __name__ == "__main__":
    with one_line():
        main()
