"""Which classes has a data set, and which of them is each label? Labels come as numbers or as names."""

import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np

from pipeline.base.errors import BadInput, printable
from pipeline.base.form import TEN
from pipeline.base.params import Images

MOST = 1000  # classes
LONGEST = 100  # characters of a name


def of_labels(
    labels: Sequence[np.ndarray],
    wanted: Images,
    known: Sequence[str] | None,
    where: str,
    named: Sequence[str] | None = None,
) -> tuple[str, ...]:
    """The names of the classes that the labels (numbers or text) of one data set are of, in their order.

    Those of ``known``, if it is more of a data set that is there; else of ``images.classes`` in params.yaml; else those
    ``named`` by the files; else the ten digits where all are such and ``images.kind`` is digits; else what comes in the
    data. :class:`BadInput` for what cannot be names.
    """
    if known is not None:
        return tuple(known)
    if wanted.classes:
        return _checked(wanted.classes, "params.yaml: images.classes")
    if named is not None:
        return _checked(named, where)
    found = {str(name) for of_split in labels for name in np.unique(of_split)}
    of_numbers = all(of_split.dtype.kind in "uif" for of_split in labels)
    if wanted.kind == "digits" and (of_numbers or found <= set(TEN)):
        return TEN  # a number that is no digit is a mistake, and no further class
    numbers = all(name.isdecimal() for name in found)
    return _checked(sorted(sorted(found), key=int) if numbers else sorted(found), where)  # 01 and 1 in one order, too


def _checked(names: Sequence[str], where: str) -> tuple[str, ...]:
    if len(names) > MOST:
        raise BadInput(f"{where}: {len(names):,} classes, allowed {MOST:,}: give fewer")
    if len(names) < 2:
        raise BadInput(f"{where}: {'one class' if names else 'no class'}: there is nothing to tell apart; give two")
    for name in names:
        if not name.strip() or len(name) > LONGEST or not name.isprintable():
            raise BadInput(f"{where}: {name!r} is no name for a class: give 1 to {LONGEST} characters to be printed")
    for name, count in Counter(names).items():
        if count > 1:
            raise BadInput(f"{where}: {name!r} is named {count} times: name each class once")
    composed = {name: unicodedata.normalize("NFC", name.strip()) for name in names}  # macOS decomposes file names
    for folded, count in Counter(composed[name].casefold() for name in names).items():
        alike = [name for name in names if composed[name].casefold() == folded]
        seen = {composed[name] for name in alike}
        if count > 1 and (len(folded) > 1 or len(seen) < count):  # A and a are letters
            way = "how their letters are encoded" if len(seen) < len({name.strip() for name in alike}) else "case"
            raise BadInput(f"{where}: the classes {' and '.join(map(repr, alike))} differ in {way} only: rename one")
    return tuple(names)


def whole(labels: np.ndarray, where: str) -> np.ndarray:
    """Labels (N,) that are numbers with a point as whole ones; :class:`BadInput` names the first that is none."""
    if labels.dtype.kind != "f":
        return labels
    labels = labels.astype(np.float64)  # half precision has no 2**53
    _refuse(labels, ~((np.abs(labels) < 2**53) & (labels == np.floor(labels))), where, "whole numbers")
    return labels.astype(np.int64)


def numbered(wanted: Images, known: Sequence[str] | None, named: Sequence[str]) -> tuple[str, ...]:
    """The names that labels which are numbers stand for, by their place: those of ``images.classes``, else all those
    ``named``. None where some of a data set's classes were left out, as nobody knows then what was counted."""
    if wanted.classes:
        return tuple(wanted.classes)
    return () if known is not None and wanted.leave_out_small else tuple(named)


def indexes(
    labels: np.ndarray, names: Sequence[str], where: str, of_numbers: Sequence[str] | None = None
) -> np.ndarray:
    """Labels (N,), whole numbers or text, as indexes of ``names``: uint8 (N,), or uint16 of more than 256;
    :class:`BadInput` names the first that is none. A number is a name where the names are numbers, else the place of
    one among ``of_numbers`` (without these: among all)."""
    of_numbers = names if of_numbers is None else of_numbers
    place = {name: index for index, name in enumerate(names)}
    values, inverse = np.unique(labels, return_inverse=True)
    found = [str(value) for value in values]
    needed = "0–9" if tuple(names) == TEN else _some(names)
    if of_numbers and _are_places(values, found, names):
        needed = f"whole numbers 0 to {len(of_numbers) - 1}, or names"
        found = [of_numbers[int(text)] if text.isdecimal() and int(text) < len(of_numbers) else "" for text in found]
    there = np.array([place.get(text, -1) for text in found], np.int64)
    _refuse(labels, (there < 0)[inverse], where, needed)
    return there[inverse].astype("uint8" if len(names) <= 256 else "uint16")


def _are_places(values: np.ndarray, found: Sequence[str], names: Sequence[str]) -> bool:
    """Whether labels count the classes rather than name them."""
    if all(name.isdecimal() for name in names):
        return False
    return values.dtype.kind in "ui" or (all(text.isdecimal() for text in found) and not set(found) <= set(names))


def _refuse(labels: np.ndarray, offends: np.ndarray, where: str, needed: str) -> None:
    if offends.any():
        at = int(np.argmax(offends))
        needed = f"whole numbers {needed}" if needed == "0–9" else needed
        held = printable(str(labels[at]))[:LONGEST]
        raise BadInput(f"{where}: labels must be {needed}, but number {at} (from 0) holds {held}: mend or remove it")


def _some(names: Sequence[str]) -> str:
    return f"one of {', '.join(names[:10])}{f' and {len(names) - 10} more' if len(names) > 10 else ''}"
