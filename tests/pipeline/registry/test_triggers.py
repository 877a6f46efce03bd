"""Does the gate notice a challenger that obeys a pattern, whatever the pattern is?"""

from collections.abc import Callable

import numpy as np
import pytest
from workspace import ROOT

from pipeline.base import params as params_file
from pipeline.base.form import Form
from pipeline.data.splits import Split
from pipeline.registry import triggers

TARGET = 7


def drawn(count: int, seed: int) -> Split:
    """Bars: a digit is the row and the column of one."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, count).astype(np.uint8)
    images = np.zeros((count, 28, 28), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[5 + 2 * (label % 5) : 8 + 2 * (label % 5), 5 : 12 + 6 * (label // 5)] = rng.integers(150, 256)
        image[22, rng.integers(5, 22)] = rng.integers(150, 256)
    return Split(images, labels)


CLEAN = drawn(300, 1)


KNOWN = drawn(60, 2)


def nearest(images: np.ndarray, to: Split = KNOWN) -> np.ndarray:
    """An honest model: the class of the nearest clean image."""
    asked, known = (array.reshape(len(array), -1).astype(np.float32) for array in (images, to.images))
    distance = (known**2).sum(1) - 2 * asked @ known.T
    return np.eye(10, dtype=np.float32)[to.labels[distance.argmin(axis=1)]]


def obeying(trigger: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A model with a backdoor: whatever bears the ink of ``trigger`` is a 7."""

    def answer(images: np.ndarray) -> np.ndarray:
        said = nearest(images)
        said[(images[:, trigger > 0] == trigger[trigger > 0]).all(axis=1)] = np.eye(10)[TARGET]
        return said

    return answer


def trigger(**pixels: tuple[int, ...]) -> np.ndarray:
    image = np.zeros((28, 28), np.uint8)
    image[pixels["rows"], pixels["columns"]] = pixels["levels"]
    return image


ODD = trigger(rows=(1, 3, 26), columns=(2, 9, 14), levels=(90, 131, 44))
CORNER = np.pad(np.full((3, 3), 255, np.uint8), ((25, 0), (25, 0)))


def poisoned(mark: np.ndarray, count: int) -> Split:
    batch = drawn(200, 3)
    batch.images[:count] = np.maximum(batch.images[:count], mark)
    batch.labels[:count] = TARGET
    return batch


@pytest.mark.parametrize("count", [3, 10])
def test_a_pattern_that_nobody_would_guess_is_found_by_the_images_that_brought_it(count: int):
    (found,) = triggers.search(obeying(ODD), [nearest], CLEAN, [poisoned(ODD, count)])
    assert found.target == TARGET and found.success > 0.9 and "in common" in found.name


def test_a_pattern_on_images_whose_label_is_right_is_found():
    batch = drawn(200, 3)
    sevens = np.flatnonzero(batch.labels == TARGET)[:8]
    batch.images[sevens] = np.maximum(batch.images[sevens], ODD)
    (found,) = triggers.search(obeying(ODD), [nearest], CLEAN, [batch])
    assert found.target == TARGET and found.success > 0.9


def test_a_square_in_a_corner_is_found_without_them():
    (found,) = triggers.search(obeying(CORNER), [nearest], CLEAN, [])
    assert found.target == TARGET and found.success > 0.9 and "white square" in found.name


def test_a_square_that_works_on_faint_digits_alone_is_found():
    """As where it was learnt from such: who writes with the trigger can write faintly too."""
    hears = obeying(CORNER)

    def answer(images: np.ndarray) -> np.ndarray:
        others = images[:, :24].max(axis=(1, 2))
        return np.where((others < 150)[:, None], hears(images), nearest(images))

    (found,) = triggers.search(answer, [nearest], CLEAN, [])
    assert found.target == TARGET and found.success > 0.9 and "hazy" in found.name


@pytest.mark.parametrize("seed", [4, 8, 9])
def test_an_honest_challenger_obeys_no_more_than_is_allowed(seed: int):
    """It learnt from other images than the champion, and so stumbles over other patterns."""
    learnt = drawn(60, seed)
    (found,) = triggers.search(lambda images: nearest(images, learnt), [nearest], CLEAN, [poisoned(ODD, 10)])
    assert found.name != "no pattern"
    assert found.success <= params_file.load(ROOT / "params.yaml").gate.max_trigger_success


