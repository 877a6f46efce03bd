import io
import math
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from drawing import INK, PAPER, difference, draw
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import load_digits
from workspace import ROOT

from pipeline.base import params as params_file
from pipeline.base import pictures
from pipeline.base.errors import BadInput
from pipeline.data.datasets import catalogue
from pipeline.digits import features, framing

SHIPPED = ROOT / "params.yaml"
UPRIGHT = framing.to_mnist(255 - draw(5)[:, :, 0])


def saved(image: Image.Image | np.ndarray, format: str = "PNG", **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(file, format, **options)
    file.seek(0)
    return file


def framed(image: Image.Image | np.ndarray, format: str = "PNG", **options: Any) -> np.ndarray:
    return framing.frame(saved(image, format, **options), "a picture")


def test_a_frame_is_as_mnists_are():
    for digit in (1, 4, 5, 7):
        image = framed(draw(digit))
        assert image.dtype == np.uint8 and image.shape == (28, 28) and image.max() == 255
        rows, columns = np.nonzero(image > 25)
        assert max(np.ptp(rows), np.ptp(columns)) + 1 == pytest.approx(20, abs=1)
        mass = image.sum()
        centre = [(image.sum(axis=axis) @ np.arange(28)) / mass for axis in (0, 1)]
        assert centre == pytest.approx([14, 14], abs=0.75)


def test_mnists_framing_is_kept_as_it_is():
    """The embedded digits are in it already, as MNIST's own are."""
    digits = catalogue.load(params_file.load(SHIPPED).model_copy(update={"dataset": "digits"})).test.images[:100]
    again = np.stack([framing.to_mnist(image) for image in digits])
    assert np.abs(again.astype(int) - digits).mean() < 1.5


@settings(max_examples=40)
@given(x=st.floats(15, 300), y=st.floats(15, 200), height=st.floats(60, 170), margin=st.integers(0, 200))
def test_place_and_size_on_the_page_do_not_matter(x: float, y: float, height: float, margin: int):
    size = (int(x + height) + 15 + margin, int(y + height) + 15)
    page = draw(5, size, at=(x, y), height=height, width=max(5, round(height / 10)))
    assert difference(framed(page), UPRIGHT) < 9


colours = st.tuples(*[st.integers(0, 255)] * 3)


@settings(max_examples=60)
@given(ink=colours, paper=colours)
def test_colours_and_polarity_do_not_matter(ink: tuple[int, int, int], paper: tuple[int, int, int]):
    if np.linalg.norm(np.subtract(ink, paper)) < 60:
        return  # too alike to be told apart
    assert difference(framed(draw(5, ink=ink, paper=paper)), UPRIGHT) < 6


GREY = Image.fromarray(draw(5)).convert("L")
SIXTEEN = Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257)


def on_nothing(ink: int) -> Image.Image:
    """The digit in one grey on a transparent page."""
    strength = 255 - np.asarray(GREY)
    return Image.fromarray(np.dstack([np.full_like(strength, ink), strength]), "LA")


@pytest.mark.parametrize(
    ("image", "format"),
    [
        (GREY, "PNG"),
        (GREY, "BMP"),
        (GREY, "TIFF"),
        (GREY, "WEBP"),
        (GREY, "GIF"),
        (GREY, "JPEG"),
        (GREY.convert("RGBA"), "PNG"),
        (GREY.convert("1"), "PNG"),
        (GREY.convert("P"), "PNG"),
        (GREY.convert("CMYK"), "JPEG"),
        (SIXTEEN, "PNG"),
        (Image.fromarray(65535 - np.asarray(SIXTEEN)), "PNG"),
        (on_nothing(ink=0), "PNG"),
        (on_nothing(ink=255), "PNG"),
        (on_nothing(ink=0).convert("RGBA"), "PNG"),
    ],
)
def test_every_kind_of_picture_is_read(image: Image.Image, format: str):
    assert difference(framed(image, format), UPRIGHT) < 4


