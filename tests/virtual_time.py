"""An event loop without a clock: when nothing is left to do at this moment, it is the moment of the next timer."""

import asyncio
from collections.abc import Callable
from typing import Any

ENDS = 1000.0  # seconds


class Stuck(Exception):
    """Something is waited for that will never happen."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs timers in their order, at once. What goes to a thread is done after ``seconds_of(args)``, one piece at a
    time, as by an executor of one thread; ``at_start`` says whether what it does is done then or in the end. Where that
    goes on beyond ENDS, what is waited for hangs."""

    def __init__(self, seconds_of: Callable[..., float], at_start: Callable[[], bool]) -> None:
        super().__init__()
        self._selector = self  # type: ignore[assignment]
        self.now = 0.0
        self.seconds_of, self.at_start = seconds_of, at_start
        self.free_at = 0.0

    def time(self) -> float:
        return self.now

    def select(self, timeout: float | None) -> list[Any]:
        """What the loop does when nothing is ready: it waits for as long, or for ever."""
        if timeout is None or self.now > ENDS:
            raise Stuck
        self.now += timeout
        return []

    def _process_events(self, events: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def run_in_executor(self, executor: Any, work: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        future = self.create_future()
        begins = max(self.now, self.free_at)
        self.free_at = begins + self.seconds_of(*args)
        found: list[tuple[Any, BaseException | None]] = []

        def do() -> None:
            try:
                found.append((work(*args), None))
            except Exception as error:
                found.append((None, error))

        def tell() -> None:
            if not found:
                do()
            result, error = found[0]
            if future.cancelled():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        if self.at_start():
            self.call_at(begins, do)
        self.call_at(self.free_at, tell)
        return future
