"""What is answered to POST /predict? Pictures are read by a few processes, images are computed in batches.

It is asked thousands of times a second, so what most requests send, images or pictures and no query, goes to it at once
(:class:`Straight`); requests with a query come by way of FastAPI, which reads that.
"""

import asyncio
import base64
import secrets
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline.base import clock
from pipeline.base.errors import BadInput
from pipeline.base.form import TEN, Form
from pipeline.learning import inference
from pipeline.learning.inference import Answers
from pipeline.monitoring.live import Seen
from serving import problems, requests, telemetry
from serving.clients import client_of
from serving.predictor import Busy, Served, most_at_once
from serving.problems import Problem
from serving.recorder import Recorder, identities
from serving.requests import Item

DECIMALS = 6  # of a probability
OBSERVED = 16  # images of a request whose confidence the metrics take in: of a large one these stand for the rest


class Asked(NamedTuple):
    """What the query asks for beyond the answers."""

    image: bool = False
    """each image as the network saw it"""
    challenger: bool = False
    """what the challenger answers too"""
    every: bool = False
    """each digit of a picture"""


PLAIN = Asked()


class Straight:
    """An ASGI layer that answers POST /predict without a query itself, and hands on everything else."""

    path = requests.PATH  # as a route's, by which requests are counted

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or scope["path"] != requests.PATH
            or scope["method"] != "POST"
            or scope["query_string"]
        ):
            await self.app(scope, receive, send)
            return
        scope["route"] = self
        request = Request(scope, receive)
        try:
            response = await predict(request, PLAIN)
        except HTTPException as error:
            response = problems.of(request, error)
        await response(scope, receive, send)


async def predict(request: Request, asked: Asked) -> Response:
    """The answers to a request; :class:`Problem` 400, 413, 415, 422 or 503."""
    state = request.app.state
    client = client_of(request.client.host if request.client else "")
    form = state.predictor.form
    found = await requests.read(request, state.settings, form, partial(state.readers.parse, client=client, form=form))
    if asked.every and not form.inked:
        raise Problem(422, "all=true finds digits on their paper, and this model knows other pictures: leave it out")
    if len(found) > (most := most_at_once(form)):
        raise Problem(413, f"{len(found)} images of {form.pixels} are more than {most}: send fewer at once")
    if isinstance(found, np.ndarray):
        items = requests.as_items(found, form)
    else:
        items = await state.readers.frame(found, client, form, asked.every)
    read = [index for index, item in enumerate(items) if item.image is not None]
    images = found if isinstance(found, np.ndarray) and len(read) == len(found) else _stacked(items, form)
    try:
        served, answers = await state.batches.answer(images)
    except Busy:
        raise Problem(503, problems.BUSY, **{"retry-after": "1"}) from None
    except BadInput as error:
        raise Problem(503, str(error), **{"retry-after": "10"}) from None
    ids = identities(secrets.token_hex(8), len(items))
    seen = [ids[index] for index in read]
    _remember(state.recorder, state.predictor.name, served, seen, images, answers.probabilities)
    content: dict[str, Any] = {
        "model": state.predictor.name,
        "version": served.number,
        "answers": _answers(items, ids, read, answers, asked.image, served.form),
    }
    if len(read) < len(items):
        telemetry.ANSWERS.labels(served.number, "none").inc(len(items) - len(read))
    if asked.challenger and (rival := state.predictor.challenger) and read:
        content["challenger"] = {"version": rival.number, "probabilities": await _also(rival, images, read, len(items))}
    return Response(orjson.dumps(content), media_type="application/json")


def _stacked(items: list[Item], form: Form) -> np.ndarray:
    images = [item.image for item in items if item.image is not None]
    return np.stack(images) if images else np.empty((0, *form.shape), np.uint8)


async def _also(rival: Served, images: np.ndarray, read: list[int], count: int) -> list[list[float] | None]:
    """What the challenger answers: a row of probabilities an item, None for those without an image."""
    said = _rounded(await asyncio.to_thread(inference.run, rival.model, images)).tolist()
    rows = dict(zip(read, said, strict=True))
    return [rows.get(index) for index in range(count)]


def _rounded(probabilities: np.ndarray) -> np.ndarray:
    return np.round(probabilities.astype(float), DECIMALS)


def _answers(
    items: list[Item], ids: list[str], read: list[int], answers: Answers, with_image: bool, form: Form
) -> list[dict[str, Any]]:
    """An answer an item; those of the items that were ``read`` are the model's, in that order."""
    probabilities = _rounded(answers.probabilities)
    likeliest = probabilities.argsort(axis=1)[:, -2:].tolist()
    rows, certainties, row = probabilities.tolist(), answers.certainty.tolist(), 0
    said: list[dict[str, Any]] = []
    for identity, item in zip(ids, items, strict=True):
        answer: dict[str, Any] = {"id": identity, "source": item.source, **named(None, form), "reason": item.reason}
        if item.image is not None:
            (second, first), values = likeliest[row], rows[row]
            reason = inference.doubt(probabilities[row], certainties[row], form)
            answer |= {
                **named(None if reason else first, form),
                "reason": reason,
                "confidence": values[first],
                "second": {**named(second, form), "confidence": values[second]},
                "probabilities": values,
            }
            row += 1
            if with_image:
                answer["image"] = base64.b64encode(item.image.tobytes()).decode()
        if item.box is not None:
            answer["box"] = dict(zip(("left", "top", "width", "height"), item.box, strict=True))
        said.append(answer)
    return said


def named(label: int | None, form: Form) -> dict[str, Any]:
    """A class by index and name, and of the ten digits as a number."""
    if form.classes == TEN:
        return {"digit": label}
    return {"index": label, "label": None if label is None else form.classes[label]}


def _remember(
    recorder: Recorder, name: str, served: Served, ids: list[str], images: np.ndarray, probabilities: np.ndarray
) -> None:
    if not ids:
        return
    labels, confidences = probabilities.argmax(axis=1), probabilities.max(axis=1)
    recorder.put(Seen(ids, clock.now(), name, served.number, images, labels, confidences))
    for label, count in enumerate(np.bincount(labels).tolist()):
        if count:
            telemetry.child(telemetry.ANSWERS, served.number, served.form.classes[label]).inc(count)
    for confidence in confidences[:OBSERVED].tolist():
        telemetry.CONFIDENCE.observe(confidence)