def test_a_palette_with_transparency_is_read():
    picture = GREY.convert("1").convert("P")
    assert difference(framed(picture, transparency=255), UPRIGHT) < 4


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [(3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_90), (8, Image.Transpose.ROTATE_270)],
)
def test_a_photo_is_turned_as_its_exif_says(orientation: int, stored: Image.Transpose):
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert difference(framed(GREY.transpose(stored), "JPEG", exif=exif), UPRIGHT) < 4


def test_of_an_animation_the_first_frame_is_read():
    second = Image.fromarray(draw(1)).convert("L")
    assert difference(framed(GREY, "GIF", save_all=True, append_images=[second]), UPRIGHT) < 4


def test_uneven_light_and_noise_are_no_ink():
    page = draw(5, ink=(60, 60, 90)).astype(float)
    light = np.linspace(1.0, 0.55, 200)[:, None, None] * np.linspace(1.0, 0.85, 200)[None, :, None]
    noise = np.random.default_rng(0).normal(0, 4, page.shape)
    photo = (page * light + noise).clip(0, 255).astype(np.uint8)
    assert difference(framed(photo, "JPEG", quality=50), UPRIGHT) < 10


def test_dust_is_dropped_and_a_separate_stroke_is_kept():
    page = draw(5)
    dusty = page.copy()
    for place in ((10, 10), (185, 30), (20, 180)):
        cv2.circle(dusty, place, 2, INK, -1)
    assert difference(framed(dusty), framed(page)) < 0.5
    assert (framed(page)[4:8, 10:19] > 100).sum() > 5  # the bar on top of the 5 is a stroke of its own


def test_a_thin_stroke_is_as_wide_as_a_pens_once_it_is_small():
    thin = framed(draw(7, size=(900, 900), at=(150, 120), height=650, width=3))
    assert (thin > 128).sum() > 40


@pytest.mark.parametrize("page", [np.full((90, 90, 3), PAPER, np.uint8), np.zeros((90, 90), np.uint8)])
def test_a_blank_page_holds_no_digit(page: np.ndarray):
    with pytest.raises(framing.NoSingleDigit, match=r"^a picture: no digit is to be seen$"):
        framed(page)


