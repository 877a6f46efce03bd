"""The champion over HTTP: predictions, corrections, what answers and how it fares; and the page to draw on.

What a request for predictions waits for is in :mod:`serving.predictions`; the store, the challenger in shadow and the
registry have threads of their own.
"""

import asyncio
import gc
import logging
import os
import resource
import secrets
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any

import uvicorn
from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

from pipeline.base import places
from pipeline.base.errors import BadInput
from pipeline.base.form import DIGITS, Form
from pipeline.base.params import Params
from pipeline.monitoring import live
from pipeline.registry import versions
from serving import pages, predictions, problems, requests, schemas, security_headers, telemetry, webhooks
from serving.archive import Archive
from serving.connections import Connections
from serving.gatekeeper import Gatekeeper
from serving.origins import LOOPBACK, Origins
from serving.predictions import Asked, Straight
from serving.predictor import Batches, Predictor, Served
from serving.problems import Problem
from serving.readers import Readers
from serving.recorder import Recorder
from serving.security_headers import Files, Reports

PAGE = Path(__file__).parent / "page"
SWITCH_SECONDS = 0.0005  # after which another thread lets the event loop go on; Python's own 5 ms would be felt
DRAIN_SECONDS = 10  # for requests that are under way when the service is told to stop
SHADOW_SECONDS = 3.0
SWAGGER = "/static-offline-docs"  # where FastAPIOffline puts what the API's page is made of

log = logging.getLogger("digits.serving")
router = APIRouter()


