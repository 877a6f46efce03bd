"""Which data sets are there, by the name that params.yaml gives them?"""

import sys
from collections.abc import Callable

import numpy as np

from pipeline.base.errors import BadInput
from pipeline.base.form import DIGITS, Form
from pipeline.base.params import OWN, Images, Params
from pipeline.data.datasets import csv_file, decoders, embedded, labelled_pictures, letters, mnist
from pipeline.data.datasets.decoders import Loaded, Source
from pipeline.data.splits import Split

DECODERS: dict[str, Callable[[Source], Loaded]] = {
    "idx": decoders.load_idx,
    "npz": decoders.load_npz,
    "csv": csv_file.load_csv,
    "folder": labelled_pictures.load_folder,
    "table": labelled_pictures.load_table,
    "parquet": labelled_pictures.load_parquet,
}
DATASETS: dict[str, Callable[[Source], Loaded]] = {
    "digits": embedded.load_digits,
    "mnist": mnist.load_mnist,
    "kaggle": mnist.load_kaggle,
    "letters": letters.load_letters,
    **DECODERS,
}


def load(params: Params) -> Loaded:
    """Read, verify and decode the data set that ``params`` names; :class:`BadInput` if any of it is not whole."""
    loaded = DATASETS[params.dataset](Source(params.ingest, params.images))._replace(name=params.named)
    if params.dataset not in OWN:
        return loaded
    if not params.images.classes:
        _tell_mixed(loaded)
    return _without_small(loaded, params.images)


def as_of(form: Form, wanted: Images) -> Images:
    """What a picture of a data set that is there becomes."""
    height, width, *colours = form.shape
    size = {"kind": form.kind, "height": height, "width": width, "channels": 3 if colours else 1}
    return wanted.model_copy(update=size)


def _tell_mixed(loaded: Loaded) -> None:
    """A warning where labels are numbers and names: one class may be there twice, as both. Where all names are single
    characters, digits are some of these."""
    names = loaded.form.classes
    numbers, words = ([name for name in names if name.isdecimal() == wanted] for wanted in (True, False))
    if numbers and any(len(word) > 1 for word in words):
        told = " and ".join(
            f"{kind} ({', '.join(some[:5])}{' …' if some[5:] else ''})"
            for kind, some in (("numbers", numbers), ("names", words))
        )
        print(
            f"warning: ingest: {loaded.name}: labels are {told}, each a class of its own: if a number means one of the "
            "names, give the name (images.classes says that all are meant)",
            file=sys.stderr,
        )


def _without_small(loaded: Loaded, wanted: Images) -> Loaded:
    """The data set without classes of too few images, if that is asked for; else :class:`BadInput` names them. Of the
    ten digits validation says it."""
    names = loaded.form.classes
    counts = np.bincount(np.concatenate([loaded.train.labels, loaded.test.labels]), minlength=len(names))
    small = np.flatnonzero(counts < wanted.min_of_class)
    if loaded.form == DIGITS or not len(small):
        return loaded
    told = ", ".join(f"{names[at]} ({counts[at]})" for at in small[:10]) + (" …" if len(small) > 10 else "")
    if not wanted.leave_out_small:
        raise BadInput(
            f"{loaded.name}: fewer than {wanted.min_of_class} images of {told}: add some, lower "
            "images.min_of_class, or set images.leave_out_small"
        )
    if len(names) - len(small) < 2:
        raise BadInput(f"{loaded.name}: fewer than two classes have {wanted.min_of_class} images: add some")
    print(f"warning: ingest: left out, as too few: {told}", file=sys.stderr)
    stays = np.flatnonzero(counts >= wanted.min_of_class)
    place = np.zeros(len(names), np.int64)
    place[stays] = np.arange(len(stays))

    def kept(split: Split) -> Split:
        there = split.chosen(np.isin(split.labels, stays))
        return there._replace(labels=place[there.labels].astype(split.labels.dtype))

    form = Form(loaded.form.kind, loaded.form.shape, tuple(names[at] for at in stays))
    return loaded._replace(train=kept(loaded.train), test=kept(loaded.test), form=form)
