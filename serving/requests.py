"""How does a request's body become images? Pictures (framed), JSON or npy (28×28 as they are)."""

import io
from typing import Any, NamedTuple

import numpy as np
from pydantic_core import from_json
from starlette.datastructures import UploadFile
from starlette.requests import Request

from pipeline import framing, ink
from pipeline.errors import BadInput
from pipeline.params import Serving
from pipeline.splits import SIDE
from serving.problems import Problem

JSON, NPY, FORM = "application/json", "application/x-npy", "multipart/form-data"
PICTURES = ("image/*", "application/octet-stream")
_GIVE = f"give uint8 grey levels 0 (paper) to 255 (ink), shape ({SIDE}, {SIDE}) or (N, {SIDE}, {SIDE})"


class Picture(NamedTuple):
    """A file whose pixels are still to be read."""

    name: str
    content: bytes


class Item(NamedTuple):
    """What is to be answered: an image uint8 (28, 28), or the reason why there is none."""

    source: str | None
    image: np.ndarray | None
    reason: str | None = None


async def read(request: Request, settings: Serving) -> np.ndarray | list[Picture]:
    """The images of a request, uint8 (N, 28, 28), or the pictures; :class:`Problem` 400, 413, 415 or 422."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    found: np.ndarray | list[Picture]
    if kind == FORM:
        found = await _form(request, settings)
    elif kind == JSON:
        found = from_json_text(await request.body())
    elif kind == NPY:
        found = from_npy(await request.body())
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
    async with request.form(max_files=settings.max_images + 1, max_fields=10) as form:
        uploads = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        return [Picture(upload.filename or "a picture", await upload.read()) for upload in uploads]


def framed(pictures: list[Picture], settings: Serving) -> list[Item]:
    """Each picture in MNIST's framing, or why it holds no single digit; :class:`Problem` 422 if it is no picture."""
    items = []
    for picture in pictures:
        try:
            drawn = framing.read_image(io.BytesIO(picture.content), picture.name, int(settings.max_megapixels * 1e6))
            items.append(Item(picture.name, framing.to_mnist(drawn)))
        except framing.NoSingleDigit as error:
            items.append(Item(picture.name, None, str(error)))
        except BadInput as error:
            raise Problem(422, str(error)) from None
    return items


def as_items(images: np.ndarray) -> list[Item]:
    """Images that are 28×28 already; those without ink hold no digit."""
    inked = images.max(axis=(1, 2)) >= ink.MIN_CONTRAST
    return [
        Item(None, image if dark else None, None if dark else framing.BLANK)
        for image, dark in zip(images, inked, strict=True)
    ]


def from_json_text(body: bytes) -> np.ndarray:
    """``{"images": [...]}`` → uint8 (N, 28, 28)."""
    try:
        content: Any = from_json(body)
    except ValueError as error:
        raise Problem(400, f"the body is not JSON: {_line(error)}") from None
    if not isinstance(content, dict) or set(content) != {"images"}:
        raise Problem(422, 'the body should be {"images": [...]} and nothing else')
    try:
        array = np.asarray(content["images"])
    except (ValueError, OverflowError):
        raise Problem(422, f"images: rows of different lengths: {_GIVE}") from None
    if array.dtype.kind not in "iu":
        raise Problem(422, f"images: hold something else than whole numbers: {_GIVE}")
    if array.size and not (array.min() >= 0 and array.max() <= 255):
        raise Problem(422, f"images: hold {array.min()} to {array.max()}: {_GIVE}")
    return _shaped(array.astype(np.uint8))


def from_npy(body: bytes) -> np.ndarray:
    """A .npy file → uint8 (N, 28, 28). Its header is believed only where it agrees with the body's length."""
    file = io.BytesIO(body)
    try:
        major, _ = np.lib.format.read_magic(file)
        header = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}[major]
        shape, fortran, dtype = header(file)
    except (ValueError, KeyError, EOFError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise Problem(400, f"the body is not a npy file: {_line(error)}") from None
    if dtype != np.uint8 or fortran:
        raise Problem(422, f"the npy file holds {dtype}{' in Fortran order' if fortran else ''}: {_GIVE}")
    values = np.frombuffer(body, np.uint8, offset=file.tell())
    if any(side < 0 for side in shape) or values.size != int(np.prod([int(side) for side in shape], dtype=object)):
        raise Problem(422, f"the npy file's header says {shape}, which its {values.size} bytes are not: {_GIVE}")
    return _shaped(values.reshape(shape))


def _shaped(array: np.ndarray) -> np.ndarray:
    if array.shape[-2:] != (SIDE, SIDE) or array.ndim not in (2, 3):
        raise Problem(422, f"images: have the shape {array.shape}: {_GIVE}")
    return array.reshape(-1, SIDE, SIDE)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
