"""Wait for what is bound to happen, however busy the machine is."""

import time
from collections.abc import Callable
from typing import Any

WAIT = 300.0  # seconds for anything to happen; nothing is asserted of how long it takes
SELDOM = 0.5  # seconds from one look to the next, where something takes its time


def until(found: Callable[[], Any], what: str) -> Any:
    """Wait for a true answer and return it: looked for often at first, then so that the looking costs little."""
    ends, pause = time.monotonic() + WAIT, 0.02
    while not (answer := found()):
        assert time.monotonic() < ends, f"{what}: it did not happen"
        time.sleep(pause)
        pause = min(1.2 * pause, SELDOM)
    return answer
