"""Which batches were handed in, by whom, and what became of them? The page at /batches, from what lies beside them."""

import time
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipeline.data import batches, quarantine
from pipeline.data.batches import Filed
from serving import layout

PERIOD_SECONDS = 3.0  # that the records are not read again
SHOWN = 100  # batches of a kind, the newest
SAID = 3  # reasons of a refused one


def page() -> str:
    """The newest accepted and refused batches; OSError or ValueError for a record that cannot be read."""
    return _drawn(int(time.monotonic() / PERIOD_SECONDS))


@lru_cache(1)
def _drawn(_period: int) -> str:
    """Drawn once a period: it reads a file a batch."""
    there, gone = batches.filed(), batches.removed()
    refused = quarantine.refused()
    accepted = sorted([*there, *gone], key=lambda one: (one.accepted_at or one.at, one.batch), reverse=True)
    refused.sort(key=lambda one: (one.at, one.batch), reverse=True)
    counts = {"accepted": len(there), "removed": len(gone), "refused": len(refused)}
    return layout.render(
        "batches",
        "/batches",
        counts=counts | {"shown_of_each": SHOWN if max(len(accepted), len(refused)) > SHOWN else None},
        accepted=[_accepted(one) for one in accepted[:SHOWN]],
        refused=[_refused(one) for one in refused[:SHOWN]],
    )


def _accepted(filed: Filed) -> dict[str, Any]:
    is_removed = filed.event == "removed"
    return {
        "name": filed.batch,
        "at": filed.accepted_at if is_removed else filed.at,
        "by": filed.accepted_by if is_removed else filed.by,
        "dataset": filed.dataset,
        "train": f"{filed.counts.get('train', 0):,}",
        "recent": f"{filed.counts.get('recent', 0):,}",
        "source": Path(filed.source).name,  # where on this machine it lay is nobody's business
        "removed_at": filed.at if is_removed else "",
        "removed_by": filed.by,
        "reason": filed.reason,
    }


def _refused(filed: Filed) -> dict[str, Any]:
    return {
        "name": filed.batch,
        "at": filed.at,
        "by": filed.by,
        "source": Path(filed.source).name,
        "why": [finding.message for finding in filed.findings[:SAID]],
        "more": max(len(filed.findings) - SAID, 0),
    }
