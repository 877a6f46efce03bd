"""What is written down about a version: verdicts, events, proofs. What one room says, another reads.

They lie as JSON in MLflow's tags; one that an older or newer release of this project wrote is read too.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Told = Literal["no worse", "worse", "cannot be told"]
# What a comparison comes to; the rest are an older release's, of McNemar's test against the champion alone.
Outcome = Told | Literal["better", "indistinguishable"]
Happening = Literal["promoted", "refused", "kept", "waits", "rolled back", "moved by hand", "unchanged"]


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
    may_pass: bool = False
    """whether another try may find another value: of what is measured on a busy machine"""


class Comparison(Record):
    """A challenger beside one that served before it, on the same images (:mod:`pipeline.registry.paired`)."""

    champion: str | None = None
    """its version"""
    champion_accuracy: float
    accuracy: float | None = None
    """the challenger's"""
    images: int = 0
    only_challenger_right: int
    only_champion_right: int
    p_value: float
    """of a challenger that is worse by ``max_loss`` or more"""
    max_loss: float = 0.0
    risk: float = 0.0
    """of each of the two limits"""
    least_loss: float = 0.0
    most_loss: float = 0.0
    outcome: Outcome


class Standing(Record):
    """One that served, as measured beside a challenger."""

    version: str
    accuracy: float


class Budget(Record):
    """What the held-out images still have to give, at one look at them (:mod:`pipeline.registry.alpha_spending`)."""

    held_out: str
    """the digest of the images and their labels"""
    model: str
    """the digest of what answers"""
    images: int
    fresh: int
    """so many of them no look before has seen"""
    looks: int
    """at just these images, this one among them"""
    risk: float
    """that this look may take"""
    left: float
    """after it, of ``gate.risk``: 0 to 1"""
    next_risk: float
    smallest_loss: float
    """that the next look could rule out, in a challenger without a single loss"""
    worn_out: bool
    """whether that is more than is allowed"""
    too_few: bool = False
    """whether so many images could not have told at the first look either"""
    refill: int | None = None
    """so many fresh held-out images, and the next look can conclude something; None if it can"""
    rebuilt: bool = False
    """whether the ledger was lost, and made again from the history"""


class Verdict(Record):
    """What the gate says, with every number, and the digests of the images it rests on."""

    promote: bool
    kept: bool = False
    """neither proven no worse nor shown to be worse: it cannot be told"""
    may_pass: bool = False
    """refused for nothing but what another try may find otherwise"""
    reason: str
    checks: tuple[Check, ...]
    comparison: Comparison | None
    """with the hardest to beat of those that served, on all held-out images"""
    recent: Comparison | None = None
    """the same on what is held out of the batches alone"""
    accuracy: float | None = None
    """measured on all held-out images"""
    champions: tuple[Standing, ...] = ()
    """all that served, the one in use last"""
    more_images: int | None = None
    """of a challenger that is kept: about so many more held-out images would tell"""
    budget: Budget | None = None
    stated_accuracy: float | None = None
    """what may be said of the model: :func:`pipeline.registry.gate.stated`"""
    notes: tuple[str, ...] = ()
    """what else a person should know"""
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


_BECAME = {  # where the name of the event is that of another version's part in it
    "kept": "not promoted",
    "waits": "waits for a person's yes",
    "unchanged": "stays champion",
    "rolled back": "is champion again",
    "moved by hand": "made champion by hand",
}


class Event(Record):
    """What happened to a version, when and by whom; ``unchanged`` is told but not kept."""

    event: Happening
    version: str | None
    previous: str | None = None
    """the champion before"""
    at: str = ""
    """when it was written down"""
    by: str = ""
    reason: str = ""
    """a person's, or why nothing was changed"""
    verdict: Verdict | None = None
    proof: Proof | None = None

    @property
    def word(self) -> str:
        """What became of the version, as people say it."""
        return _BECAME.get(self.event, self.event)

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
