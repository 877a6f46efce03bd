from io import BytesIO

import cv2
import numpy as np
import photos
import pytest
from drawing import INK, difference, draw
from PIL import Image

from pipeline.digits import framing, ink


def decoded(content: bytes) -> np.ndarray:
    pixels = np.asarray(Image.open(BytesIO(content)).convert("RGB"), np.float32)
    factor = min(1.0, framing.WORKING_SIDE / max(pixels.shape))
    return cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("kind", photos.KINDS)
def test_one_digit_is_found_however_it_was_drawn(kind: str):
    for digit, content in photos.pictures(kind, 10, seed=5):
        found, count = ink.find(decoded(content))
        assert count == 1, (kind, digit)
        assert 0 < (found > 128).mean() < 0.35  # strokes, neither a shadow nor the paper's lines


def test_shadows_and_lines_are_no_ink():
    """The ink on a photo covers what was drawn, and hardly anything else."""
    rng = np.random.default_rng(2)
    for digit in range(10):
        sheet = photos.drawn(digit, np.random.default_rng(digit), 640, 0.5, 0.06)
        paper = np.full((640, 640, 3), 235.0)
        for place in range(20, 640, 40):
            cv2.line(paper, (0, place), (640, place + 20), (160, 180, 210), 2, cv2.LINE_AA)
        shadow = np.where(np.arange(640) > 300, 0.65, 1.0)[None, :, None]
        pixels = photos.coloured(sheet, np.array([40.0, 50.0, 110.0]), paper) * cv2.GaussianBlur(shadow[0], (1, 9), 3)
        pixels = cv2.GaussianBlur(pixels, (0, 0), 1) + rng.normal(0, 3, (640, 640, 3))
        found, count = ink.find(pixels.clip(0, 255).astype(np.float32))
        assert count == 1
        drawn, seen = sheet > 0.5, found > 128
        assert (drawn & seen).sum() / (drawn | seen).sum() > 0.8, digit


@pytest.mark.parametrize(("one", "other"), [(1, 7), (4, 4), (5, 1), (7, 5)])
@pytest.mark.parametrize("place", [(200, 40), (60, 180)])
def test_two_digits_are_said_to_be_two(one: int, other: int, place: tuple[int, int]):
    page = np.minimum(draw(one, size=(400, 400), at=(60, 40)), draw(other, size=(400, 400), at=place))
    assert ink.find(page.astype(np.float32))[1] == 2


def test_a_digit_of_two_strokes_is_one():
    assert ink.find(draw(5).astype(np.float32))[1] == 1  # its bar touches nothing


@pytest.mark.parametrize("grain", [0.0, 3.0, 8.0])
def test_empty_paper_holds_no_digit(grain: float):
    rng = np.random.default_rng(0)
    light = np.linspace(240, 170, 500)[None, :, None]
    page = (light + rng.normal(0, 1, (500, 500, 3)) * grain).clip(0, 255).astype(np.float32)
    assert ink.find(page)[1] == 0


def test_a_page_of_text_is_no_digit():
    page = np.full((600, 600, 3), 255, np.uint8)
    for line in range(40, 600, 40):
        cv2.putText(page, "four and twenty blackbirds", (20, line), cv2.FONT_HERSHEY_SIMPLEX, 1, (0, 0, 0), 2)
    assert ink.find(page.astype(np.float32))[1] == 0


def overlap(found: np.ndarray, drawn: np.ndarray) -> float:
    """The share of the places that hold ink in either that hold it in both."""
    seen = found > 128
    return float((drawn & seen).sum() / (drawn | seen).sum())


DIGITS = pytest.mark.parametrize("digit", [1, 4, 5, 7])


@DIGITS
def test_the_middle_of_a_gap_parts_two_levels(digit: int):
    """Thin, light and without soft edges on dark paper: what the fitted paper is off by is no ink."""
    page = np.zeros((280, 280), np.uint8)
    stencil = draw(digit, (280, 280), height=180, width=3)[:, :, 0] < 128
    page[stencil] = 90
    page += np.tile(np.array([[40, 41], [41, 40]], np.uint8), (140, 140))
    found, count = ink.find(cv2.cvtColor(page, cv2.COLOR_GRAY2RGB).astype(np.float32))
    assert count == 1 and overlap(found, stencil) > 0.9


