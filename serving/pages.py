"""The pages of what was made: the models and their reports, two of them side by side, the batches. Read only.

What they need of the registry comes from :mod:`serving.archive` within a second, or else what it last said, or a line
that it does not answer; files are read and pages are drawn by threads.
"""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.convertors import Convertor, register_url_convertor

from pipeline.base.errors import BadInput, TemporaryFault, brief
from pipeline.registry import measures, versions
from serving import batches_page, layout, links, lookups, monitor_page, security_headers
from serving.archive import Answer

WIDTH, HEIGHT = 720, 160  # of the staircase, in its own units
NAMED = 20  # reigns whose version is written below
VERSION = f"[1-9][0-9]{{0,8}}|{versions.CHAMPION}|{versions.CHALLENGER}"
TABLE = re.compile(r"[a-z_]{1,40}\.csv")
CHAMPION_REPORT = "/reports/champion/"


class VersionName(Convertor[str]):
    """A version in a path: its number or alias. What is neither is no version's page."""

    regex = VERSION

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("version", VersionName())


async def awake(request: Request) -> None:
    """Whoever looks at one page may open the next, for which the registry is asked."""
    request.app.state.archive.wake()


router = APIRouter(include_in_schema=False, dependencies=[Depends(awake)])
Named = Annotated[str, Query(pattern=f"^({VERSION})$")]


@router.get("/")
def draw() -> HTMLResponse:
    return HTMLResponse(layout.render("draw", "/"), headers={"cache-control": "no-cache"})


@router.get("/models")
async def models(
    request: Request, before: Annotated[int | None, Query(ge=1, lt=10**9, description="older than that")] = None
) -> Response:
    return await _of_registry(request, "/models", "Models", _models, "models", before)


def _models(request: Request, answer: Answer) -> str:
    said = answer.said
    return layout.render(
        "models",
        "/models",
        **said,
        **staircase(said["reigns"]),
        name=request.app.state.predictor.name,
        fault=answer.fault,
        before="before" in request.query_params,
        mlflow=links.mlflow(),
        links=links.known(request.app.state.predictor.name),
    )


def staircase(reigns: list[dict[str, Any]]) -> dict[str, Any]:
    """The champions so far as steps: where each stands in the picture."""
    known = [reign for reign in reigns if reign["accuracy"] is not None]
    lowest, highest = (pick([reign["accuracy"] for reign in known], default=1.0) for pick in (min, max))
    rim = max(highest - lowest, 0.002) / 6
    low, high = lowest - rim, highest + rim

    def down(accuracy: float) -> float:
        return round(HEIGHT * (high - accuracy) / (high - low), 1)

    step = (WIDTH - 60) / max(len(known), 1)
    every = len(known) // NAMED + 1
    stairs = [
        {
            **reign,
            "event": reign["event"].replace("promoted", "champion since"),
            "x": round(60 + step * (index + 0.5), 1),
            "y": down(reign["accuracy"]),
            "named": index % every == 0,
        }
        for index, reign in enumerate(known)
    ]
    corners = [(60 + step * (index + side), stair["y"]) for index, stair in enumerate(stairs) for side in (0, 1)]
    marks = [
        {"y": down(one), "label": layout.percent(one)} for one in sorted({lowest, (lowest + highest) / 2, highest})
    ]
    points = " ".join(f"{x:.1f},{y}" for x, y in corners)
    return {"stairs": stairs, "points": points, "marks": marks, "width": WIDTH, "height": HEIGHT}


@router.get("/compare")
async def compare(request: Request, a: Named = versions.CHAMPION, b: Named = versions.CHALLENGER) -> Response:
    return await _of_registry(request, "/compare", "Side by side", _compared, "compared", a, b)


def _compared(_request: Request, answer: Answer) -> str:
    facts, pictures = answer.said["facts"], answer.said["pictures"]
    rows = [_measure(row) for row in (*facts["metrics"], facts["size_mb"], facts["latency_ms"])]
    return layout.render(
        "compare",
        "/compare",
        name=facts["model"],
        first=facts["first"],
        second=facts["second"],
        sentences=answer.said["sentences"],
        sides=_sides(facts, pictures),
        rows=rows,
        recall=facts["recall"],
        params=facts["params"],
        fault=answer.fault,
    )


def _measure(row: dict[str, Any]) -> dict[str, Any]:
    """A row of two figures as people read them."""
    name = row["name"]
    return {"name": measures.words(name), **{which: measures.text(name, row[which]) for which in ("first", "second")}}