def problem(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The part of the OpenAPI document that names these statuses, and those that any request may end with."""
    return dict.fromkeys((*statuses, 400, 401, 403, 408, 413, 421, 429, 431), schemas.PROBLEM)


@router.post(
    requests.PATH,
    response_model=schemas.Prediction,
    responses=problem(415, 422, 503),
    openapi_extra={"requestBody": schemas.BODY},
    summary="Say what is on each picture, or on each image of the model's size",
)
async def predict(
    request: Request,
    image: Annotated[bool, Query(description="give each image back as the network saw it")] = False,
    challenger: Annotated[bool, Query(description="say what the challenger answers too")] = False,
    every: Annotated[
        bool, Query(alias="all", description="of pictures with several digits: answer each, row by row, with its box")
    ] = False,
) -> Response:
    return await predictions.predict(request, Asked(image, challenger, every))


@router.post(
    "/corrections",
    status_code=201,
    responses=problem(404, 409, 422, 503, 507),
    summary="Say what an image really shows",
)
def correct(request: Request, correction: schemas.Correction) -> dict[str, Any]:
    form = request.app.state.predictor.form
    label = correction.index_in(form.classes)
    if label is None and not correction.of_none:
        raise Problem(422, f"the correction: give one class, as {schemas.NAMED} of {_range(form)}, or `none`: true")
    try:
        request.app.state.recorder.correct(correction.id, label, request.state.person)
    except live.InBatch as error:
        raise Problem(409, str(error)) from None
    except live.Full as error:
        raise Problem(507, str(error)) from None
    except BadInput as error:
        raise Problem(404, str(error)) from None
    except (sqlite3.Error, OSError) as error:
        raise Problem(503, f"the correction cannot be kept now: {error}", **{"retry-after": "10"}) from None
    telemetry.CORRECTIONS.inc()
    return {"id": correction.id, **predictions.named(label, form)}


def _range(form: Form) -> str:
    last = len(form.classes) - 1
    return f"{form.classes[0]} to {form.classes[last]}" if last < 10 else f"{len(form.classes)} classes (see /model)"


@router.get(
    "/health", responses=problem(), summary="The process lives; what it answers with, and what is wrong, if anything"
)
async def health(request: Request) -> dict[str, Any]:
    predictor, recorder = request.app.state.predictor, request.app.state.recorder
    champion = predictor.champion
    return {
        "status": "ok" if champion and not predictor.fault else "degraded",
        "model": predictor.name,
        "version": champion and champion.number,
        "fault": predictor.fault,
        "memory": {"written": recorder.written, "dropped": recorder.dropped},
    }


@router.get("/ready", responses=problem(503), summary="There is a champion, and it answers")
async def ready(request: Request) -> dict[str, Any]:
    return {"version": _champion(request).number}


@router.get(
    "/model", responses=problem(503), summary="The champion's card: version, metrics, lineage; and the challenger's"
)
def model(request: Request) -> dict[str, Any]:
    champion, challenger = _champion(request), request.app.state.predictor.challenger
    facts: dict[str, Any] = {"champion": champion.facts, "challenger": challenger and challenger.facts, "shadow": None}
    facts["images"] = champion.form.as_json()
    if challenger:
        period = int(time.monotonic() / SHADOW_SECONDS)
        with suppress(sqlite3.Error, OSError):
            facts["shadow"] = _shadow(champion.facts["model"], champion.number, challenger.number, period)
    return facts


@lru_cache(1)
def _shadow(name: str, champion: str, challenger: str, period: int) -> dict[str, Any]:
    """How often the two differ, counted once a period: it goes through all that was seen."""
    with live.store() as connection:
        return live.disagreements(connection, name, champion, challenger)


def _champion(request: Request) -> Served:
    champion: Served | None = request.app.state.predictor.champion
    if champion is None:
        raise Problem(503, request.app.state.predictor.missing, **{"retry-after": "10"})
    return champion


@router.get("/metrics", response_class=Response, responses=problem(), summary="For Prometheus")
def metrics(request: Request) -> Response:
    predictor, recorder = request.app.state.predictor, request.app.state.recorder
    telemetry.VERSION.clear()
    for alias in (versions.CHAMPION, versions.CHALLENGER):
        if served := getattr(predictor, alias):
            telemetry.VERSION.labels(alias, served.number).set(1)
    telemetry.FAULT.set(predictor.fault is not None)
    telemetry.REMEMBERED.set(recorder.written)
    telemetry.DROPPED.set(recorder.dropped)
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


@router.get("/docs", include_in_schema=False)
def api_page(request: Request) -> HTMLResponse:
    page = get_swagger_ui_html(
        openapi_url=request.app.openapi_url,
        title="digits: the API",
        swagger_js_url=f"{SWAGGER}/swagger-ui-bundle.js",
        swagger_css_url=f"{SWAGGER}/swagger-ui.css",
        swagger_favicon_url="/page/icon.svg",
    )
    page.headers["content-security-policy"] = security_headers.policy_of(bytes(page.body).decode())
    return page


def application(
    name: str, params: Params, key: str | None, origins: Origins, readers: Readers, address: str | None = None
) -> FastAPI:
    """The service of one registered model. With an address, at which MLflow's server is to tell of promotions."""
    settings = params.serving

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        app.state.params, app.state.settings = params, settings
        app.state.webhook_secret = secrets.token_urlsafe(32) if address else None
        app.state.predictor = Predictor(name, address, app.state.webhook_secret or "")
        app.state.batches = Batches(app.state.predictor)
        app.state.recorder = Recorder(settings, app.state.predictor)
        app.state.archive = Archive(name)
        app.state.readers = readers
        await readers.open()
        app.state.predictor.start()
        app.state.recorder.start()
        work = asyncio.create_task(app.state.batches.work())
        gc.collect()
        gc.freeze()  # what is there now stays: the collector need not look at it again while requests wait
        yield
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work
        app.state.archive.stop()
        app.state.recorder.stop()
        app.state.predictor.stop()

    app = FastAPIOffline(
        title="digits", summary="Says what is on a picture", lifespan=running, docs_url=None, redoc_url=None
    )
    app.include_router(router)
    app.include_router(pages.router)
    app.include_router(webhooks.router)
    app.openapi = partial(_described, app, app.openapi)  # type: ignore[method-assign]
    app.mount("/page", Files(directory=PAGE))
    reports = places.home() / places.REPORTS
    reports.mkdir(exist_ok=True)
    app.mount("/reports", Reports(directory=reports, html=True))
    app.add_middleware(Straight)
    app.add_middleware(Gatekeeper, settings=settings, key=key, origins=origins)
    app.add_exception_handler(HTTPException, _http_problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    return app


def _described(app: FastAPI, describe: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The OpenAPI document, with images of the champion's shape."""
    document = describe()
    content = document["paths"]["/predict"]["post"]["requestBody"]["content"]
    form = app.state.predictor.form if hasattr(app.state, "predictor") else DIGITS
    content[requests.JSON] = {"schema": schemas.images(form)}
    return document


async def _http_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    return problems.of(request, error)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    lines = [f"{'.'.join(str(part) for part in one['loc'][1:]) or 'the body'}: {one['msg']}" for one in error.errors()]
    return problems.answer(422, "; ".join(lines), request.state.request_id)


class Server(uvicorn.Server):
    """Says where it listens, once it does, and looks after its connections."""

    def __init__(self, config: uvicorn.Config, connections: Connections) -> None:
        super().__init__(config)
        self.connections = connections

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.looking = asyncio.create_task(self.connections.look())
        for bound in sockets or []:
            host, port = bound.getsockname()[:2]
            log.info("http://%s:%s is open; Ctrl-C stops", f"[{host}]" if ":" in host else host, port)


def listen(host: str, port: int) -> socket.socket:
    """The socket to serve on; :class:`BadInput` if it is not to be had."""
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048
        )
    except (OSError, OverflowError) as error:
        number = getattr(error, "errno", None) or 0  # below 0 for a host name that is not found
        reason = os.strerror(number) if number > 0 else getattr(error, "strerror", None) or str(error)
        raise BadInput(
            f"{host}:{port} cannot be listened on: {reason.lower()}: give another --host or --port"
        ) from None


def serve(name: str, params: Params, host: str, port: int, key: str | None, address: str | None = None) -> None:
    """Serve until told to stop; with an address, at which MLflow's server reaches this service, be told by it."""
    if address:
        webhooks.check(address)
    readers = Readers(params.serving)  # first of all: it forks
    try:
        _serve(name, params, host, port, key, address, readers)
    finally:
        readers.stop()


def _serve(
    name: str, params: Params, host: str, port: int, key: str | None, address: str | None, readers: Readers
) -> None:
    settings, bound = params.serving, listen(host, port)
    sys.setswitchinterval(SWITCH_SECONDS)
    if host not in LOOPBACK and not key:
        log.warning("anybody who reaches %s may ask: set DIGITS_API_KEY to let in only who knows it", host)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with suppress(ValueError, OSError):  # each idle connection takes one
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    app = application(name, params, key, Origins(host, settings.hosts), readers, address)
    connections = Connections(settings, lambda begun: app.state.batches.is_full(begun))
    config = uvicorn.Config(
        app,
        http=connections,  # type: ignore[arg-type]  # what makes a protocol, as a class would
        ws="none",
        proxy_headers=bool(settings.proxies),  # else anybody could say which address a request comes from
        forwarded_allow_ips=list(settings.proxies),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # uvicorn, when it has ended, raises what it was sent
    with bound, suppress(KeyboardInterrupt):  # Ctrl-C is how it ends
        Server(config, connections).run([bound])
