"""Requests, batches, promotions and the recorder at random, in virtual time: whom is answered what, and when?

A seed is a run of some seconds, always the same; where one fails its number is told. SIMULATION_SEEDS=17:18 runs that
one again, SIMULATION_SEEDS=0:10000 so many.
"""

import asyncio
import io
import json
import os
import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from starlette.requests import Request
from virtual_time import VirtualLoop
from workspace import ROOT

from pipeline.base import params as params_file
from pipeline.base.errors import BadInput
from pipeline.base.form import DIGITS, Form
from serving import predictions, predictor, problems, recorder
from serving.predictor import LATE_SECONDS, Batches, Predictor, Served
from serving.problems import Problem
from serving.recorder import Recorder

FIRST, _, END = os.environ.get("SIMULATION_SEEDS", "0:300").partition(":")
SETTINGS = params_file.load(ROOT / "params.yaml").serving
FORMS = (DIGITS, DIGITS, DIGITS, Form("plain", (8, 8, 3), ("a", "b", "c")))
SLOWEST = 0.0004  # seconds an image
QUEUE_BYTES, RECENT_BYTES = 400_000, 200_000
BOUND = 2.5 * LATE_SECONDS + 3 * SETTINGS.max_images * SLOWEST  # the batch before it and its own beyond what waits


class Session:
    """A model that answers what image it was shown, and which version it is."""

    def __init__(self, world: "World", number: int, form: Form, blocks: bool) -> None:
        self.world, self.number, self.form, self.blocks = world, number, form, blocks

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="images", shape=["N", *self.form.shape])]

    def get_outputs(self) -> list[Any]:
        shapes = {"probabilities": ["N", len(self.form.classes)], "certainty": ["N"]}
        return [SimpleNamespace(name=name, shape=shape) for name, shape in shapes.items()]

    def run(self, names: list[str], given: dict[str, np.ndarray]) -> list[np.ndarray]:
        images = given["images"]
        if self.blocks:  # on the event loop
            self.world.loop.now += self.world.seconds(len(images))
        probabilities = np.zeros((len(images), len(self.form.classes)), np.float32)
        probabilities[:, 0], probabilities[:, 1] = shown(images) / 1000, self.number / 1000
        found = {"probabilities": probabilities, "certainty": np.ones(len(images), np.float32)}
        return [found[name] for name in names]


class Followed(Predictor):
    """Without files."""

    world: "World"

    def _opened(self, facts: dict[str, Any] | None, open_already: Served | None) -> Served | None:
        if facts is None:
            return None
        if facts["broken"]:
            raise BadInput("the file is not the registered one")
        number = int(facts["version"])
        batches, quick = (Session(self.world, number, facts["form"], blocks) for blocks in (False, True))
        return Served(facts["version"], batches, quick, facts, facts["form"])  # type: ignore[arg-type]

    def _remember(self, told: dict[str, Any]) -> None:
        pass


def shown(images: np.ndarray) -> np.ndarray:
    """The value of which all pixels of an image are."""
    return images[:, *(0 for _ in images.shape[1:])]


