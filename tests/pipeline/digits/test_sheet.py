"""Are several digits on a picture found, in reading order, each with its box? And is a hostile picture bounded?"""

import io

import cv2
import numpy as np
import pytest
from drawing import INK, PAPER, STROKES, draw
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.base.errors import BadInput
from pipeline.digits import framing, sheet
from pipeline.digits.sheet import Found

Placed = list[tuple[int, int, int]]  # digit, left and top


def saved(picture: np.ndarray | Image.Image, **options: object) -> io.BytesIO:
    written = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(written, "PNG", **options)
    written.seek(0)
    return written


def page(placed: Placed, size: tuple[int, int] = (600, 400), height: float = 80, ink=INK, paper=PAPER) -> np.ndarray:
    """Digits of one height on a page."""
    drawn = np.full((size[1], size[0], 3), paper, np.uint8)
    for digit, left, top in placed:
        one = draw(digit, size, (left, top), height, 8, ink, paper)
        drawn = np.where(one != np.array(paper, np.uint8), one, drawn)
    return drawn


def found(picture: np.ndarray | Image.Image, **options: object) -> list[Found]:
    return sheet.frame(saved(picture, **options), "it")


def same_as_alone(image: np.ndarray, digit: int) -> bool:
    """Whether an image is of that digit: nearest, of all that are drawn here, to this one alone."""
    alone = {one: framing.frame(saved(draw(one)), "it").astype(float) for one in STROKES}
    return min(alone, key=lambda one: float(np.abs(alone[one] - image).sum())) == digit


ROWS: Placed = [(7, 60, 60), (1, 200, 66), (4, 340, 58), (5, 80, 220), (4, 230, 226), (1, 400, 218), (7, 470, 230)]


@pytest.mark.parametrize(("ink", "paper"), [(INK, PAPER), ((250, 240, 90), (30, 60, 40)), ((150, 150, 150), PAPER)])
def test_digits_are_found_row_by_row_from_left_to_right(ink: tuple[int, int, int], paper: tuple[int, int, int]):
    seen = found(page(ROWS, ink=ink, paper=paper))
    assert len(seen) == len(ROWS)
    for one, (digit, left, top) in zip(seen, ROWS, strict=True):
        assert abs(one.box[1] - top) < 15 and left - 10 < one.box[0] < left + 45
        assert one.image.shape == (28, 28) and same_as_alone(one.image, digit)


def test_a_bar_that_is_apart_is_its_five_s():
    (one,) = found(page([(5, 100, 100)]))
    assert same_as_alone(one.image, 5) and one.box[3] > 80


def test_a_house_number_that_rises_stays_one_row():
    placed: Placed = [(4, 40, 120), (7, 160, 100), (1, 280, 80), (5, 400, 60)]
    assert [same_as_alone(one.image, digit) for one, (digit, *_) in zip(found(page(placed)), placed, strict=True)] == [
        True
    ] * 4


def test_boxes_are_in_the_picture_s_own_pixels_turned_as_its_exif_data_says():
    large = cv2.resize(page(ROWS), None, fx=5, fy=5, interpolation=cv2.INTER_NEAREST)  # 3,000 wide: made smaller
    for one, (_, left, top) in zip(found(large), ROWS, strict=True):
        assert abs(one.box[0] - 5 * left) < 250 and abs(one.box[1] - 5 * top) < 75
    exif = Image.Exif()
    exif[0x0112] = 8  # the camera lay on its side: a quarter turn counterclockwise is to be made
    upright = found(Image.fromarray(np.ascontiguousarray(np.rot90(page(ROWS), -1))), exif=exif)
    assert [one.box for one in upright] == [one.box for one in found(page(ROWS))]


def test_ruled_paper_dust_and_uneven_light_are_no_digits():
    picture = page(ROWS).astype(np.float32)
    for y in range(40, 400, 60):
        cv2.line(picture, (0, y), (599, y), (200.0, 200.0, 225.0), 1)
    rng = np.random.default_rng(0)
    for x, y in rng.integers(5, 380, (40, 2)):
        picture[y, x] = 60
    light = np.linspace(1, 0.8, 600, dtype=np.float32)[None, :, None]
    assert len(found((picture * light).clip(0, 255).astype(np.uint8))) == len(ROWS)


@pytest.mark.parametrize("level", [0, 255])
def test_a_blank_page_shows_no_digit(level: int):
    with pytest.raises(framing.NoSingleDigit, match=r"^it: no digit"):
        found(np.full((300, 300), level, np.uint8))


