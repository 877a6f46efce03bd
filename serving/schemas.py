"""What do requests and answers look like? The parts of the OpenAPI document."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from pipeline.base.form import DIGITS, TEN, Form
from serving import problems, requests

NAMED = "`digit`, `index` or `label`"


class Class(BaseModel):
    """One of the model's classes, or none: a digit by itself, another by index and name."""

    digit: int | None = Field(None, description="of a model of digits; null where no single one is certain")
    index: int | None = Field(None, description="of other models: the class's place among those of /model")
    label: str | None = Field(None, description="of other models: its name")


class Choice(Class):
    confidence: float


class Box(BaseModel):
    left: int
    top: int
    width: int
    height: int


class Answer(Class):
    """Of one image, or of one digit of a picture."""

    id: str = Field(description="to correct this answer by")
    source: str | None = Field(None, description="the picture's file name")
    reason: str | None = Field(None, description="why there is no digit, or no class")
    confidence: float | None = Field(None, description="the likeliest class's probability")
    second: Choice | None = Field(None, description="what comes next")
    probabilities: list[float] | None = Field(
        None, description="of 0 to 9, or of the classes of /model, in their order"
    )
    box: Box | None = Field(None, description="with all=true: the digit's, in the picture's pixels, turned by its EXIF")
    image: str | None = Field(
        None, description="with image=true: base64 of the levels that were read, a row after the other"
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
    digit: Annotated[int | None, Field(ge=0, le=9)] = None
    index: Annotated[int | None, Field(ge=0)] = None
    label: Annotated[str | None, Field(max_length=100)] = None
    none: Annotated[bool, Field(description="it shows none of the classes: kept, and not trained on")] = False

    @property
    def of_none(self) -> bool:
        """Whether it says that, and no class beside it."""
        return self.none and all(one is None for one in (self.digit, self.index, self.label))

    def index_in(self, classes: Sequence[str]) -> int | None:
        """The class that is meant; None if that is none of them, or several are."""
        if self.none or sum(one is not None for one in (self.digit, self.index, self.label)) != 1:
            return None
        if self.label is not None:
            return classes.index(self.label) if self.label in classes else None
        index = self.index if self.index is not None else self.digit if tuple(classes) == TEN else None
        return index if index is not None and index < len(classes) else None


PROBLEM = {"content": {problems.TYPE: {"schema": problems.SCHEMA}}}
_FILE = {"type": "string", "format": "binary"}


def images(form: Form) -> dict[str, Any]:
    """The schema of a body of images of that form."""
    schema: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": 255}
    for side in reversed(form.shape):
        schema = {"type": "array", "minItems": side, "maxItems": side, "items": schema}
    schema = {"type": "array", "minItems": 1, "items": schema}
    return {"type": "object", "required": ["images"], "additionalProperties": False, "properties": {"images": schema}}


_FORM = {"type": "object", "required": ["files"], "properties": {"files": {"type": "array", "items": _FILE}}}
_SCHEMAS = {
    requests.JSON: images(DIGITS),
    requests.FORM: _FORM,
    **dict.fromkeys((requests.NPY, *requests.PICTURES), _FILE),
}
BODY = {"required": True, "content": {kind: {"schema": schema} for kind, schema in _SCHEMAS.items()}}
