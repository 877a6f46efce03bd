"""Which class does a correction mean?"""

from typing import Any

import pytest

from pipeline.base.form import TEN
from serving.schemas import Correction

BIRDS = ("robin", "wren")


@pytest.mark.parametrize(
    ("said", "classes", "index", "of_none"),
    [
        ({"digit": 7}, TEN, 7, False),
        ({"index": 1}, BIRDS, 1, False),
        ({"label": "wren"}, BIRDS, 1, False),
        ({"none": True}, TEN, None, True),
        ({"none": False, "digit": 7}, TEN, 7, False),
        ({"none": True, "digit": 7}, TEN, None, False),
        ({"digit": 1}, BIRDS, None, False),
        ({"index": 2}, BIRDS, None, False),
        ({"label": "emu"}, BIRDS, None, False),
        ({"index": 1, "label": "wren"}, BIRDS, None, False),
        ({}, TEN, None, False),
        ({"none": False}, TEN, None, False),
    ],
)
def test_one_class_is_meant_or_none_of_them(said: dict[str, Any], classes: tuple[str, ...], index: Any, of_none: bool):
    correction = Correction(id="r-0", **said)
    assert correction.index_in(classes) == index and correction.of_none is of_none