def test_a_texture_of_thousands_of_strokes_is_refused_soon():
    noise = np.random.default_rng(0).integers(0, 2, (900, 900), np.uint8)
    coarse = cv2.resize(255 * noise, (1600, 1600), interpolation=cv2.INTER_NEAREST)
    with pytest.raises(framing.NoSingleDigit):
        found(coarse)
    squares = np.full((1600, 1600), 255, np.uint8)
    for row in range(20, 1500, 60):
        for column in range(20, 1500, 60):
            top, left = np.array([row, column]) + np.random.default_rng([row, column]).integers(0, 30, 2)
            squares[top : top + 24, left : left + 16] = 0
    with pytest.raises(framing.NoSingleDigit, match="more than 200 strokes apart"):
        found(squares)


@given(st.binary(max_size=300))
def test_what_is_no_picture_is_one_line(content: bytes):
    with pytest.raises(BadInput, match=r"^it: "):
        sheet.frame(io.BytesIO(content), "it")


BOXES = st.lists(
    st.tuples(st.integers(0, 900), st.integers(0, 900), st.integers(1, 90), st.integers(1, 120)),
    min_size=1,
    max_size=12,
)


@given(BOXES, st.randoms(use_true_random=False))
def test_each_large_piece_is_of_one_digit_whatever_the_order(boxes: list[tuple[int, int, int, int]], random):
    shuffled = random.sample(boxes, len(boxes))
    digits = []
    for some in (boxes, shuffled):
        array = np.array(some, np.int64)
        groups = sheet.in_rows(array, sheet.together(array))
        members = sorted(index for group in groups for index in group)
        assert members == sorted(set(members)) and groups
        large = np.flatnonzero(array[:, 3] >= sheet.TALL * sheet.usual_height(array))
        assert set(large.tolist()) <= set(members)
        digits.append(sorted(sorted(some[index] for index in group if index in large) for group in groups))
    assert digits[0] == digits[1]


PLOTS = [
    pytest.param((255, 255, 255), (0, 0, 0), False, id="light on dark"),
    pytest.param((253, 231, 37), (68, 1, 84), True, id="in colours, with axes"),
    pytest.param((0, 0, 0), (255, 255, 255), True, id="dark on light, with axes"),
]


@pytest.mark.parametrize(("ink_colour", "panel", "axes"), PLOTS)
def test_the_panels_of_a_plot_are_read_one_by_one(
    ink_colour: tuple[int, int, int], panel: tuple[int, int, int], axes: bool
):
    digits = [4, 7, 1, 5, 5, 4]
    picture = np.full((300, 420, 3), 255, np.uint8)
    for place, digit in enumerate(digits):
        top, left = 20 + 140 * (place // 3), 20 + 135 * (place % 3)
        picture[top : top + 110, left : left + 110] = draw(digit, (110, 110), (38, 22), 66, 9, ink_colour, panel)
        if axes:
            cv2.rectangle(picture, (left, top), (left + 109, top + 109), (0, 0, 0), 1)
    seen = found(picture)
    assert len(seen) == len(digits)
    assert all(same_as_alone(one.image, digit) for one, digit in zip(seen, digits, strict=True))
    assert seen[4].box[:2] == pytest.approx((155, 160), abs=3)


IN_A_ROW = [4, 7, 1, 5]


def in_a_row() -> np.ndarray:
    """A page of four digits, 100 pixels apart and within 20 to 420, 20 to 120: uint8 (140, 440, 3)."""
    return page([(digit, 52 + 100 * place, 40) for place, digit in enumerate(IN_A_ROW)], (440, 140), 60)


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("around", ["boxes that share their sides", "one frame", "rings", "discs"])
def test_what_surrounds_digits_is_none(around: str, width: int):
    picture = in_a_row()
    if around == "one frame":
        cv2.rectangle(picture, (10, 10), (430, 130), (90, 90, 90), width)
    for left in range(20, 420, 100):
        centre = (left + 50, 70)
        if around == "boxes that share their sides":
            cv2.rectangle(picture, (left, 20), (left + 100, 120), (90, 90, 90), width)
        elif around == "rings":
            cv2.circle(picture, centre, 47, (90, 90, 90), width, cv2.LINE_AA)
        elif around == "discs":
            disc = cv2.circle(np.zeros(picture.shape[:2], np.uint8), centre, 47, 1, -1) > 0
            picture[disc] = 255 - picture[disc]
    seen = found(picture)
    assert len(seen) == len(IN_A_ROW)
    assert all(same_as_alone(one.image, digit) for one, digit in zip(seen, IN_A_ROW, strict=True))
