"""How does a request's body become images? Pictures (framed), JSON or npy (of the model's shape, as they are)."""

import io
import math
from collections.abc import Awaitable, Callable
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from pydantic_core import from_json
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from pipeline.base.errors import brief
from pipeline.base.form import DIGITS, Form
from pipeline.base.params import Serving
from pipeline.digits import framing, paper
from serving.problems import Problem

PATH = "/predict"  # where bodies may be large
JSON, NPY, FORM = "application/json", "application/x-npy", "multipart/form-data"
LARGE_JSON = 64_000  # bytes: a larger body is parsed elsewhere, as other requests would have to wait meanwhile
CHARSETS = ("utf-8", "utf8", "us-ascii", "iso-8859-1")  # of a form's names: others make of them what is no text
MOST_NAMED = 200  # characters of a picture's file name
PICTURES = ("image/*", "application/octet-stream")


class Picture(NamedTuple):
    """A file whose pixels are still to be read."""

    name: str
    content: bytes


class Item(NamedTuple):
    """What is to be answered: an image uint8 (*shape,), or the reason why there is none."""

    source: str | None
    image: np.ndarray | None
    reason: str | None = None
    box: tuple[int, ...] | None = None
    """of one of several digits: left, top, width and height in the picture's own pixels"""


async def read(
    request: Request, settings: Serving, form: Form, parse_large: Callable[[bytes], Awaitable[np.ndarray]]
) -> np.ndarray | list[Picture]:
    """The images of a request, uint8 (N, *shape), or the pictures; :class:`Problem` 400, 413, 415, 422 or 503."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    coding = request.headers.get("content-encoding", "identity").lower()
    if coding != "identity":
        raise Problem(415, f"content encoding {coding[:80]!r} is not read: send the content as it is")
    found: np.ndarray | list[Picture]
    if kind == FORM:
        found = await _form(request, settings)
    elif kind == JSON:
        body = await request.body()
        found = await parse_large(body) if len(body) > LARGE_JSON else from_json_text(body, settings.max_images, form)
    elif kind == NPY:
        found = from_npy(await request.body(), form)
    elif kind.startswith("image/") or kind == PICTURES[1]:
        found = [Picture("the picture", await request.body())]
    else:
        accepted = ", ".join((*PICTURES, FORM, JSON, NPY))
        raise Problem(415, f"content type {kind[:80]!r} is not read: send one of {accepted}", accept=accepted)
    if not len(found):
        raise Problem(422, "the request holds no image: send at least one")
    if len(found) > settings.max_images:
        raise Problem(413, f"{len(found)} images are more than {settings.max_images}: send fewer at once")
    return found


async def _form(request: Request, settings: Serving) -> list[Picture]:
    _, options = parse_options_header(request.headers["content-type"])
    charset = options.get(b"charset", b"utf-8").decode("latin-1")
    if charset.lower() not in CHARSETS:
        raise Problem(415, f"the form's charset {charset[:80]!r} is not read: send UTF-8")
    try:
        async with request.form(max_files=settings.max_images, max_fields=10) as form:
            uploads = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
            return [Picture(_named(upload.filename), await upload.read()) for upload in uploads]
    except Problem:
        raise
    except HTTPException as error:
        raise Problem(413 if "Too many files" in error.detail else 400, f"the form: {error.detail}") from None


def _named(file_name: str | None) -> str:
    return (file_name or "a picture")[:MOST_NAMED]


def _give(form: Form) -> str:
    """What is wanted instead of something else."""
    shape = ", ".join(map(str, form.shape))
    levels = "grey levels 0 (paper) to 255 (ink)" if form.inked else "levels 0 to 255"
    return f"give uint8 {levels}, shape ({shape}) or (N, {shape})"


def as_items(images: np.ndarray, form: Form = DIGITS) -> list[Item]:
    """Images that have the model's shape already; of digits, those without ink hold none."""
    if not form.inked:
        return [Item(None, image) for image in images]
    inked = images.max(axis=(1, 2)) >= paper.MIN_CONTRAST
    return [
        Item(None, image if dark else None, None if dark else framing.BLANK)
        for image, dark in zip(images, inked, strict=True)
    ]


