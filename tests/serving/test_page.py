"""The page in a real browser: drawn on, dropped on, corrected, small and dark."""

import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import cv2
import drawing
import numpy as np
import photos
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from running import Service
from waiting import until
from workspace import Workspace

from pipeline.base.form import with_article
from serving import layout

CHROMIUM = shutil.which("chromium")
PATIENCE = 60_000.0  # milliseconds for what the page does; Playwright's own five seconds are few on a busy machine
FLAGS = ("--no-sandbox", "--disable-quic", "--disable-background-networking")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def service(demo: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    workspace = demo.copy(tmp_path_factory.mktemp("page") / "workspace")
    workspace.register_again("another")
    running = Service(workspace)
    running.ready()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, service: Service) -> Iterator[Page]:
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.goto(service.url)
    yield page
    assert faults == []
    page.close()


WAYS = ("/", "/models", "/monitor", "/batches", "/reports/champion/", "/compare?a=1&b=2", "/reports/7/")


def opened(page: Page, url: str) -> None:
    """A page, once the registry was asked: its process takes seconds to start."""
    until(lambda: (answer := page.goto(url)) is not None and answer.status != 503, f"an answer to {url}")


def draw(page: Page, digit: int) -> None:
    box = page.locator("#paper").bounding_box()
    assert box
    for stroke in photos.HANDS[digit][0]:
        points = [
            (box["x"] + (0.25 + 0.5 * x) * box["width"], box["y"] + (0.15 + 0.7 * y) * box["height"]) for x, y in stroke
        ]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=6)
        page.mouse.up()


@pytest.mark.parametrize("digit", range(10))
def test_a_drawn_digit_is_read(page: Page, digit: int):
    draw(page, digit)
    expect(page.locator("#digit")).to_have_text(str(digit))
    expect(page.locator("#words")).to_contain_text(f"It is {with_article(str(digit))}, ")
    expect(page.locator("#bars .first")).to_have_text(re.compile(rf"^{digit}"))
    expect(page.locator("#seen")).to_be_visible()
    seen = page.evaluate("[...document.querySelector('#small').getContext('2d').getImageData(0, 0, 28, 28).data]")
    assert sum(value > 128 for value in seen[::4]) > 20  # ink
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#digit")).to_have_text("?")
    expect(page.locator("#bars .first")).to_have_count(0)


def test_it_says_what_it_waits_for(page: Page):
    page.route("**/predict*", lambda route: None)  # the answer never comes
    paper = page.locator("#paper").bounding_box()
    assert paper
    page.mouse.move(paper["x"] + 60, paper["y"] + 60)
    page.mouse.down()
    page.mouse.move(paper["x"] + 60, paper["y"] + 200)
    expect(page.locator("#words")).to_have_text("Lift the pen, and it is read.")
    page.mouse.up()
    expect(page.locator("#words")).to_have_text("Reading…")


def test_what_is_no_digit_is_said_and_can_be_corrected(page: Page):
    answer = {"id": "x-0", "digit": None, "reason": "it looks like no digit", "confidence": 0.6}
    answer |= {"probabilities": [0.6, 0.4, *[0.0] * 8], "second": {"digit": 1, "confidence": 0.4}}
    content = {"model": "digits-cnn", "version": "1", "answers": [answer]}
    page.route("**/predict*", lambda route: route.fulfill(json=content))
    page.route("**/corrections", lambda route: route.fulfill(status=201, json={"id": "x-0", "digit": 1}))
    draw(page, 7)
    expect(page.locator("#words")).to_have_text("It looks like no digit.")
    expect(page.locator("#digit")).to_have_text("?")
    widths = page.evaluate(
        "[...document.querySelectorAll('#bars .bar:not(.challenger)')].map((bar) => bar.offsetWidth)"
    )
    assert widths[0] > widths[1] > 0 and not any(widths[2:])
    expect(page.locator("#doubted")).to_have_text("None of these is believed:")
    assert float(page.evaluate("getComputedStyle(document.querySelector('#bars .bar')).opacity")) < 0.5
    expect(page.locator("#ask")).to_have_text("Is it one of them? Tap which.")
    page.get_by_role("button", name=re.compile("Say that it is a 1")).click()
    expect(page.locator("#words")).to_have_text("Thank you: kept as a 1. It can be trained on.")
    expect(page.locator("#digit")).to_have_text("1")


