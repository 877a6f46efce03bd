"""Who answers what the pages ask of the registry, and how long does a page wait? :mod:`serving.lookups`, in a process
that is started when somebody opens a page, and not for long.

What was answered is kept for a few seconds, so that many who look ask once; where the registry does not answer, a page
shows what it last said. Waiting takes neither a thread nor the event loop.
"""

import asyncio
import logging
import multiprocessing
import time
from collections import OrderedDict
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import Any, NamedTuple

from pipeline.base import clock
from pipeline.base.errors import BadInput, TemporaryFault
from serving import layout, lookups

WAIT_SECONDS = 0.9  # of a page, for an answer
FIRST_SECONDS = 4.0  # while the process that answers is still starting: clients give up after five, often
FRESH_SECONDS = 3.0  # that an answer is not asked for again,
LASTING_SECONDS = {"compared": 60.0, "wake": 0.0}  # but for what takes longer to find out and hardly changes
MOST_ASKED = 8  # questions at once; more are refused rather than kept
MOST_KEPT = 64  # answers

log = logging.getLogger("digits.serving")


class Answer(NamedTuple):
    said: Any
    fault: str | None = None
    """why this is what was last said, and not what holds now"""


class _Kept(NamedTuple):
    said: Any
    at: str
    fresh_until: float


class Archive:
    """Of one registered model."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._pool: ProcessPoolExecutor | None = None
        self._begun = False  # whether the process has answered anything
        self._asked: dict[tuple, asyncio.Future] = {}
        self._kept: OrderedDict[tuple, _Kept] = OrderedDict()

    def wake(self) -> None:
        """Have the process started, and its libraries imported: somebody is about to ask."""
        if self._pool is None:
            with suppress(OSError):  # no room for a process: who asks is told
                self._ask(("wake",))

    def stop(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.kill()  # it may wait for the registry

    async def ask(self, question: str, *arguments: Any) -> Answer:
        """What :mod:`serving.lookups` answers, or what it last answered; :class:`TemporaryFault` where that is nothing,
        :class:`BadInput` for a question to which there is no answer."""
        key = (question, self.name, *arguments)
        kept = self._kept.get(key)
        if kept and time.monotonic() < kept.fresh_until:
            return Answer(kept.said)
        seconds = WAIT_SECONDS if kept or self._begun else FIRST_SECONDS
        try:
            return Answer(await asyncio.wait_for(asyncio.shield(self._ask(key)), seconds))
        except TimeoutError:
            fault = "the registry has not answered yet"
        except BrokenProcessPool:
            self._pool, fault = None, "what asks the registry ended, and is started again"
        except TemporaryFault as error:
            fault = str(error)
        if kept is None:
            raise TemporaryFault(f"{fault}: look again in a moment")
        return Answer(kept.said, f"this is of {layout.day(kept.at)}: {fault}")

    def _ask(self, key: tuple) -> asyncio.Future:
        """The answer that is to come; whoever asks the same meanwhile waits for the same."""
        if key in self._asked:
            return self._asked[key]
        if len(self._asked) >= MOST_ASKED:
            raise TemporaryFault("too much is asked of the registry at once")
        if self._pool is None:
            self._begun = False
            self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), lookups.begin)
        future = asyncio.wrap_future(self._pool.submit(lookups.answer, *key))
        self._asked[key] = future
        future.add_done_callback(lambda done: self._keep(key, done))
        return future

    def _keep(self, key: tuple, done: asyncio.Future) -> None:
        del self._asked[key]
        self._begun = True
        with suppress(asyncio.CancelledError):
            if error := done.exception():
                if not isinstance(error, BadInput):
                    log.warning("what asks the registry for pages failed: %s", error)
                return
            self._kept[key] = _Kept(
                done.result(), clock.now(), time.monotonic() + LASTING_SECONDS.get(key[0], FRESH_SECONDS)
            )
            self._kept.move_to_end(key)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