def from_json_text(body: bytes, max_images: int, form: Form = DIGITS) -> np.ndarray:
    """``{"images": [...]}`` → uint8 (N, *shape)."""
    most, lists = max_images * math.prod(form.shape), max_images * (1 + math.prod(form.shape[:-1]) + form.shape[0])
    if body.count(b",") > most or body.count(b'"') > most:
        raise Problem(413, f"the body holds more than {max_images} images: send fewer at once")
    if body.count(b"[") + body.count(b"{") > lists + 2:  # two bytes are a hundred, as an object
        raise Problem(400, f"the body is not JSON of at most {max_images} images: it holds more lists")
    try:
        content: Any = from_json(body)
    except ValueError as error:
        raise Problem(400, f"the body is not JSON: {brief(error)}") from None
    if not isinstance(content, dict) or set(content) != {"images"}:
        raise Problem(422, 'the body should be {"images": [...]} and nothing else')
    return _grid(content["images"], form)


def _grid(images: Any, form: Form) -> np.ndarray:
    """Lists of lists of levels → uint8 (N, *shape). NumPy would make of a long string an array of such strings."""
    rows, columns, *_ = form.shape
    try:
        deepest = images[0][0] if len(form.shape) == 2 else images[0][0][0]
        many = images if isinstance(deepest, list) else [images]
    except (TypeError, LookupError):
        raise Problem(422, f"images: is not a list of lists: {_give(form)}") from None
    if not all(_is(image, form.shape) for image in many):
        raise Problem(422, f"images: not all have {rows} rows of {columns}: {_give(form)}")
    lists = [row for image in many for row in image]
    if len(form.shape) == 3:
        lists = [pixel for row in lists for pixel in row]
    try:
        values = bytes(chain.from_iterable(lists))
    except (TypeError, ValueError):
        raise Problem(422, f"images: hold something else than whole numbers of 0 to 255: {_give(form)}") from None
    return np.frombuffer(values, np.uint8).reshape(-1, *form.shape)


def _is(image: Any, shape: tuple[int, ...]) -> bool:
    """Whether these are lists within lists of that shape."""
    if not isinstance(image, list) or len(image) != shape[0]:
        return False
    return len(shape) == 1 or all(_is(part, shape[1:]) for part in image)


def from_npy(body: bytes, form: Form = DIGITS) -> np.ndarray:
    """A .npy file → uint8 (N, *shape). Its header is believed only where it agrees with the body's length."""
    try:
        shape, fortran, dtype, start = _npy_header(_before_values(body))
    except Exception as error:  # NumPy evaluates the header as Python, and what that may raise is not ours to list
        raise Problem(400, f"the body is not a npy file: {brief(error)}") from None
    if dtype != np.uint8 or fortran:
        raise Problem(422, f"the npy file holds {dtype}{' in Fortran order' if fortran else ''}: {_give(form)}")
    sides = len(form.shape)
    if len(shape) not in (sides, sides + 1) or shape[-sides:] != form.shape or min(shape) < 0:
        raise Problem(422, f"the npy file holds an array of the shape {shape}: {_give(form)}")
    values = np.frombuffer(body, np.uint8, offset=start)
    if values.size != math.prod(shape):
        raise Problem(422, f"the npy file's header says {shape}, which its {values.size} bytes are not: {_give(form)}")
    return values.reshape(-1, *form.shape)


def _before_values(body: bytes) -> bytes:
    """A npy file's header, as far as it is there."""
    size = 2 if body[6:7] == b"\x01" else 4
    return body[: 8 + size + int.from_bytes(body[8 : 8 + size], "little")]


@lru_cache(64)  # what is refused is not kept, and that is all above 10,000 bytes
def _npy_header(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, whether in Fortran order, type of the values, and where they begin. Most clients send the same again and
    again, and NumPy compiles it each time."""
    file = io.BytesIO(head)
    major, _ = np.lib.format.read_magic(file)
    header = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}[major]
    shape, fortran, dtype = header(file)
    return shape, fortran, dtype, file.tell()
