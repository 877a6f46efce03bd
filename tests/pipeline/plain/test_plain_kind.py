"""What is particular to pictures of anything: framing, numbers, corruptions, changes in training, expectations."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from small_mnist import PARAMS

from pipeline.base.errors import BadInput
from pipeline.base.form import Form
from pipeline.base.params import Augment
from pipeline.data import kinds
from pipeline.plain import corruptions, features, framing
from pipeline.plain.training import Changes

COLOUR, GREY = (24, 32, 3), (24, 32)


def saved(picture: Image.Image, kind: str = "PNG", **options: object) -> io.BytesIO:
    written = io.BytesIO()
    picture.save(written, kind, **options)
    written.seek(0)
    return written


def noise(count: int, shape: tuple[int, ...] = COLOUR) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8)


# --- Framing --------------------------------------------------------------------------------------------------------


def test_a_picture_of_the_size_is_taken_as_it_is():
    image = noise(1)[0]
    np.testing.assert_array_equal(framing.frame(saved(Image.fromarray(image)), "it", COLOUR), image)


def test_aspect_is_kept_and_the_rest_has_the_mean_colour():
    tall = Image.new("RGB", (10, 40), (200, 100, 0))
    framed = framing.frame(saved(tall), "it", (40, 40, 3))
    assert (framed == (200, 100, 0)).all()  # of one colour, so all of it
    half = np.zeros((40, 10, 3), np.uint8)
    half[:20] = 255
    framed = framing.frame(saved(Image.fromarray(half)), "it", (40, 40, 3))
    assert (framed[:, 0] == 128).all() and framed[:15, 20].min() == 255 and framed[25:, 20].max() == 0


@given(st.integers(3, 90), st.integers(3, 90), st.sampled_from(["RGB", "L", "P", "RGBA", "CMYK", "1", "LA", "I;16"]))
def test_pictures_of_every_mode_and_size_have_the_shape_asked_for(width: int, height: int, mode: str):
    kind = "TIFF" if mode == "CMYK" else "PNG"
    for shape in (COLOUR, GREY):
        framed = framing.frame(saved(Image.new(mode, (width, height)), kind), "it", shape)
        assert framed.shape == shape and framed.dtype == np.uint8


def test_sixteen_bits_are_not_clipped_and_what_is_transparent_lies_on_white():
    deep = Image.fromarray(np.full((30, 30), 128 * 256, np.uint16))
    assert (framing.frame(saved(deep), "it", (30, 30)) == 128).all()
    clear = Image.new("RGBA", (30, 30), (0, 0, 0, 0))
    assert (framing.frame(saved(clear), "it", (30, 30, 3)) == 255).all()


def test_a_picture_is_turned_as_its_exif_data_says():
    wide = np.zeros((10, 20), np.uint8)
    wide[:, :10] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise
    framed = framing.frame(saved(Image.fromarray(wide), "JPEG", exif=exif, quality=100), "it", (20, 10))
    assert framed[:8].mean() > 240 and framed[12:].mean() < 15


@pytest.mark.parametrize("content", [b"", b"no picture", saved(Image.new("RGB", (99, 99)), "JPEG").getvalue()[:200]])
def test_what_is_no_whole_picture_is_one_line(content: bytes):
    with pytest.raises(BadInput, match=r"^it: ") as error:
        framing.frame(io.BytesIO(content), "it", COLOUR)
    assert "\n" not in str(error.value)


@given(st.binary(max_size=200), st.integers(0, 900))
def test_a_spoilt_picture_raises_nothing_but_bad_input(spoil: bytes, at: int):
    whole = saved(Image.fromarray(noise(1)[0]), "JPEG").getvalue()
    try:
        framed = framing.frame(io.BytesIO(whole[:at] + spoil + whole[at + len(spoil) :]), "it", COLOUR)
    except BadInput as error:
        assert str(error).startswith("it: ")
    else:
        assert framed.shape == COLOUR


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path):
    with pytest.raises(BadInput, match="there is no such file"):
        framing.frame(tmp_path / "none.png", "none.png", COLOUR)


# --- Numbers --------------------------------------------------------------------------------------------------------


def measured(image: np.ndarray) -> dict[str, float]:
    return dict(zip(features.FEATURES, features.measure(image[None])[0], strict=True))


@pytest.mark.parametrize("shape", [COLOUR, GREY])
def test_every_number_is_finite_on_blank_and_on_noise(shape: tuple[int, ...]):
    images = np.concatenate([noise(3, shape), np.zeros((1, *shape), np.uint8), np.full((1, *shape), 255, np.uint8)])
    found = features.measure(images)
    assert found.shape == (5, len(features.FEATURES)) and np.isfinite(found).all()
    assert features.measure(images[:0]).shape == (0, len(features.FEATURES))


def test_the_numbers_say_what_their_names_say():
    red = np.zeros(COLOUR, np.uint8)
    red[..., 0] = 200
    found = measured(red)
    assert (found["red"], found["green"], found["saturation"], found["edges"], found["entropy"]) == (200, 0, 200, 0, 0)
    assert measured(noise(1)[0])["sharpness"] > measured(corruptions.all_of(noise(1), 0)["blur"][0])["sharpness"]
    bright = np.full(GREY, 250, np.uint8)
    assert measured(bright)["brightness"] == 250 and measured(bright)["saturation"] == 0


def test_slices_name_numbers_that_there_are():
    assert {feature for _, feature, _ in features.SLICES} <= set(features.FEATURES)


# --- Corruptions and changes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [COLOUR, GREY, (64, 64, 3)])
def test_every_corruption_keeps_the_form_and_is_the_same_for_the_same_seed(shape: tuple[int, ...]):
    images = noise(4, shape)
    once, again = corruptions.all_of(images, 3), corruptions.all_of(images, 3)
    for name, changed in once.items():
        assert changed.shape == images.shape and changed.dtype == np.uint8, name
        assert (changed != images).any(), name
        np.testing.assert_array_equal(changed, again[name])


def changed(bands: Augment, images: np.ndarray, seed: int = 1) -> np.ndarray:
    form = Form("plain", images.shape[1:], ("a", "b"))
    labels = np.zeros(len(images), np.uint8)
    found, same = Changes(images, bands, form, 8, seed)(images, labels, np.random.default_rng(seed))
    np.testing.assert_array_equal(same, labels)
    return found


def test_without_bands_nothing_changes():
    np.testing.assert_array_equal(changed(Augment(), noise(8)), noise(8))


def test_a_flip_mirrors_about_half_of_the_images():
    images = noise(200)
    found = changed(Augment(flip=True), images)
    mirrored = (found == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert 70 < mirrored.sum() < 130 and ((found == images).all(axis=(1, 2, 3)) | mirrored).all()


@pytest.mark.parametrize("shape", [COLOUR, GREY])
@pytest.mark.parametrize(
    "bands",
    [Augment(shift=3), Augment(rotate=20), Augment(zoom=0.2), Augment(shear=0.2), Augment(colour=0.3, paper=1.0)],
)
def test_each_band_changes_images_by_its_own_draws(bands: Augment, shape: tuple[int, ...]):
    images = noise(6, shape)
    found = changed(bands, images)
    assert found.shape == images.shape and (found != images).any(axis=tuple(range(1, images.ndim))).all()
    np.testing.assert_array_equal(found, changed(bands, images))
    assert (found != changed(bands, images, seed=2)).any()


def test_a_shift_moves_no_further_than_its_band():
    image = np.zeros((1, 31, 31), np.uint8)
    image[0, 15, 15] = 255
    for seed in range(20):
        rows, columns = np.nonzero(changed(Augment(shift=2), image, seed)[0])
        assert np.abs(np.concatenate([rows, columns]) - 15).max() <= 3


# --- What is expected -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["digits", "plain"])
def test_each_rule_has_a_key_of_its_own_and_says_what_to_do(kind: str):
    rules = kinds.expectations(kind).rules(PARAMS.validate_)
    assert len({rule.key for rule in rules}) == len(rules) and all(rule.advice for rule in rules)
