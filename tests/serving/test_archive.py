"""How long does a page wait for the registry? In the process that asks it, on a registry that never answers."""

import asyncio
import socket
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import BadInput, TemporaryFault
from serving import archive
from serving.archive import Answer, Archive


class Pool:
    """Answers when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple] = []
        self.futures: list[Future] = []

    def submit(self, _answer: Any, *key: Any) -> Future:
        self.asked.append(key)
        self.futures.append(Future())
        return self.futures[-1]


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Pool:
    pool = Pool()
    monkeypatch.setattr(archive, "ProcessPoolExecutor", lambda *_: pool)
    monkeypatch.setattr(archive, "WAIT_SECONDS", 0.02)
    monkeypatch.setattr(archive, "FIRST_SECONDS", 0.02)
    return pool


def test_many_who_look_ask_once_and_an_answer_is_kept_for_a_while(pool: Pool):
    async def look() -> None:
        kept = Archive("m")
        three = [asyncio.create_task(kept.ask("models", None)) for _ in range(3)]
        await asyncio.sleep(0)
        pool.futures[0].set_result("five")
        assert await asyncio.gather(*three) == [Answer("five")] * 3
        assert await kept.ask("models", None) == Answer("five")
        assert pool.asked == [("models", "m", None)]

    asyncio.run(look())


def test_a_page_does_not_wait_and_then_shows_what_was_last_said(pool: Pool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(archive, "FRESH_SECONDS", 0.0)

    async def look() -> None:
        kept = Archive("m")
        with pytest.raises(TemporaryFault, match="the registry has not answered yet: look again in a moment"):
            await kept.ask("models", None)
        pool.futures[0].set_result("five")  # late: for who looks next
        await asyncio.sleep(0.01)
        said = await kept.ask("models", None)
        assert said.said == "five" and "has not answered yet" in (said.fault or "")
        pool.futures[1].set_exception(TemporaryFault("it is away"))
        await asyncio.sleep(0.01)
        late = asyncio.create_task(kept.ask("models", None))
        await asyncio.sleep(0)
        pool.futures[2].set_exception(TemporaryFault("it is away"))
        answer = await late
        assert answer.said == "five" and "it is away" in (answer.fault or "")

    asyncio.run(look())


def test_who_looks_first_waits_for_the_process_to_start(pool: Pool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(archive, "FIRST_SECONDS", 60.0)

    async def look() -> None:
        kept = Archive("m")
        kept.wake()
        first = asyncio.create_task(kept.ask("models", None))
        await asyncio.sleep(5 * archive.WAIT_SECONDS)
        pool.futures[0].set_result(None)  # it is awake
        pool.futures[1].set_result("five")
        assert await first == Answer("five")
        with pytest.raises(TemporaryFault, match="has not answered yet"):  # from now on no page waits for long
            await kept.ask("report", "1")

    asyncio.run(look())


def test_to_some_questions_there_is_no_answer(pool: Pool):
    async def look() -> None:
        asked = asyncio.create_task(Archive("m").ask("report", "7"))
        await asyncio.sleep(0)
        pool.futures[0].set_exception(BadInput("there is no version 7"))
        with pytest.raises(BadInput, match="no version 7"):
            await asked

    asyncio.run(look())


def test_what_is_asked_at_once_and_what_is_kept_are_bounded(pool: Pool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(archive, "MOST_KEPT", 2)

    async def look() -> None:
        kept = Archive("m")
        waiting = [asyncio.create_task(kept.ask("report", str(n))) for n in range(archive.MOST_ASKED)]
        await asyncio.sleep(0)
        with pytest.raises(TemporaryFault, match="too much is asked of the registry at once"):
            await kept.ask("report", "another")
        for future in pool.futures:
            future.set_result("a page")
        assert await asyncio.gather(*waiting) == [Answer("a page")] * archive.MOST_ASKED
        assert len(kept._kept) == 2 and not kept._asked

    asyncio.run(look())


@pytest.fixture
def silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A registry that takes connections and never answers."""
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.getsockname()[1]}")
        yield


def test_a_registry_that_never_answers_holds_up_neither_pages_nor_the_end(silent: None):
    async def look() -> None:
        asked = Archive("m")
        for _ in range(3):
            with pytest.raises(TemporaryFault, match=r"the registry has not answered yet|does not answer"):
                await asked.ask("models", None)
        asked.stop()

    asyncio.run(look())