def test_a_second_finger_draws_nothing(page: Page):
    draw_by = """(points) => points.forEach(([kind, id, x, y]) => {
        const box = paper.getBoundingClientRect();
        paper.dispatchEvent(new PointerEvent(kind, { pointerId: id, button: 0, clientX: box.left + x * box.width,
            clientY: box.top + y * box.height, bubbles: true })); })"""
    page.evaluate("paper.setPointerCapture = () => {}")  # there is no such finger to capture
    page.evaluate(draw_by, [["pointerdown", 1, 0.5, 0.2], ["pointermove", 1, 0.5, 0.4]])
    dark = "[...ink.getImageData(0, 0, 560, 560).data].filter((value, index) => index % 4 === 0 && value < 99).length"
    before = page.evaluate(dark)
    assert before > 1000
    page.evaluate(draw_by, [["pointerdown", 2, 0.1, 0.9], ["pointermove", 2, 0.9, 0.9], ["pointerup", 2, 0.9, 0.9]])
    assert page.evaluate(dark) == before
    page.evaluate(draw_by, [["pointermove", 1, 0.5, 0.8], ["pointerup", 1, 0.5, 0.8]])
    expect(page.locator("#digit")).to_have_text("1")


def test_the_card_says_who_answers(page: Page):
    expect(page.locator("#card")).to_contain_text("digits-cnn, version 1")
    expect(page.locator("#card")).to_contain_text(re.compile(r"\d\d\.\d\d%"))


def test_a_dropped_and_a_chosen_picture_are_read(page: Page, tmp_path: Path):
    path = tmp_path / "three.png"
    path.write_bytes(dict(photos.pictures("photo", 10, seed=3))[3])
    page.locator("#file").set_input_files(path)
    expect(page.locator("#digit")).to_have_text("3")
    page.get_by_role("button", name="Clear").click()
    content = list(dict(photos.pictures("mouse", 10, seed=3))[0])
    transfer = page.evaluate_handle(
        """(bytes) => { const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(bytes)], 'zero.png', { type: 'image/png' })); return transfer; }""",
        content,
    )
    page.dispatch_event("#paper", "drop", {"dataTransfer": transfer})
    expect(page.locator("#digit")).to_have_text("0")


def test_what_is_no_picture_is_said(browser: Browser, service: Service, tmp_path: Path):
    page = browser.new_page()
    page.goto(service.url)
    path = tmp_path / "letter.png"
    path.write_text("dear all")
    page.locator("#file").set_input_files(path)
    expect(page.locator("#words")).to_contain_text("is not a picture")
    path = tmp_path / "notes.txt"
    path.write_text("dear all")
    page.locator("#file").set_input_files(path)
    expect(page.locator("#words")).to_contain_text("notes.txt is no picture: choose a PNG")
    page.close()


def test_a_correction_is_one_tap_and_is_kept(page: Page, service: Service):
    draw(page, 7)
    expect(page.locator("#digit")).to_have_text("7")
    page.get_by_role("button", name=re.compile("Say that it is a 2")).click()
    expect(page.locator("#words")).to_contain_text("kept as a 2, not a 7")
    expect(page.locator("#digit")).to_have_text("2")
    with sqlite3.connect(service.workspace.folder / "data/live.db") as connection:
        until(
            lambda: ("2", 7) in connection.execute("SELECT class, answer FROM corrections").fetchall(), "the correction"
        )


def test_that_it_is_no_digit_is_one_tap_and_the_last_word_counts(page: Page, service: Service):
    draw(page, 4)
    expect(page.locator("#digit")).to_have_text("4")
    expect(page.locator("#doubted")).to_be_hidden()
    page.get_by_role("button", name=re.compile("Say that it is a 2")).click()
    expect(page.locator("#digit")).to_have_text("2")
    page.get_by_role("button", name="No digit").click()
    expect(page.locator("#words")).to_have_text("Thank you: kept as no digit. It is not trained on.")
    expect(page.locator("#digit")).to_have_text("?")
    expect(page.locator("#bars .kept")).to_have_count(0)
    with sqlite3.connect(service.workspace.folder / "data/live.db") as connection:
        found = connection.execute("SELECT class FROM corrections WHERE answer = 4").fetchall()
        assert found == [("",)]


def test_it_can_be_drawn_on_by_keyboard(page: Page):
    page.locator("#paper").focus()
    page.keyboard.press("Space")
    for _ in range(12):
        page.keyboard.press("ArrowDown")
    expect(page.locator("#words")).to_contain_text("Pen down")
    expect(page.locator("#pen.down")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.locator("#digit")).to_have_text("1")
    page.keyboard.press("Escape")
    expect(page.locator("#digit")).to_have_text("?")


