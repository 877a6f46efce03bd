"""How does the service say that something is wrong? As RFC 9457 problem details, with the request's id."""

from http import HTTPStatus

from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import Request

TYPE = "application/problem+json"
BUSY = "too many images wait already: try again in a moment"
SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "request_id"],
    "properties": {
        "type": {"type": "string", "description": "always about:blank: the status says what kind it is"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what was wrong, where, and what to do"},
        "request_id": {"type": "string"},
    },
}


class Problem(HTTPException):
    """A request that ends with this status, and one line on what was wrong, where, and what to do."""

    def __init__(self, status: int, detail: str, **headers: str) -> None:
        super().__init__(status, detail, headers)


def answer(status: int, detail: str, request_id: str, headers: dict[str, str] | None = None) -> JSONResponse:
    content = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail.encode(errors="replace").decode(),  # half a character of what was sent may be in it
        "request_id": request_id,
    }
    return JSONResponse(content, status, headers, TYPE)


def of(request: Request, error: HTTPException) -> JSONResponse:
    """What a request is answered that ends with the error."""
    return answer(error.status_code, str(error.detail), request.state.request_id, dict(error.headers or {}))
