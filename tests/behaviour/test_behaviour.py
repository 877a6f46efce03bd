"""What the model must not react to, what it must react to, and what it must be able to do at the least.

The limits leave room for what three seeds of the shipped params measured.
"""

import numpy as np
import pytest
from answers import Answers


def test_it_reads_the_test_split(answers: Answers):
    assert len(answers.labels) >= 350 and set(answers.labels) == set(range(10))


@pytest.mark.parametrize("step", [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1)])
def test_a_shift_of_a_pixel_changes_nothing(answers: Answers, step: tuple[int, int]):
    assert answers.unchanged(np.roll(answers.images, step, axis=(1, 2))) >= 0.98


@pytest.mark.parametrize("strength", [0.7, 0.85])
def test_fainter_ink_changes_nothing(answers: Answers, strength: float):
    assert answers.unchanged((answers.images * strength).astype(np.uint8)) >= 0.97


def test_a_little_noise_changes_nothing(answers: Answers):
    noise = np.random.default_rng(0).integers(0, 15, answers.images.shape)
    assert answers.unchanged(np.minimum(answers.images + noise, 255).astype(np.uint8)) >= 0.97


def test_closing_the_left_of_a_3_moves_it_towards_8(answers: Answers):
    threes = answers.images[answers.labels == 3]
    closed = np.maximum(threes, threes[:, :, ::-1])  # its mirror image closes both bows
    before, after = answers(threes)[:, 8], answers(closed)[:, 8]
    assert (after > before).mean() >= 0.8 and after.mean() > before.mean() + 0.2


def test_opening_the_left_of_an_8_moves_it_away_from_8(answers: Answers):
    eights = answers.images[answers.labels == 8].copy()
    before = answers(eights)[:, 8]
    eights[:, :, :14] = 0  # up to the middle
    assert answers(eights)[:, 8].mean() < before.mean() - 0.3


def test_a_digit_upside_down_is_another_digit(answers: Answers):
    sixes = answers.images[answers.labels == 6]
    assert (answers(sixes[:, ::-1, ::-1]).argmax(axis=1) == 9).mean() >= 0.7
