"""How is what the service sees kept without a request ever waiting for it? A queue, and one thread that writes.

The queue is bounded: when the writer cannot keep up, or the disk is full, rows are dropped and counted, and requests go
on. In the same thread the challenger, if there is one, answers the same images in shadow.
"""

import logging
import os
import sys
import threading
import time
from collections import OrderedDict, deque

import numpy as np

from pipeline.base.errors import BadInput
from pipeline.base.params import Serving
from pipeline.data import kinds
from pipeline.learning import inference
from pipeline.monitoring import live
from pipeline.monitoring.live import Seen
from serving.predictor import Predictor

QUEUE_BYTES = 36_000_000
RECENT_BYTES = 18_000_000  # kept in memory, so that they can be corrected: 10,000 digits
ROW_BYTES = 1_000  # of each image, with what was answered
WRITE_SECONDS = 0.25  # between two writes
WRITE_BYTES = 3_600_000  # described and written at once: 2,000 digits
NICENESS = 5  # of the thread that writes: a third of a request's share of a core that both want
LOG_SECONDS = 60.0  # between two lines about the same trouble

log = logging.getLogger("digits.serving")


class Recorder:
    """The writer of :mod:`pipeline.monitoring.live` for one service."""

    def __init__(self, settings: Serving, predictor: Predictor) -> None:
        self.settings, self.predictor = settings, predictor
        self.max_bytes = int(settings.memory_mb * 1e6)
        self.written = self.dropped = 0
        self.waiting: deque[Seen] = deque()
        self.bytes_waiting = 0
        self.recent: OrderedDict[str, Seen] = OrderedDict()  # by request
        self.bytes_recent = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._logged = -LOG_SECONDS
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, then end."""
        self._stopping.set()
        self._thread.join()

    def put(self, seen: Seen) -> None:
        """Take in what a request was answered; returns at once."""
        with self._lock:
            self.recent[request_of(seen.ids[0])] = seen
            self.bytes_recent += _size(seen)
            while self.bytes_recent > RECENT_BYTES and len(self.recent) > 1:
                self.bytes_recent -= _size(self.recent.popitem(last=False)[1])
            if self.waiting and self.bytes_waiting + _size(seen) > QUEUE_BYTES:
                self.dropped += len(seen.ids)
                return
            self.waiting.append(seen)
            self.bytes_waiting += _size(seen)

    def correct(self, identity: str, label: int | None, by: str) -> None:
        """Keep a person's word on an image, None if it shows none of the classes; :class:`BadInput` if that image is
        not known (any more),
        :class:`pipeline.monitoring.live.InBatch` if it went into a batch with another label,
        :class:`pipeline.monitoring.live.Full` if there is no room."""
        seen = self._find(identity)
        form = self.predictor.form
        with live.store(kind=form.kind) as connection:
            seen = seen or live.find(connection, identity, form.shape)
            if seen is None:
                raise BadInput(f"no answer {identity} is remembered: predict the image again, then correct it")
            live.correct(connection, seen, label, by, self.max_bytes, form)

    def _find(self, identity: str) -> Seen | None:
        with self._lock:
            seen = self.recent.get(request_of(identity))
        if seen is None or identity not in seen.ids or seen.images.shape[1:] != self.predictor.form.shape:
            return None
        index = seen.ids.index(identity)
        only = slice(index, index + 1)
        return seen._replace(
            ids=[identity], images=seen.images[only], answers=seen.answers[only], confidences=seen.confidences[only]
        )

    def _work(self) -> None:
        if sys.platform == "linux":  # where it is of this thread alone
            os.nice(NICENESS)  # beyond the service's own: back to less only root may go
        while not self._stopping.wait(WRITE_SECONDS) or self.waiting:
            self._write_some()

    def _write_some(self) -> None:
        """Write a part of what waits, if anything does."""
        if not (parts := self._take()):
            return
        count = sum(len(part.ids) for part in parts)
        try:
            self._write(self._shadowed(parts))
            self.written += count
        except Exception as error:  # whatever it is, requests go on, and the next write may succeed
            self.dropped += count
            self._complain("what was seen is not kept: %s", error)

    def _take(self) -> list[Seen]:
        parts: list[Seen] = []
        size = 0
        while self.waiting and size < WRITE_BYTES:  # a deque needs no lock
            if parts and self.waiting[0].images.shape[1:] != parts[0].images.shape[1:]:
                break  # another champion answered
            parts.append(self.waiting.popleft())
            size += _size(parts[-1])
        with self._lock:
            self.bytes_waiting -= size
        return parts

    def _shadowed(self, parts: list[Seen]) -> list[Seen]:
        """The parts with what the challenger says to them, if there is one."""
        challenger = self.predictor.challenger if self.settings.shadow else None
        if challenger is None:
            return parts
        try:
            said = [inference.run(challenger.model, part.images).argmax(axis=1) for part in parts]
        except Exception as error:  # a challenger's fault is no reason to forget what the champion did
            self._complain("the challenger does not answer: %s", error)
            return parts
        return [
            part._replace(challenger=challenger.number, shadows=shadows)
            for part, shadows in zip(parts, said, strict=True)
        ]

    def _write(self, parts: list[Seen]) -> None:
        kind = self.predictor.form.kind
        described = kinds.features(kind).measure(np.concatenate([part.images for part in parts]))
        with live.store(kind=kind) as connection:
            live.write(connection, parts, described, self.settings.keep_images, kind)
            live.spare(connection, self.max_bytes)

    def _complain(self, text: str, error: Exception) -> None:
        if time.monotonic() - self._logged > LOG_SECONDS:
            self._logged = time.monotonic()
            log.warning(text, error)


def _size(seen: Seen) -> int:
    """Bytes that it takes here."""
    return seen.images.nbytes + ROW_BYTES * len(seen.ids)


def identities(request: str, count: int) -> list[str]:
    """An id for each image of a request."""
    return [f"{request}-{index}" for index in range(count)]


def request_of(identity: str) -> str:
    return identity.rpartition("-")[0]
