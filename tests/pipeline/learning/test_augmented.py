import numpy as np
import pytest
from bars import bars
from workspace import ROOT

from pipeline.base import params
from pipeline.base.form import Form
from pipeline.base.params import Augment
from pipeline.data.splits import Split
from pipeline.learning.augmented import AugmentedBatches

CHANGES = Augment(shift=2, rotate=10, elastic=0.5, stroke=0.2)
SET = {"batch_size": 32, "min_steps_per_epoch": 4, "label_smoothing": 0.0, "augment": CHANGES}
RECIPE = params.load(ROOT / "params.yaml").recipes["fast"].model_copy(update=SET)
TRAIN = bars(100, seed=0)


def test_batches_pass_over_every_image_equally_often_and_the_small_set_several_times():
    batches = AugmentedBatches(TRAIN, RECIPE, 3)
    assert len(batches) == 4 and batches[3][0].shape == (32, 28, 28)
    counts = np.bincount(batches.order[: 4 * 32], minlength=100)
    assert counts.min() >= 1 and counts.max() <= 2


def seldom(rare: int = 5, common: int = 300) -> Split:
    labels = np.repeat(np.array([0, 1], np.uint8), [common, rare])
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 12, 12, 3), dtype=np.uint8)
    return Split(images, labels)


def test_what_is_made_ahead_are_the_epoch_s_batches_and_no_tuner_holds_up_its_end():
    batches = AugmentedBatches(TRAIN, RECIPE, 3)
    ahead = batches.ahead()
    for epoch in range(2):
        batches.start(epoch)
        made = list(ahead.as_numpy_iterator())
        assert len(made) == len(batches) == ahead.cardinality()
        for step, (images, wanted) in enumerate(made):
            np.testing.assert_array_equal(images, batches[step][0])
            np.testing.assert_array_equal(wanted, batches[step][1])
    assert not ahead.options().autotune.enabled


def test_balanced_draws_every_class_alike_often():
    form, recipe = Form("plain", (12, 12, 3), ("common", "rare")), RECIPE.model_copy(update={"augment": Augment()})
    recipe = recipe.model_copy(update={"min_steps_per_epoch": 50})
    split = seldom()
    plainly = AugmentedBatches(split, recipe, 3, form)
    assert (split.labels[plainly.order] == 1).mean() < 0.03
    batches = AugmentedBatches(split, recipe.model_copy(update={"balanced": True}), 3, form)
    drawn = batches.order.copy()
    assert len(drawn) == len(batches) * recipe.batch_size == 50 * 32
    assert (split.labels[drawn] == 1).mean() == pytest.approx(0.5, abs=0.05)
    assert len(np.unique(drawn)) > 280, "and of a class each image"
    images, labels = batches[0]
    assert images.shape == (32, 12, 12, 3) and set(labels.tolist()) == {0, 1}
    batches.start(epoch=1)
    assert (batches.order != drawn).any()
    batches.start(epoch=0)
    np.testing.assert_array_equal(batches.order, drawn)


def test_balanced_does_without_classes_of_which_there_are_none():
    split = Split(seldom().images, seldom().labels * np.uint8(3))
    form = Form("plain", (12, 12, 3), tuple("abcd"))
    recipe = RECIPE.model_copy(update={"augment": Augment(), "balanced": True})
    drawn = split.labels[AugmentedBatches(split, recipe, 3, form).order]
    assert set(drawn.tolist()) == {0, 3}


def test_non_digits_come_on_top_of_a_batch_of_digits():
    recipe = RECIPE.model_copy(update={"augment": Augment(non_digits=0.25)})
    batches = AugmentedBatches(TRAIN, recipe, 3)
    images, labels = batches[1]
    assert images.shape == (40, 28, 28) and (labels[32:] == 10).all() and labels[:32].max() < 10
    np.testing.assert_array_equal(images, AugmentedBatches(TRAIN, recipe, 3)[1][0])
