"""Pictures are read in processes that can be stopped: what a hostile one costs, and that the next one is read."""

import asyncio
import io
import multiprocessing
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import photos
import pytest
from PIL import Image
from waiting import WAIT
from workspace import ROOT

from pipeline.base import params as params_file
from serving import reader_process
from serving.problems import Problem
from serving.readers import Readers
from serving.requests import Picture

FRESH = multiprocessing.get_context("forkserver")
FRESH.set_forkserver_preload(["test_readers"])
SETTINGS = params_file.load(ROOT / "params.yaml").serving
SEVEN = Picture("seven", photos.pictures("mouse", 8, 0)[7][1])


def saved(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def long_comments() -> bytes:
    """A GIF that Pillow reads in a time that grows with its comment's square."""
    whole = saved(Image.new("P", (64, 64)), "GIF")
    at = whole.index(b",", 13)
    return whole[:at] + b"\x21\xfe" + (b"\xff" + bytes(255)) * 60_000 + b"\x00" + whole[at:]


def with_readers(do: Callable[..., Awaitable[None]], *arguments: Any, **settings: Any) -> None:
    """Run ``do(readers, …)`` in a fresh process, where nothing has begun threads yet: here OpenCV may have."""
    process = FRESH.Process(target=_run, args=(do, arguments, settings))
    process.start()
    process.join(WAIT)
    assert process.exitcode == 0, "see what it has printed"


def _run(do: Callable[..., Awaitable[None]], arguments: tuple[Any, ...], settings: dict[str, Any]) -> None:
    reader_process.KEPT = settings.pop("kept", reader_process.KEPT)
    readers = Readers(SETTINGS.model_copy(update=settings))

    async def run() -> None:
        await readers.open()
        await do(readers, *arguments)

    try:
        asyncio.run(run())
    finally:
        readers.stop()


async def refusal(readers: Readers, *pictures: Picture) -> tuple[int, str]:
    with pytest.raises(Problem) as raised:
        await readers.frame(list(pictures), "a")
    return raised.value.status_code, str(raised.value.detail)


async def reads_on(readers: Readers) -> None:
    (item,) = await readers.frame([SEVEN], "a")
    assert item.image is not None and item.image.shape == (28, 28) and item.image.max() == 255


async def stops_long_comments(readers: Readers) -> None:
    status, detail = await refusal(readers, Picture("comments", long_comments()))
    assert status == 422 and detail.startswith("comments: takes more than 0.5 s")
    await asyncio.gather(*(reads_on(readers) for _ in range(9)))


def test_a_picture_that_takes_too_long_is_stopped_and_the_next_one_read():
    with_readers(stops_long_comments, max_picture_seconds=0.5)


async def refuses_large(readers: Readers, kind: str) -> None:
    large = saved(Image.new("RGBA", (3000, 3000)), kind)
    assert (await refusal(readers, Picture("large", large)))[0] == 422
    await reads_on(readers)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP"])
def test_a_picture_that_takes_too_much_memory_is_refused(kind: str):
    with_readers(refuses_large, kind, max_picture_mb=6.0, max_body_mb=8.0)


async def begins_anew(readers: Readers) -> None:
    large = Picture("large", saved(Image.new("RGBA", (3000, 3000)), "PNG"))
    processes = set()
    for _ in range(3):
        (item,) = await readers.frame([large], "a")
        assert item.reason == "no digit is to be seen"
        processes.add(readers.lanes[1].readers[0].process)
    assert processes == {None}
    await reads_on(readers)


def test_large_pictures_are_read_by_a_process_that_then_begins_anew():
    with_readers(begins_anew, kept=0)


async def outlives_kills(readers: Readers) -> None:
    for _ in range(3):
        await asyncio.gather(*(reads_on(readers) for _ in range(4)))
        for reader in readers.lanes[0].readers:
            assert reader.process
            os.kill(reader.process, signal.SIGKILL)


def test_a_reader_that_is_killed_is_followed_by_another():
    with_readers(outlives_kills)


async def outlives_cut_off(readers: Readers) -> None:
    for _ in range(3):
        task = asyncio.create_task(readers.frame([Picture("comments", long_comments())], "a"))
        await asyncio.sleep(0.1)
        task.cancel()
        await reads_on(readers)


def test_a_request_that_is_cut_off_leaves_no_answer_for_the_next_one():
    with_readers(outlives_cut_off)


async def refuses_many(readers: Readers) -> None:
    blank = Picture("blank", saved(Image.new("L", (28, 28)), "PNG"))
    found = await asyncio.gather(*(readers.frame([blank], "a") for _ in range(80)), return_exceptions=True)
    refused = [each for each in found if isinstance(each, Problem)]
    assert len(refused) == 80 - 64 and {each.status_code for each in refused} == {503}


def test_too_many_requests_at_once_are_told_to_wait():
    with_readers(refuses_many)


async def takes_turns(readers: Readers) -> None:
    """One of b's comes before most of a's, who was there first."""
    done: list[str] = []

    async def ask(client: str) -> None:
        await readers.frame([SEVEN], client)
        done.append(client)

    await asyncio.gather(*(ask("a") for _ in range(40)), ask("b"), ask("c"))
    assert max(done.index("b"), done.index("c")) < 10


def test_clients_take_turns():
    with_readers(takes_turns)


async def parses(readers: Readers) -> None:
    images = await readers.parse(b'{"images": ' + str(np.full((200, 28, 28), 7).tolist()).encode() + b"}", "a")
    assert images.shape == (200, 28, 28) and set(images.flat) == {7}
    with pytest.raises(Problem, match="not JSON"):
        await readers.parse(b" " * 100_000, "a")


def test_a_large_body_of_json_is_parsed_there_too():
    with_readers(parses)


async def ends_when_the_sockets_close(readers: Readers) -> None:
    await asyncio.gather(*(readers.frame([SEVEN], "a") for _ in range(8)))
    every = [reader for lane in readers.lanes for reader in lane.readers]
    processes = [reader.process for reader in every if reader.process]
    for reader in every:
        reader.outgoing.close()
        await reader.outgoing.wait_closed()
    assert os.waitpid(readers.nursery, os.WUNTRACED)[1] == 0
    assert processes
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
    readers.nursery = os.posix_spawn("/bin/true", ["true"], {}, setpgroup=0)  # for the end of the test to wait for


def test_the_processes_end_with_the_service():
    with_readers(ends_when_the_sockets_close)


def test_words_that_are_no_text_are_said_with_marks_for_them():
    assert reader_process._bytes("a\ud800b") == b"a?b"