def _sides(facts: dict[str, Any], pictures: list[list[str]] | None) -> list[dict[str, Any]]:
    """What each alone reads right, with its picture where there is one."""
    if facts["answers"] is None:
        return []
    sides = []
    for index, which in enumerate(("first", "second")):
        alone = facts["answers"][f"{which}_alone"]
        drawn = pictures[index] if pictures else [None] * min(len(alone), lookups.SHOWN)
        shown = [one | {"png": png} for one, png in zip(alone, drawn, strict=False)]
        more = len(alone) - len(shown)
        sides.append({"version": facts[which]["version"], "alone": shown, "more": more, "drawn": pictures is not None})
    return sides


@router.get("/reports/{version:version}")
def to_report(version: str) -> RedirectResponse:
    return RedirectResponse(f"/reports/{version}/")


@router.get("/reports/{version:version}/")
async def report(request: Request, version: str) -> Response:
    here, predictor = f"/reports/{version}/", request.app.state.predictor
    if version == versions.CHAMPION:
        if predictor.champion is None:
            return _line(503, here, "Report", predictor.missing)
        version = predictor.champion.number
    elif predictor.champion and version == predictor.champion.number:
        here = CHAMPION_REPORT
    answer = await _of_registry(request, here, "Report", _report, "report", version)
    if answer.status_code == 200:
        answer.headers["content-security-policy"] = security_headers.RECORDED_POLICY
    return answer


def _report(request: Request, answer: Answer) -> str:
    said, facts = answer.said, answer.said["facts"]
    if said["page"] is None:
        raise _no_report(facts["version"])
    page = Path(said["page"]).read_text(encoding="utf-8", errors="replace")
    is_champion = versions.CHAMPION in facts["aliases"]
    frame = layout.render(
        "report_frame",
        CHAMPION_REPORT if is_champion else request.url.path,
        facts=facts,
        event=said["event"],
        met=said["met"],
        fault=answer.fault,
    )
    head, body, rest = page.partition("<body>")
    return f"{head}{body}{frame}{rest}" if body else f"{frame}{page}"


def _no_report(version: str) -> BadInput:
    return BadInput(
        f"version {version} was registered before reports were kept with versions: there is none of it "
        "(/reports/index.html is of the workspace's last run)"
    )


@router.get("/reports/{version:version}/evaluation/{file}")
async def report_table(request: Request, version: str, file: str) -> Response:
    here = f"/reports/{version}/"
    if not TABLE.fullmatch(file):
        return _line(404, here, "Report", "there is no such table")
    answer = await _of_registry(request, here, "Report", _table, "table", version, file)
    if answer.status_code == 200:
        answer.headers["content-type"] = "text/csv; charset=utf-8"
    return answer


def _table(_request: Request, answer: Answer) -> str:
    return Path(answer.said).read_text(encoding="utf-8", errors="replace")


@router.get("/reports/{version:version}/{rest:path}")
def report_rest(version: str, rest: str) -> HTMLResponse:
    words = "of a version the report and its tables are kept; the rest is in reports/ of the workspace that last ran"
    return _line(404, f"/reports/{version}/", "Report", words)


async def _of_registry(
    request: Request, here: str, title: str, draw: Callable[[Request, Answer], str], question: str, *arguments: Any
) -> Response:
    """The page that ``draw`` makes of what the registry says; a line where it says nothing."""
    try:
        answer = await request.app.state.archive.ask(question, *arguments)
        return HTMLResponse(await asyncio.to_thread(draw, request, answer))
    except TemporaryFault as error:
        return _line(503, here, title, str(error))
    except BadInput as error:
        return _line(404, here, title, str(error))
    except OSError as error:
        return _line(503, here, title, f"{error.strerror}: look again in a moment")


def _line(status: int, here: str, title: str, words: str) -> HTMLResponse:
    headers = {"retry-after": "2", "refresh": "2"} if status == 503 else None  # a browser looks again by itself
    return HTMLResponse(layout.line(here, title, words), status, headers)


@router.get("/monitor")
def monitor(request: Request) -> HTMLResponse:
    state = request.app.state
    champion = state.predictor.champion
    return HTMLResponse(monitor_page.page(state.predictor.name, champion and champion.number, state.params.monitor))


@router.get("/batches")
def batch_list() -> Response:
    try:
        return HTMLResponse(batches_page.page())
    except (OSError, ValueError) as error:
        return _line(503, "/batches", "Batches", f"a record cannot be read: {brief(error)}")
