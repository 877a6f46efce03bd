"""What is written down about a version: verdicts, events, proofs. What one room says, another reads.

They lie as JSON in MLflow's tags; one that an older or newer release of this project wrote is read too.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Outcome = Literal["better", "worse", "indistinguishable"]
Happening = Literal["promoted", "refused", "rolled back", "unchanged"]


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    def as_json(self) -> dict[str, Any]:
        """As JSON holds it: what was said, without what was left open."""
        return self.model_dump(mode="json", exclude_unset=True)


class Check(Record):
    """A floor or ceiling of the gate."""

    name: str
    value: float
    limit: float
    passed: bool


class Comparison(Record):
    """McNemar's exact test (Q. McNemar, Psychometrika 12, 1947): are the disagreements split evenly?"""

    champion_accuracy: float
    only_challenger_right: int
    only_champion_right: int
    p_value: float
    margin: float = 0.0
    outcome: Outcome


class Verdict(Record):
    """What the gate says, with every number, and the digests of the images it rests on."""

    promote: bool
    reason: str
    checks: tuple[Check, ...]
    comparison: Comparison | None
    recent: Comparison | None = None
    rules: dict[str, Any] = {}
    test_images: int = 0
    recent_images: int = 0
    test_sha256: dict[str, str] = {}
    recent_sha256: dict[str, str] = {}


class Proof(Record):
    """A version's answers to its pinned images, beside those of the day it was registered."""

    images: int
    largest_difference: float
    """of a probability"""
    tolerance: float


class Event(Record):
    """What happened to a version, when and by whom; ``unchanged`` is told but not kept."""

    event: Happening
    version: str | None
    previous: str | None = None
    """the champion before"""
    at: str = ""
    by: str = ""
    reason: str = ""
    """a person's, or why nothing was changed"""
    verdict: Verdict | None = None
    proof: Proof | None = None

    @property
    def why(self) -> str:
        """The verdict's reason, or else the event's own."""
        return self.verdict.reason if self.verdict else self.reason


class Facts(Record):
    """Where a version came from, what it measured, the verdict on it, and whom it replaced."""

    model: str
    version: str
    aliases: list[str]
    created: str
    run_id: str
    lineage: dict[str, str]
    params: dict[str, str]
    weights_sha256: str
    metrics: dict[str, Any]
    verdict: Verdict | None
    replaced: str | None