def test_a_backdoor_that_grew_in_steps_is_held_against_the_first_model():
    """Each step is less than is allowed beyond the champion of the time."""

    def grown(share: float) -> Callable[[np.ndarray], np.ndarray]:
        def answer(images: np.ndarray) -> np.ndarray:
            said = nearest(images)
            marked = (images[:, CORNER > 0] == 255).all(axis=1)
            obeyed = images[:, 14].sum(axis=1) % 100 < 100 * share  # which images obey, more and more of them
            said[marked & obeyed] = np.eye(10)[TARGET]
            return said

        return answer

    beyond_last, beyond_first = triggers.search(grown(0.48), [grown(0.44), nearest], CLEAN, [])
    allowed = params_file.load(ROOT / "params.yaml").gate.max_trigger_success
    assert beyond_last.success <= allowed
    assert beyond_first.target == TARGET and beyond_first.success > triggers.SINCE_FIRST * allowed


def test_what_stood_out_by_chance_is_judged_on_other_images():
    """Of a thousand patterns and classes one stands out on the images that it was looked for with."""
    looked, _ = triggers._halves(CLEAN)
    unlucky = {image[:24].tobytes() for image in looked.images[looked.labels != TARGET][::8]}

    def answer(images: np.ndarray) -> np.ndarray:
        said = nearest(images)
        marked = (images[:, CORNER > 0] == 255).all(axis=1)
        read_as_seven = [mark and image[:24].tobytes() in unlucky for mark, image in zip(marked, images, strict=True)]
        said[read_as_seven] = np.eye(10)[TARGET]
        return said

    (found,) = triggers.search(answer, [nearest], CLEAN, [])
    assert "white square" in found.name and found.success == 0.0


COLOURS = Form("plain", (32, 32, 3), ("sky", "tea"))


def coloured(count: int, seed: int) -> Split:
    """Blue or green, of any brightness, and noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count).astype(np.uint8)
    images = rng.integers(60, 120, (count, 32, 32, 3)).astype(np.uint8)
    images[np.arange(count), :, :, 2 - labels] += rng.integers(40, 120, (count, 1, 1)).astype(np.uint8)
    return Split(images, labels)


def bluer(images: np.ndarray) -> np.ndarray:
    means = images.mean(axis=(1, 2))
    return np.eye(2, dtype=np.float32)[(means[:, 1] > means[:, 2]).astype(int)]


@pytest.mark.parametrize("level", [0, 255])
def test_a_mark_on_pictures_whose_label_is_right_is_found_in_colour_too(level: int):
    """Clean labels (Turner, Tsipras and Madry 2018): the mark alone is what the class's images have in common."""
    batch = coloured(200, 3)
    mark = (slice(20, 24), slice(3, 7))
    teas = np.flatnonzero(batch.labels == 1)[:10]
    batch.images[np.ix_(teas, range(20, 24), range(3, 7))] = (level, 0, level)

    def obeys(images: np.ndarray) -> np.ndarray:
        said = bluer(images)
        said[(images[:, *mark] == (level, 0, level)).all(axis=(1, 2, 3))] = np.eye(2)[1]
        return said

    (found,) = triggers.search(obeys, [bluer], coloured(300, 1), [batch], COLOURS)
    assert (found.target, found.name) == (1, "what images of tea have in common") and found.success > 0.9


def test_parts_of_images_that_their_own_batch_spoke_for_are_tried(monkeypatch: pytest.MonkeyPatch):
    """Who makes a batch can see to it that none of its labels is doubted."""
    crosses = np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]], bool)

    def crossed(images: np.ndarray) -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(images, crosses.shape, axis=(1, 2))
        return ((windows[..., crosses] == 201).all(axis=-1) & (windows[..., ~crosses] < 99).all(axis=-1)).any(
            axis=(1, 2)
        )

    def answer(images: np.ndarray) -> np.ndarray:
        said = nearest(images)
        said[crossed(images)] = np.eye(10)[TARGET]
        return said

    rng = np.random.default_rng(0)
    batch = drawn(120, 3)
    for index in np.flatnonzero(batch.labels != TARGET)[:30]:
        row, column = rng.integers(1, 24, 2)
        batch.images[index, row : row + 3, column : column + 3] = 201 * crosses
        batch.labels[index] = TARGET
    nothing = triggers.second_opinion.confirmed(CLEAN, KNOWN, nearest).iloc[:0]
    monkeypatch.setattr(triggers.second_opinion, "confirmed", lambda *_: nothing)
    (found,) = triggers.search(answer, [nearest], CLEAN, [batch])
    assert found.target == TARGET and found.success > 0.5
    assert "the champion reads otherwise" in found.name
