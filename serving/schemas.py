"""What do requests and answers look like? The parts of the OpenAPI document."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from pipeline.digits.image import CLASSES, SIDE
from serving import problems, requests


class Choice(BaseModel):
    digit: int
    confidence: float


class Answer(BaseModel):
    """Of one image."""

    id: str = Field(description="to correct this answer by")
    source: str | None = Field(None, description="the picture's file name")
    digit: int | None = Field(description="null where no single digit was found, or none that is certain")
    reason: str | None = Field(None, description="why there is no digit")
    confidence: float | None = Field(None, description="the likeliest digit's probability")
    second: Choice | None = Field(None, description="what comes next")
    probabilities: list[float] | None = Field(None, description="of 0 to 9")
    image: str | None = Field(
        None, description="with image=true: base64 of the 28 × 28 grey levels that were read, a row after the other"
    )


class Prediction(BaseModel):
    model: str
    version: str
    answers: list[Answer]
    challenger: dict[str, Any] | None = Field(
        None, description="with challenger=true, where there is one: its version, and its probabilities for each answer"
    )


class Correction(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    id: Annotated[str, Field(max_length=80)]
    digit: Annotated[int, Field(ge=0, lt=CLASSES)]


PROBLEM = {"content": {problems.TYPE: {"schema": problems.SCHEMA}}}
_GREY = {"type": "integer", "minimum": 0, "maximum": 255}
_ROW = {"type": "array", "minItems": SIDE, "maxItems": SIDE, "items": _GREY}
_IMAGE = {"type": "array", "minItems": SIDE, "maxItems": SIDE, "items": _ROW}
_FILE = {"type": "string", "format": "binary"}
_ARRAYS = {"type": "array", "minItems": 1, "items": _IMAGE}
_JSON = {"type": "object", "required": ["images"], "additionalProperties": False, "properties": {"images": _ARRAYS}}
_FORM = {"type": "object", "required": ["files"], "properties": {"files": {"type": "array", "items": _FILE}}}
_SCHEMAS = {requests.JSON: _JSON, requests.FORM: _FORM, **dict.fromkeys((requests.NPY, *requests.PICTURES), _FILE)}
BODY = {"required": True, "content": {kind: {"schema": schema} for kind, schema in _SCHEMAS.items()}}
