"""Does a picture of any kind become an image of the shape asked for, whole and in its own colours?"""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from own_images import encoded, scene
from PIL import Image

from pipeline.base.errors import BadInput
from pipeline.plain import framing

RED, GREEN, BLUE = (220, 30, 30), (30, 200, 30), (30, 30, 220)


def frame(content: bytes, shape: tuple[int, ...] = (32, 32, 3)) -> np.ndarray:
    return framing.frame(io.BytesIO(content), "x", shape)


def saved(picture: Image.Image, kind: str, **more: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **more)
    return file.getvalue()


def quarters(side: int = 64) -> Image.Image:
    """Red, green, blue and white."""
    pixels = np.full((side, side, 3), 255, np.uint8)
    half = side // 2
    pixels[:half, :half], pixels[:half, half:], pixels[half:, :half] = RED, GREEN, BLUE
    return Image.fromarray(pixels)


def colours(image: np.ndarray) -> list[tuple[int, ...]]:
    """Of the middles of the four quarters, row by row."""
    height, width = image.shape[:2]
    return [
        tuple(image[row, column].tolist())
        for row in (height // 4, 3 * height // 4)
        for column in (width // 4, 3 * width // 4)
    ]


def close(found: list[tuple[int, ...]], wanted: list[tuple[int, ...]], within: int) -> bool:
    return bool((np.abs(np.array(found, int) - np.array(wanted, int)) <= within).all())


QUARTERS = [RED, GREEN, BLUE, (255, 255, 255)]


@given(
    st.integers(3, 200), st.integers(3, 200), st.integers(8, 80), st.integers(8, 80), st.sampled_from(["png", "jpg"])
)
def test_the_shape_is_the_one_asked_for(height: int, width: int, high: int, wide: int, suffix: str):
    content = encoded(scene(1, height, width), suffix)
    for shape in ((high, wide), (high, wide, 3)):
        image = frame(content, shape)
        assert image.shape == shape and image.dtype == np.uint8


def test_a_picture_of_that_size_stays_as_it_is():
    pixels = scene(3, 32, 32)
    np.testing.assert_array_equal(frame(encoded(pixels)), pixels)


@pytest.mark.parametrize("side", [16, 32, 500])
def test_a_picture_is_scaled_whole(side: int):
    assert close(colours(frame(saved(quarters(side), "PNG"))), QUARTERS, 3)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "CMYK", "P"])
def test_a_far_larger_picture_is_scaled_whole(mode: str):
    picture = quarters(1001).convert(mode)
    found = colours(frame(saved(picture, "TIFF")))
    assert close(found, QUARTERS, 40 if mode == "P" else 5)


def test_what_is_transparent_in_a_far_larger_picture_has_no_colour_in_it():
    picture = Image.new("RGBA", (900, 900), (255, 0, 0, 0))
    picture.paste((0, 0, 255, 255), (0, 0, 450, 900))
    image = frame(saved(picture, "PNG"))
    assert close([tuple(image[16, 8]), tuple(image[16, 24])], [(0, 0, 255), (255, 255, 255)], 3)
    assert (image[:, 15:17, 1] >= image[:, 15:17, 0] - 3).all()