@DIGITS
@pytest.mark.parametrize("width", [14, 40])
@pytest.mark.parametrize("colours", [((0, 0, 0), (255, 255, 255)), ((240, 240, 250), (20, 40, 60))])
def test_a_digit_that_is_cut_out_along_its_ink_is_whole(digit: int, width: int, colours: tuple):
    pen, paper = colours
    page = cv2.GaussianBlur(draw(digit, (320, 320), height=200, width=width, ink=pen, paper=paper), (0, 0), 3)
    drawn = draw(digit, (320, 320), height=200, width=width)[:, :, 0] < 128
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    found, count = ink.find(page[box].astype(np.float32))
    assert count == 1 and overlap(found, drawn[box]) > 0.85


@DIGITS
@pytest.mark.parametrize("inset", [0, 12])
@pytest.mark.parametrize("width", [1, 8])
def test_a_frame_is_no_ink(digit: int, inset: int, width: int):
    page = draw(digit)
    alone, _ = ink.find(page.astype(np.float32))
    cv2.rectangle(page, (inset, inset), (199 - inset, 199 - inset), INK, width)
    found, count = ink.find(page.astype(np.float32))
    assert count == 1
    assert difference(framing.to_mnist(found), framing.to_mnist(alone)) < 5


@DIGITS
@pytest.mark.parametrize("gap", [20, 41])
@pytest.mark.parametrize("squared", [False, True])
def test_ruled_lines_on_even_paper_are_no_ink(digit: int, gap: int, squared: bool):
    page = np.full((200, 200, 3), 255, np.uint8)
    for place in range(10, 200, gap):
        cv2.line(page, (0, place), (199, place), (150, 165, 190), 1)
        if squared:
            cv2.line(page, (place, 0), (place, 199), (150, 165, 190), 1)
    drawn = draw(digit)
    found, count = ink.find(np.minimum(page, drawn).astype(np.float32))
    assert count == 1 and overlap(found, drawn[:, :, 0] < 128) > 0.9


def test_a_stroke_that_runs_off_the_picture_is_no_ruled_line():
    page = draw(7, height=200, at=(30, 0), width=3)
    found, count = ink.find(page.astype(np.float32))
    assert count == 1 and overlap(found, page[:, :, 0] < 128) > 0.9


def on_a_desk(tilt: float) -> np.ndarray:
    """A sheet with a 4 that lies turned on a darker, grainy desk: float32 (400, 400, 3)."""
    rng = np.random.default_rng(0)
    desk = np.array([60.0, 90.0, 130.0]) + rng.normal(0, 5, (400, 400, 1))
    sheet, there = np.zeros((400, 400, 3)), np.zeros((400, 400))
    sheet[80:320, 80:320] = draw(4, size=(240, 240), at=(70, 50), height=140, width=14) * 0.9
    there[80:320, 80:320] = 1
    turn = cv2.getRotationMatrix2D((200, 200), tilt, 1)
    sheet, there = (cv2.warpAffine(one, turn, (400, 400)) for one in (sheet, there))
    return (desk * (1 - there[..., None]) + sheet).astype(np.float32)


@pytest.mark.parametrize("tilt", [0.0, 5.0, -14.0])
def test_a_sheet_on_a_desk_is_read_upright(tilt: float):
    found, count = ink.find(on_a_desk(tilt))
    alone, _ = ink.find(draw(4).astype(np.float32))
    assert count == 1
    assert difference(framing.to_mnist(found), framing.to_mnist(alone)) < 12


@pytest.mark.parametrize("side", ["left", "top"])
def test_what_lies_beside_a_sheet_is_no_digit(side: str):
    page = draw(4, size=(400, 400), at=(150, 130), height=150, width=15).astype(np.float32)
    beside = page[:, :80] if side == "left" else page[:80]
    beside[:] = np.random.default_rng(0).normal(90, 5, (*beside.shape[:2], 1))
    found, count = ink.find(page)
    alone, _ = ink.find(draw(4).astype(np.float32))
    assert count == 1
    assert difference(framing.to_mnist(found), framing.to_mnist(alone)) < 12


@pytest.mark.parametrize("digit", [1, 4, 5, 7])
def test_a_ring_around_a_digit_is_none(digit: int):
    page = draw(digit, size=(300, 300), at=(110, 90))
    alone, _ = ink.find(page.astype(np.float32))
    cv2.circle(page, (150, 150), 120, INK, 5, cv2.LINE_AA)
    found, count = ink.find(page.astype(np.float32))
    assert count == 1 and np.allclose(found, alone, atol=2)