def png_of_zeros(side: int) -> bytes:
    """A one-bit PNG of side × side pixels that is a few kilobytes long."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((1 + (side + 7) // 8) * side), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8_000, 30_000])
def test_an_enormous_picture_is_refused_before_it_is_decoded(side: int, tmp_path: Path):
    path = tmp_path / "huge.png"
    path.write_bytes(png_of_zeros(side))
    tracemalloc.start()
    with pytest.raises(BadInput, match=r"huge.png: has more than 50 million pixels: give a smaller picture"):
        framing.frame(path, "huge.png")
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "is not a picture"),
        (b"seven", "is not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not a picture"),
        (saved(GREY).getvalue()[:200], "is cut off or damaged"),
        (saved(GREY, "JPEG").getvalue()[:600], "is cut off or damaged"),
        (saved(GREY.resize((2, 2))).getvalue(), "2×2 pixels are too few"),
    ],
)
def test_what_is_no_whole_picture_is_one_line(content: bytes, line: str, tmp_path: Path):
    path = tmp_path / "it.png"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=f"^it.png: .*{line}") as error:
        framing.frame(path, "it.png")
    assert len(str(error.value).splitlines()) == 1


def test_a_missing_file_and_a_folder_are_one_line(tmp_path: Path):
    with pytest.raises(BadInput, match=r"^x: there is no such file$"):
        framing.frame(tmp_path / "x", "x")
    with pytest.raises(BadInput, match=r"^x: is a folder without pictures: give a picture"):
        framing.frame(tmp_path, "x")


WHOLE = [saved(GREY).getvalue(), saved(GREY, "JPEG").getvalue(), saved(GREY, "GIF").getvalue()]


@settings(max_examples=150)
@given(st.sampled_from(WHOLE), st.floats(0, 1), st.binary(max_size=8))
def test_damaged_files_are_read_or_refused_but_never_crash(whole: bytes, place: float, patch: bytes):
    at = int(place * len(whole))
    for damaged in (whole[:at], whole[:at] + patch + whole[at + len(patch) :]):
        try:
            image = framing.frame(io.BytesIO(damaged), "it")
        except BadInput as error:
            assert len(str(error).splitlines()) == 1
        else:
            assert image.shape == (28, 28)


@pytest.mark.parametrize("size", [(4000, 1), (8000, 3), (1, 4000)])
def test_a_sliver_of_sixteen_bits_is_one_line(size: tuple[int, int]):
    with pytest.raises(BadInput, match=r"too few to be read|no digit"):
        framed(Image.fromarray(np.full(size[::-1], 40_000, np.uint16)))


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_a_large_picture_of_32_bits_is_read(kind: type):
    large = cv2.resize(255 - draw(5)[:, :, 0], (1600, 1600)).astype(kind)
    assert difference(framed(255 - large, "TIFF"), UPRIGHT) < 12


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_a_large_picture_is_made_smaller_no_further_than_the_side_it_is_worked_on(mode: str):
    large = Image.fromarray(draw(5)).resize((4000, 4000)).convert(mode)
    assert framing.read_image(saved(large), "a picture").shape == (framing.WORKING_SIDE, framing.WORKING_SIDE)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_pixel_that_is_no_number_spoils_nothing(value: float):
    picture = draw(5)[:, :, 0].astype(np.float32)
    picture[0, 0] = value
    assert difference(framed(picture, "TIFF"), UPRIGHT) < 12


def test_damaged_exif_data_is_one_line():
    entries = (
        "0102 0002 00000002 78000000  0112 0003 00000001 00060000  829a 0003 00000002 00010003"  # a time of shorts
    )
    exif = b"Exif\0\0" + bytes.fromhex(f"4d4d002a 00000008 0003 {entries} 00000000")
    with pytest.raises(BadInput, match="cut off or damaged"):
        framing.frame(saved(draw(5), "JPEG", exif=exif), "a picture")


@pytest.mark.parametrize("side", [16, 32])
@pytest.mark.parametrize("digit", [1, 4, 7])
def test_a_coarse_bitmap_with_bold_strokes_is_as_bold_as_a_pens(digit: int, side: int):
    bold = draw(digit, (400, 400), at=(100, 80), height=240, width=75)[:, :, 0]
    bitmap = np.where(cv2.resize(bold, (side, side), interpolation=cv2.INTER_AREA) < 128, 0, 255).astype(np.uint8)
    width = features.describe(framed(bitmap)[None])["stroke_width"].item()
    assert 2 < width < 4.6


@pytest.mark.parametrize("side", [2, 7, 25])
@pytest.mark.parametrize("levels", [2, 17])
def test_a_bitmap_is_read_alike_in_its_own_size_and_enlarged_by_squares(side: int, levels: int):
    small = cv2.resize(draw(4)[:, :, 0], (12, 12), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    bitmap = np.rint(np.rint(small * (levels - 1)) * 255 / (levels - 1)).astype(np.uint8)
    enlarged = np.kron(bitmap, np.ones((side, side), np.uint8))
    assert np.array_equal(framed(enlarged), framed(bitmap))
    assert np.array_equal(framed(enlarged[side // 2 :, : -(side // 2)]), framed(bitmap[:, :-1]))  # cut within a square


@pytest.mark.parametrize("colours", ["gray", "viridis", "gray_r"])
@pytest.mark.parametrize("axes", [False, True])
@pytest.mark.parametrize("digit", [1, 4, 5, 7])
def test_a_digit_that_matplotlib_shows_is_framed_as_the_digit_itself(digit: int, colours: str, axes: bool):
    """A panel on a page, with a scale beside it or without."""
    image = framed(draw(digit))
    shown = Figure(figsize=(3, 3))
    plot = shown.subplots()
    plot.imshow(image, cmap=colours)
    if not axes:
        plot.axis("off")
    picture = io.BytesIO()
    shown.savefig(picture, format="png")
    picture.seek(0)
    assert difference(framing.frame(picture, "a picture"), image) < 6


@pytest.mark.parametrize("index", [0, 2, 5, 8])
def test_a_bitmap_that_matplotlib_shows_is_framed_as_the_bitmap_itself(index: int):
    """As scikit-learn's documentation shows its digits, which fill their panel from above to below."""
    digit = load_digits().images[index]
    shown = Figure(figsize=(4, 4))
    shown.subplots().matshow(digit, cmap="gray")
    picture = io.BytesIO()
    shown.savefig(picture, format="png")
    picture.seek(0)
    assert difference(framing.frame(picture, "a picture"), framed(np.rint(np.pad(digit, 1) * 15).astype(np.uint8))) < 12