@pytest.mark.parametrize(("height", "width"), [(100, 50), (50, 100), (3, 300), (300, 3)])
def test_aspect_is_kept_and_the_rest_is_the_mean_colour(height: int, width: int):
    pixels = np.full((height, width, 3), RED, np.uint8)
    image = frame(encoded(pixels))
    assert (image == RED).all(), "a picture of one colour has it for its mean"
    pixels[: height // 2] = BLUE
    if height == 100:
        image = frame(encoded(pixels))
        assert close([tuple(image[8, 16])], [BLUE], 3) and close([tuple(image[24, 16])], [RED], 3)
        assert close([tuple(image[16, 2])], [(125, 30, 125)], 3), "beside it"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
def test_every_format_is_read(kind: str):
    more = {"quality": 95} if kind in ("JPEG", "WEBP") else {}
    assert close(colours(frame(saved(quarters(), kind, **more))), QUARTERS, 25)


@pytest.mark.parametrize(
    ("mode", "kind", "within"), [("P", "PNG", 40), ("P", "GIF", 40), ("CMYK", "JPEG", 25), ("CMYK", "TIFF", 25)]
)
def test_palette_and_cmyk_show_their_colours(mode: str, kind: str, within: int):
    picture = quarters().convert("P", palette=Image.Palette.ADAPTIVE) if mode == "P" else quarters().convert(mode)
    assert close(colours(frame(saved(picture, kind))), QUARTERS, within)


def test_grey_is_asked_for_or_is_three_times_the_same():
    grey = frame(saved(quarters(), "PNG"), (32, 32))
    assert grey[24, 24] == 255 and abs(int(grey[8, 24]) - 130) < 10
    coloured = frame(saved(quarters().convert("L"), "PNG"))
    np.testing.assert_array_equal(coloured, np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_not_clipped(kind: str):
    levels = np.repeat(np.linspace(0, 65535, 32).astype(np.uint16)[None], 32, axis=0)
    image = frame(saved(Image.fromarray(levels), kind), (32, 32))
    np.testing.assert_array_equal(image[0], np.rint(levels[0] / 257))


def test_levels_with_a_point_are_levels():
    levels = np.repeat(np.linspace(0, 255, 32).astype(np.float32)[None], 32, axis=0)
    levels[5, 5] = np.nan
    image = frame(saved(Image.fromarray(levels), "TIFF"), (32, 32))
    assert np.abs(image[0].astype(int) - levels[0]).max() <= 1 and image[5, 5] == 0


@pytest.mark.parametrize(("white", "dtype"), [(1, np.float32), (65535, np.float32), (255, np.int32), (65535, np.int32)])
@pytest.mark.parametrize("highest", [1.0, 0.6])
def test_white_is_what_such_numbers_have_for_it_and_not_the_picture_s_own_highest(
    white: int, dtype: type, highest: float
):
    levels = np.repeat(np.linspace(0, highest * white, 32).astype(dtype)[None], 32, axis=0)
    image = frame(saved(Image.fromarray(levels), "TIFF"), (32, 32))
    assert np.abs(image[0] - 255.0 * levels[0] / white).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF"])
def test_what_is_transparent_lies_on_white(kind: str):
    picture = quarters().convert("RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, 32, 32))
    more = {"lossless": True} if kind == "WEBP" else {}
    assert close(colours(frame(saved(picture, kind, **more)))[:1], [(255, 255, 255)], 3)


def test_a_palette_with_a_transparent_colour_lies_on_white():
    picture = Image.new("P", (40, 40), 0)
    picture.putpalette([0, 0, 0, 255, 0, 0])
    picture.paste(1, (0, 0, 20, 40))
    image = frame(saved(picture, "PNG", transparency=0))
    assert close([tuple(image[16, 8]), tuple(image[16, 24])], [(255, 0, 0), (255, 255, 255)], 3)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_an_animation_is_its_first_frame(kind: str):
    other = Image.new("RGB", (64, 64), BLUE)
    content = saved(quarters(), kind, save_all=True, append_images=[other, other], duration=50)
    assert close(colours(frame(content))[:2], [RED, GREEN], 40)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_picture_is_turned_as_its_exif_data_says(kind: str):
    """6: the camera was held upright, so that what was recorded is to be turned by a quarter to the right."""
    exif = Image.Exif()
    exif[0x0112] = 6
    found = colours(frame(saved(quarters(), kind, exif=exif)))
    assert close(found, [BLUE, RED, (255, 255, 255), GREEN], 40)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (2, 900), (900, 2)])
def test_too_few_pixels_are_refused(size: tuple[int, int]):
    with pytest.raises(BadInput, match=rf"x: {size[0]}×{size[1]} pixels are too few to be read"):
        frame(saved(Image.new("RGB", size), "PNG"))


def test_too_many_pixels_are_refused_by_the_header():
    content = saved(Image.new("1", (9000, 9000)), "PNG")
    with pytest.raises(BadInput, match=r"x: has more than 50 million pixels: give a smaller picture"):
        frame(content)


@given(st.binary(max_size=400))
def test_arbitrary_bytes_raise_nothing_but_bad_input(content: bytes):
    with pytest.raises(BadInput, match=r"^x: "):
        frame(content)