class World:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 — nothing is to be kept from anybody
        self.loop = VirtualLoop(lambda parts: self.seconds(sum(map(len, parts))), lambda: self.chance.random() < 0.5)
        self.predictor = Followed("m")
        self.predictor.world = self
        self.batches = Batches(self.predictor)
        self.recorder = Recorder(SETTINGS, self.predictor)
        self.recorder._write = self.written  # type: ignore[method-assign]
        state = {"predictor": self.predictor, "batches": self.batches, "recorder": self.recorder, "settings": SETTINGS}
        self.app = SimpleNamespace(state=SimpleNamespace(**state, readers=SimpleNamespace(parse=print)))
        self.each = SLOWEST / 2
        self.versions: list[tuple[float, str | None]] = [(0.0, None)]
        self.kept = 0
        self.answered = self.refused = 0  # because too many waited
        self.failures: list[str] = []

    def seconds(self, images: int) -> float:
        """What so many take: they, and something a batch."""
        return self.chance.uniform(0.8, 1.2) * images * self.each + 0.0001

    def written(self, parts: list[Any]) -> None:
        if self.chance.random() < 0.2:
            raise OSError("no space left on the device")
        self.kept += sum(len(part.ids) for part in parts)

    async def run(self) -> None:
        background = [asyncio.ensure_future(one) for one in (self.batches.work(), self.promote(), self.write())]
        await asyncio.gather(*(self.client(number) for number in range(self.chance.randint(5, 60))))
        while self.batches.waiting:  # of clients that went away
            await asyncio.sleep(SLOWEST)
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        self.settle()

    async def promote(self) -> None:
        number = 0
        while True:
            if self.chance.random() < 0.2:
                self.predictor.take({"fault": "the registry does not answer"})
            else:
                number += self.chance.random() < 0.8
                form, broken = self.chance.choice(FORMS), self.chance.random() < 0.1
                champion = {"version": str(number), "form": form, "broken": broken}
                self.predictor.take({"fault": None, "champion": champion if number else None, "challenger": None})
                self.each = self.chance.uniform(SLOWEST / 2, SLOWEST)
            self.versions.append((self.loop.now, self.predictor.champion and self.predictor.champion.number))
            await asyncio.sleep(self.chance.expovariate(4))

    async def write(self) -> None:
        while True:
            await asyncio.sleep(recorder.WRITE_SECONDS)
            self.recorder._write_some()

    async def client(self, number: int) -> None:
        """Some requests, one after the other; now and then it goes away."""
        await asyncio.sleep(self.chance.expovariate(5))
        for _ in range(self.chance.randint(1, 4)):
            few = self.chance.random() < 0.9
            count = self.chance.randint(1, 3) if few else self.chance.choice((17, 64, 256, SETTINGS.max_images))
            values = [self.chance.choice((0, *range(100, 256))) for _ in range(count)]
            patience = self.chance.choice((None, None, None, self.chance.expovariate(20)))
            await self.ask(values, self.predictor.form, patience)
            await asyncio.sleep(self.chance.expovariate(50))

    async def ask(self, values: list[int], form: Form, patience: float | None) -> None:
        images = np.broadcast_to(
            np.array(values, np.uint8).reshape(-1, *(1 for _ in form.shape)), (len(values), *form.shape)
        )
        asked = self.loop.now
        try:
            async with asyncio.timeout(patience):
                response = await predictions.predict(self.request(images), predictions.PLAIN)
        except TimeoutError:
            return
        except Problem as problem:
            self.refused += problem.detail == problems.BUSY
            if problem.status_code != 503:
                self.wrong(f"{problem.status_code} {problem.detail}")
            elif problem.detail == problems.BUSY and self.loop.now != asked:
                self.wrong(f"refused only after {self.loop.now - asked} s")
            return
        self.answered += 1
        if self.loop.now - asked > BOUND:
            self.wrong(f"answered after {self.loop.now - asked:.2f} s")
        self.check(json.loads(bytes(response.body)), values, form, asked)

    def request(self, images: np.ndarray) -> Request:
        file = io.BytesIO()
        np.save(file, images)

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": file.getvalue(), "more_body": False}

        headers = [(b"content-type", b"application/x-npy")]
        return Request({"type": "http", "headers": headers, "client": ("127.0.0.1", 1), "app": self.app}, receive)

    def check(self, told: dict[str, Any], values: list[int], form: Form, asked: float) -> None:
        """Each image got its own answer, of a version that was the champion meanwhile."""
        before = [version for at, version in self.versions if at <= asked][-1]
        meanwhile = {before, *(version for at, version in self.versions if asked <= at <= self.loop.now)}
        if told["version"] not in meanwhile:
            self.wrong(f"version {told['version']} answered, when {meanwhile} did")
        blank = {0} if form.inked else set()
        expected = [None if value in blank else (value, int(told["version"])) for value in values]
        found = [
            answer.get("probabilities") and tuple(round(1000 * one) for one in answer["probabilities"][:2])
            for answer in told["answers"]
        ]
        if found != expected:
            self.wrong(f"answered {found[:5]}… to {expected[:5]}…")
        for answer, value in list(zip(told["answers"], values, strict=True))[:3]:
            seen = self.recorder._find(answer["id"])
            if seen is not None and shown(seen.images).tolist() != [value]:
                self.wrong(f"{answer['id']} is remembered as another image")
        if self.batches.bytes_waiting > predictor.MOST_WAITING or self.recorder.bytes_waiting > QUEUE_BYTES + 2**21:
            self.wrong("more waits than may")

    def settle(self) -> None:
        """What is left when all have been answered: nothing that waits, and nothing that was lost uncounted."""
        while self.recorder.waiting:
            self.recorder._write_some()
        if self.batches.waiting or self.batches.bytes_waiting or self.batches.images_waiting:
            self.wrong("something waits that nobody asked for")
        if self.recorder.bytes_waiting or self.recorder.written != self.kept:
            self.wrong("the recorder does not add up")
        held = sum(recorder._size(seen) for seen in self.recorder.recent.values())
        if held != self.recorder.bytes_recent or (held > RECENT_BYTES and len(self.recorder.recent) > 1):
            self.wrong(f"{held} bytes are held, {self.recorder.bytes_recent} are counted")

    def wrong(self, what: str) -> None:
        self.failures.append(f"at {self.loop.now:.4f} s: {what}")


def simulated(seed: int) -> World:
    world = World(seed)
    asyncio.set_event_loop(world.loop)
    try:
        world.loop.run_until_complete(world.run())
    finally:
        asyncio.set_event_loop(None)
        world.batches._thread.shutdown()
        world.loop.close()
    return world


@pytest.fixture(autouse=True)
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "QUEUE_BYTES", QUEUE_BYTES)
    monkeypatch.setattr(recorder, "RECENT_BYTES", RECENT_BYTES)


def test_whatever_comes_each_is_answered_its_own_in_time_or_refused_at_once():
    answered = refused = dropped = 0
    for seed in range(int(FIRST), int(END)):
        world = simulated(seed)
        assert not world.failures, f"seed {seed}: {world.failures[:3]}"
        answered, refused = answered + world.answered, refused + world.refused
        dropped += world.recorder.dropped
    if int(END) - int(FIRST) >= 100:  # else it says nothing
        assert answered and refused and dropped


def test_a_seed_is_always_the_same_run():
    one, again = simulated(3), simulated(3)
    assert (one.answered, one.refused, one.loop.now) == (again.answered, again.refused, again.loop.now)