def test_the_api_s_page_lets_try_it(page: Page, service: Service):
    page.goto(f"{service.url}/docs")
    page.locator(".opblock-summary").filter(has_text="/health").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".live-responses-table")).to_contain_text("digits-cnn")


def test_a_report_shows_all_it_has_and_can_send_nothing(browser: Browser, service: Service):
    """Its scripts and styles work, and are of no origin: what came into it with a label cannot correct answers."""
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(f"{service.url}/reports/index.html")
    expect(page.locator("body")).to_contain_text("on test")
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    assert page.evaluate("self.origin") == "null"
    for send in ("fetch('/corrections', { method: 'POST' })", "fetch('/model')", "fetch('http://127.0.0.1:9')"):
        assert page.evaluate(f"{send}.then(() => 'sent').catch(() => 'blocked')") == "blocked"
    page.goto(f"{service.url}/reports/drift.html")
    expect(page.locator("svg").first).to_be_visible()
    assert faults == []
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_light_and_dark(browser: Browser, service: Service, scheme: str):
    context = browser.new_context(
        viewport={"width": 360, "height": 740}, color_scheme=scheme, has_touch=True, device_scale_factor=2
    )
    page = context.new_page()
    for path in WAYS:
        opened(page, service.url + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.goto(service.url)
    box = page.locator("#paper").bounding_box()
    assert box and box["width"] > 280
    page.touchscreen.tap(box["x"] + 150, box["y"] + 150)
    expect(page.locator("#hint")).to_be_hidden()
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (light == "rgb(246, 245, 242)") is (scheme == "light")
    context.close()


def test_several_digits_are_framed_and_all_are_read(page: Page, tmp_path: Path):
    picture = np.concatenate([drawing.draw(4), drawing.draw(1), drawing.draw(7)], axis=1)
    cv2.imwrite(str(tmp_path / "417.png"), picture)
    page.set_input_files("#file", str(tmp_path / "417.png"))
    expect(page.locator(".found")).to_have_count(3)
    expect(page.locator("#words")).to_have_text("It shows 3 digits.")
    box, sheet = (page.locator(name).first.bounding_box() for name in (".found", "#sheet"))
    assert box and sheet and box["x"] > sheet["x"] and box["x"] + box["width"] < sheet["x"] + sheet["width"] / 3
    page.click("#clear")
    expect(page.locator(".found")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_that_axe_finds_keeps_anybody_out(browser: Browser, service: Service, scheme: str):
    """The checks of axe-core, by https://www.deque.com/axe: contrast, names, order, tables, what a keyboard reaches."""
    axe = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python brings axe-core: install it")
    script = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    context = browser.new_context(color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    for path in WAYS:
        opened(page, service.url + path)
        page.evaluate(script)
        found = page.evaluate("axe.run()")["violations"]
        assert [(each["id"], each["nodes"][0]["html"]) for each in found] == [], path
    context.close()


def test_a_keyboard_skips_to_the_page_and_reaches_every_other_page(browser: Browser, service: Service):
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    for path in ("/models", "/monitor", "/batches"):
        opened(page, service.url + path)
        page.keyboard.press("Tab")
        skip = page.get_by_role("link", name="Skip to the page")
        expect(skip).to_be_focused()
        expect(skip).to_be_in_viewport()
        page.keyboard.press("Enter")
        expect(page.locator("#main")).to_be_focused()
        page.goto(service.url + path)
        page.keyboard.press("Tab")
        for _, name in layout.PAGES:
            page.keyboard.press("Tab")
            link = page.get_by_role("navigation").get_by_role("link", name=name, exact=True)
            expect(link).to_be_focused()
            assert link.evaluate("(link) => getComputedStyle(link).outlineStyle") == "solid"
        expect(page.get_by_role("navigation").locator("[aria-current=page]")).to_have_attribute("href", path)
    page.close()


def test_from_the_models_one_comes_to_a_report_and_back_though_it_is_in_a_sandbox(browser: Browser, service: Service):
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    opened(page, f"{service.url}/models")
    page.get_by_role("link", name="Report of version 1").click()
    expect(page.locator(".digits-frame")).to_contain_text("digits-cnn version 1")
    assert page.evaluate("self.origin") == "null"
    page.get_by_role("link", name="Calibration", exact=True).click()
    assert page.url.endswith("#calibration")
    page.get_by_role("link", name="Models").click()
    expect(page.get_by_role("heading", name="Models")).to_be_visible()
    page.close()
