"""Does a kind say which of a recipe's changes it does not make?"""

from workspace import ROOT

from pipeline.base import params
from pipeline.base.form import DIGITS, Form
from pipeline.base.params import Augment
from pipeline.data import kinds

EVERY = Augment(shift=1.0, elastic=1.0, stroke=0.1, hands=0.1, non_digits=0.1, flip=True, colour=0.1, paper=0.1)


def test_each_kind_names_what_is_not_its_own():
    letters, plain = Form(classes=("a", "b")), Form("plain", (32, 32, 3), ("a", "b"))
    assert kinds.training("digits").ignored(EVERY, DIGITS) == ["flip", "colour"]
    assert kinds.training("digits").ignored(EVERY, letters) == ["flip", "colour", "hands", "non_digits"]
    assert kinds.training("plain").ignored(EVERY, plain) == ["elastic", "stroke", "hands", "non_digits"]
    assert kinds.training("plain").ignored(Augment(shift=1.0), plain) == []


def test_the_shipped_recipes_are_for_digits_or_for_pictures():
    recipes = params.load(ROOT / "params.yaml").recipes
    plain = Form("plain", (32, 32, 3), ("a", "b"))
    assert kinds.training("plain").ignored(recipes["colour"].augment, plain) == []
    for name, recipe in recipes.items():
        assert name == "colour" or kinds.training("digits").ignored(recipe.augment, DIGITS) == []