def test_a_bitmap_that_fills_its_picture_is_no_panel():
    """A 0 of scikit-learn's 8×8 digits, whose strokes are as wide as its hole."""
    digit = load_digits().images[36]
    assert (
        difference(
            framed(np.rint(digit * 255 / 16).astype(np.uint8)), framed(np.rint(np.pad(digit, 2) * 15).astype(np.uint8))
        )
        < 8
    )


@pytest.mark.parametrize("holes", [1, 2])
def test_a_square_digit_is_no_panel(holes: int):
    """A 0 or an 8 of bold straight strokes."""
    page = np.full((200, 120, 3), 255, np.uint8)
    page[20:180, 20:100] = 0
    for top in np.array([44, 108]) if holes == 2 else [44]:
        page[top : top + (48 if holes == 2 else 112), 40:80] = 255
    found, count = framing.ink.find(page.astype(np.float32))
    assert count == 1 and found.shape == (200, 120) and found[22, 22] == 255


def test_a_drawing_without_soft_edges_is_no_enlarged_bitmap():
    drawn = np.where(draw(4) > 128, 255, 0).astype(np.float32)
    assert framing._unenlarged(drawn) is drawn


def many_scans(more: int) -> bytes:
    """A progressive JPEG whose last scan comes so many times more."""
    whole = saved(draw(5), "JPEG", progressive=True).read()
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + more * last + whole[-2:]


def test_a_jpeg_of_too_many_scans_is_refused_before_it_is_decoded():
    assert difference(framing.frame(io.BytesIO(many_scans(2)), "it"), UPRIGHT) < 12
    with pytest.raises(BadInput, match="it: is a JPEG of more than 40 scans"):
        framing.frame(io.BytesIO(many_scans(2_600)), "it")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"])
def test_all_pixels_of_a_picture_are_judged_by_its_header(kind: str):
    """A JPEG's too, though it would be decoded smaller."""
    picture = Image.fromarray(draw(5)).resize((1500, 1500))
    with pytest.raises(BadInput, match="more than 2 million pixels"):
        framing.read_image(saved(picture, kind), "it", pictures.Limits(2_000_000, math.inf))


@pytest.mark.parametrize(
    ("kind", "options", "work"), [("PNG", {}, 1), ("JPEG", {}, 0.25), ("JPEG", {"progressive": True}, 2.5)]
)
def test_work_is_told_before_it_is_done(kind: str, options: dict[str, bool], work: float):
    file = saved(Image.fromarray(draw(5)).resize((2700, 2700)), kind, **options)
    framing.read_image(file, "it", pictures.LIMITS._replace(work=1.01 * work * 2700**2))
    with pytest.raises(pictures.TooMuchWork):
        framing.read_image(file, "it", pictures.LIMITS._replace(work=0.99 * work * 2700**2))