def test_the_outline_of_a_hollow_digit_is_no_ring():
    edge = cv2.morphologyEx(255 - draw(4, width=30)[:, :, 0], cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    hollow = np.repeat(255 - edge[:, :, None], 3, axis=2).astype(np.float32)
    found, count = ink.find(hollow)
    assert count == 1 and (found[edge > 128] > 128).mean() > 0.9


def plotted(digit: int, ink: tuple[int, int, int], panel: tuple[int, int, int], axes: bool) -> np.ndarray:
    """A digit that is as tall as the panel of 300 pixels that it lies on, on a white page: float32 (400, 400, 3)."""
    page = np.full((400, 400, 3), 255, np.uint8)
    page[50:350, 50:350] = draw(digit, (300, 300), (90, 1), 297, 30, ink, panel)
    if axes:
        cv2.rectangle(page, (50, 50), (349, 349), (0, 0, 0), 1)
        for at in range(80, 350, 60):
            cv2.line(page, (at, 350), (at, 354), (0, 0, 0), 1)
    return page.astype(np.float32)


@pytest.mark.parametrize("digit", [4, 5, 7])
@pytest.mark.parametrize(
    ("ink_colour", "panel", "axes"),
    [((255, 255, 255), (0, 0, 0), False), ((253, 231, 37), (68, 1, 84), True), ((0, 0, 0), (255, 255, 255), True)],
)
def test_a_digit_that_reaches_the_edge_of_its_panel_is_read(
    digit: int, ink_colour: tuple[int, int, int], panel: tuple[int, int, int], axes: bool
):
    found, count = ink.find(plotted(digit, ink_colour, panel, axes))
    alone, _ = ink.find(draw(digit, (400, 400), (140, 51), 297, 30).astype(np.float32))
    assert count == 1
    assert difference(framing.to_mnist(framing.thinned(found)), framing.to_mnist(framing.thinned(alone))) < 17


SEGMENTS = {0: "abcdef", 1: "bc", 2: "abged", 3: "abgcd", 4: "fgbc", 5: "afgcd", 6: "afgedc", 8: "abcdefg", 9: "abcdfg"}
"""of a digital clock, from the top clockwise, the middle last; its 7 has no corners that a panel could have"""
PLACES = {"a": (0, 0, 1, 0), "b": (1, 0, 1, 1), "c": (1, 1, 1, 2), "d": (0, 2, 1, 2), "e": (0, 1, 0, 2)}
PLACES |= {"f": (0, 0, 0, 1), "g": (0, 1, 1, 1)}


@pytest.mark.parametrize("digit", SEGMENTS)
@pytest.mark.parametrize("width", [9, 25, 45])
def test_a_digit_with_corners_is_no_panel(digit: int, width: int):
    page = np.full((400, 300), 255, np.uint8)
    for segment in SEGMENTS[digit]:
        x0, y0, x1, y1 = (
            90 + 120 * place if n % 2 == 0 else 80 + 120 * place for n, place in enumerate(PLACES[segment])
        )
        half = width // 2
        cv2.rectangle(page, (x0 - half, y0 - half), (x1 + half, y1 + half), 0, -1)
    found, count = ink.find(np.repeat(page[:, :, None], 3, axis=2).astype(np.float32))
    assert count == 1
    assert ((found > 128) == (page < 128)).all()


@DIGITS
@pytest.mark.parametrize(("ink_colour", "disc"), [((255, 255, 255), (200, 30, 30)), ((0, 0, 0), (210, 210, 210))])
def test_a_digit_on_a_disc_is_no_zero(digit: int, ink_colour: tuple[int, int, int], disc: tuple[int, int, int]):
    drawn = draw(digit, (200, 200), (75, 55), 90, 10, ink_colour, disc)
    within = cv2.circle(np.zeros((200, 200), np.uint8), (100, 100), 80, 1, -1) > 0
    found, count = ink.find(np.where(within[:, :, None], drawn, 255).astype(np.float32))
    alone, _ = ink.find(draw(digit, (200, 200), (75, 55), 90, 10).astype(np.float32))
    assert count == 1
    assert difference(framing.to_mnist(framing.thinned(found)), framing.to_mnist(framing.thinned(alone))) < 10


@pytest.mark.parametrize("pen", [12, 30, 50, 64])
def test_a_round_zero_is_no_disc(pen: int):
    page = cv2.circle(np.full((200, 200), 255, np.uint8), (100, 100), 80 - pen // 2, 0, pen, cv2.LINE_AA)
    found, count = ink.find(np.repeat(page[:, :, None], 3, axis=2).astype(np.float32))
    assert count == 1 and found.shape == page.shape and ((found > 128) == (page < 128)).mean() > 0.99
