"""Which model answers now? The champion in ONNX Runtime, followed as its alias moves, in batches as they come.

What was last known is remembered on the disk, so that a service that starts answers at once, also when the registry is
away; the registry's own word replaces it within seconds. A model whose file is not the registered one is not used: the
one before it goes on.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pipeline.base import files, places, processes
from pipeline.base.errors import BadInput
from pipeline.base.form import DIGITS, Form, images_in
from pipeline.learning import inference
from pipeline.learning.inference import Answers
from serving import telemetry, webhooks

if TYPE_CHECKING:
    import onnxruntime

SILENT = "the registry has not answered yet"
RESTART_SECONDS = 5.0  # from the end of a watcher to the next one
MOST_IMAGES = 256  # computed at once; what waits beyond that makes up the next batch
FEW_IMAGES = 2  # computed on the spot: handing them to another thread would take longer
MOST_WAITING = 64_000_000  # bytes of images; more are refused rather than kept,
MOST_REQUESTS = 64  # and more requests,
SECONDS_EACH = 0.001  # an image of a batch, until one was computed
OF_LATE = 0.3  # the share of the last batch in what an image takes of late
LATE_SECONDS = 2.0  # and what those who wait already will take as long to compute as this

log = logging.getLogger("digits.serving")


class Busy(Exception):
    """More images wait than may."""


def most_at_once(form: Form) -> int:
    """Images of one request, as more could never wait."""
    return images_in(MOST_WAITING, form.shape)


class Served(NamedTuple):
    """A version that answers."""

    number: str
    model: onnxruntime.InferenceSession
    """on all cores, for batches"""
    quick: onnxruntime.InferenceSession
    """on one, for a few images"""
    facts: dict[str, Any]
    form: Form
    """what its images are"""


class Predictor:
    """The versions in use of one registered model, kept up to date by a thread that listens to the watcher."""

    def __init__(self, name: str, address: str | None = None, secret: str = "") -> None:
        """With an address, at which MLflow's server tells of what happens, by requests signed with the secret."""
        self.name = name
        self._watch = [sys.executable, "-m", "serving.watch", name, *([address] if address else [])]
        self._environment = processes.environment(**{webhooks.SECRET: secret})
        self.champion: Served | None = None
        self.challenger: Served | None = None
        self.fault: str | None = SILENT
        self._stopping = threading.Event()
        self._watcher: Any = None
        self._thread = threading.Thread(target=self._follow, name="follow", daemon=True)

    @property
    def missing(self) -> str:
        """Why no champion answers, where none does."""
        return self.fault or f"{self.name} has no champion yet: run `digits run`"

    @property
    def form(self) -> Form:
        """What the images are that it takes: digits, until a champion says otherwise."""
        return self.champion.form if self.champion else DIGITS

    def start(self) -> None:
        self._recall()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._watcher is not None:
            self._watcher.stdin.close()  # its supervisor ends with it
        self._thread.join()

    def _follow(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except Exception:  # whatever it was: the service has its models, and the next watcher may do better
                self.fault = "following the registry failed: see the log"
                log.exception("following the registry failed")
            if not self._stopping.wait(RESTART_SECONDS):
                log.warning("the registry's watcher ended: starting it again")

    def _listen(self) -> None:
        """Start a watcher and do what it says, until it ends."""
        with processes.started(self._watch, env=self._environment) as self._watcher:
            for line in self._watcher.stdout:
                try:
                    told = json.loads(line)
                except ValueError:  # its stderr comes along, in which its libraries speak too
                    log.warning("the registry's watcher: %s", line.strip())
                else:
                    self.take(told)

    def take(self, told: dict[str, Any]) -> None:
        """Use the versions of a line of :mod:`serving.watch`; those in use stay where it tells of a fault."""
        if told["fault"]:
            self._report(told["fault"])
            return
        try:
            champion = self._opened(told["champion"], self.champion)
        except BadInput as error:
            self._report(str(error))
            return
        self.fault = None
        if champion and (self.champion is None or champion.number != self.champion.number):
            log.info("%s version %s answers", self.name, champion.number)
        self.champion, self.challenger = champion, self._rival(told["challenger"], champion)
        if champion:
            self._remember(told)

    def _rival(self, facts: dict[str, Any] | None, champion: Served | None) -> Served | None:
        """The challenger, if it can be asked about the champion's images."""
        try:
            rival = self._opened(facts, self.challenger)
        except BadInput as error:
            log.warning("the challenger is not used: %s", error)
            return None
        if rival and champion and rival.form != champion.form:
            log.warning("the challenger is not used: its images or classes are not the champion's")
            return None
        return rival

    def _report(self, fault: str) -> None:
        if fault != self.fault:
            log.warning("%s", fault)
        self.fault = fault

    def _remember(self, told: dict[str, Any]) -> None:
        try:
            files.write_json(places.home() / places.SERVING_CACHE, told)
        except OSError as error:
            log.warning("the champion cannot be remembered for the next start: %s", error)

    def _recall(self) -> None:
        """Begin with what was last known of this model."""
        try:
            told = files.read_json(places.home() / places.SERVING_CACHE)
            if told["champion"]["model"] == self.name:
                self.take(told)
        except (OSError, ValueError, KeyError, TypeError):
            pass  # nothing, or nothing useful, is remembered
        self.fault = SILENT

    def _opened(self, facts: dict[str, Any] | None, open_already: Served | None) -> Served | None:
        if facts is None:
            return None
        if open_already and open_already.facts["onnx_sha256"] == facts["onnx_sha256"]:
            return open_already._replace(number=facts["version"], facts=facts)
        path = Path(facts["onnx"])
        if not path.is_file() or files.sha256_file(path) != facts["onnx_sha256"]:
            raise BadInput(f"{path} is not the file that was registered: it is not used")
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0  # a container may have few
        batches, quick = inference.open_model(path, cores, spinning=False), inference.open_model(path, threads=1)
        return Served(facts["version"], batches, quick, facts, inference.form(batches))


class Batches:
    """Requests that come while a batch is computed make up the next one: large ones under load."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.waiting: deque[tuple[np.ndarray, asyncio.Future]] = deque()
        self.bytes_waiting = self.images_waiting = 0
        self.seconds_each = SECONDS_EACH
        """an image of late, in a batch"""
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "inference")

    async def answer(self, images: np.ndarray) -> tuple[Served, Answers]:
        """The answers to images uint8 (N, *shape), and who gave them; :class:`Busy` if too many wait,
        :class:`BadInput` if there is no champion."""
        if self.is_full() or self.bytes_waiting + images.nbytes > MOST_WAITING:
            raise Busy
        future = asyncio.get_running_loop().create_future()
        self.waiting.append((images, future))
        self.bytes_waiting += images.nbytes
        self.images_waiting += len(images)
        self._wake.set()
        served, answers = await future
        return served, answers

    def is_full(self, more: int = 0) -> bool:
        """Whether who comes now, after ``more`` requests that are still on their way here, would wait too long."""
        too_long = self.images_waiting * self.seconds_each > LATE_SECONDS
        return too_long or len(self.waiting) + more >= MOST_REQUESTS

    async def work(self) -> None:
        """Compute batch after batch, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self.waiting:
                parts = self._take()
                images = [part[0] for part in parts]
                try:
                    if sum(map(len, images)) <= FEW_IMAGES:
                        served, answers = self._compute(images, few=True)
                    else:
                        begun = loop.time()
                        served, answers = await loop.run_in_executor(self._thread, self._compute, images)
                        each = (loop.time() - begun) / sum(map(len, images))
                        self.seconds_each += OF_LATE * (each - self.seconds_each)
                except Exception as error:
                    for _, future in parts:
                        if not future.done():
                            future.set_exception(error)
                    continue
                start = 0
                for part, future in parts:
                    if not future.done():  # else its client went away
                        future.set_result((served, Answers(*(one[start : start + len(part)] for one in answers))))
                    start += len(part)

    def _take(self) -> list[tuple[np.ndarray, asyncio.Future]]:
        parts = [self.waiting.popleft()]
        count, shape = len(parts[0][0]), parts[0][0].shape[1:]
        while self.waiting and count + len(following := self.waiting[0][0]) <= MOST_IMAGES:
            if following.shape[1:] != shape:  # asked of the champion before or after
                break
            parts.append(self.waiting.popleft())
            count += len(following)
        self.bytes_waiting -= sum(images.nbytes for images, _ in parts)
        self.images_waiting -= count
        return parts

    def _compute(self, parts: list[np.ndarray], few: bool = False) -> tuple[Served, Answers]:
        served = self.predictor.champion
        if served is None:
            raise BadInput(self.predictor.missing)
        images = parts[0] if len(parts) == 1 else np.concatenate(parts)
        telemetry.BATCH.observe(len(images))
        return served, inference.answers(served.quick if few else served.model, images)
