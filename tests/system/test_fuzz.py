"""100,000 mutated pictures and bodies against a real server, beside a client that has honest ones.

pytest tests/system/test_fuzz.py -m slow -s     prints what it measured
"""

import asyncio
import io
import json
import random
import struct
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import photos
import pytest
from PIL import Image, ImageOps
from running import Service, served
from workspace import Workspace

COUNT, CLIENTS = 100_000, 8
HONEST_PAUSE = 0.05  # seconds
GROWTH_MB = 200
EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 5_000, 70_000)


@dataclass
class Found:
    """What came of it."""

    statuses: Counter[int] = field(default_factory=Counter)
    slowest: float = 0.0
    honest: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)


def seeds() -> list[tuple[str, bytes]]:
    """Honest bodies, each with its content type."""
    digit = Image.open(io.BytesIO(photos.pictures("mouse", 8, 0)[7][1])).convert("RGB").resize((96, 96))
    kinds: list[tuple[str, dict[str, Any]]] = [
        *(("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True}), ("GIF", {}), ("WEBP", {}), ("BMP", {})),
        *((kind, {"save_all": True}) for kind in ("PNG", "WEBP", "GIF")),
        *(("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("TIFF", {"compression": "tiff_adobe_deflate"})),
    ]
    found = []
    for (kind, options), mode in product(kinds, ("RGB", "L", "P", "RGBA")):
        file = io.BytesIO()
        with suppress(OSError):  # there is no such file
            frame = digit.convert(mode)
            more = {"append_images": [ImageOps.flip(frame)]} if "save_all" in options else {}
            frame.save(file, kind, **options, **more)
            found.append((f"image/{kind.lower()}", file.getvalue()))
    images = np.asarray(digit.convert("L").resize((28, 28)))[None]
    npy = io.BytesIO()
    np.save(npy, images)
    part = b'--x\r\nContent-Disposition: form-data; name="files"; filename="f.png"\r\n\r\n' + found[0][1]
    bodies = [
        ("application/json", json.dumps({"images": images.tolist()}).encode()),
        ("application/x-npy", npy.getvalue()),
        ("multipart/form-data; boundary=x", part + b"\r\n--x--\r\n"),
    ]
    return found + bodies * 6


def mutated(body: bytes, rng: random.Random) -> bytes:
    """With some of its bytes changed, gone, doubled or moved, and the sums of a PNG made right again, mostly."""
    changed = bytearray(body)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at, length = rng.randrange(len(changed) + 1), rng.choice((1, 2, 4, 16, 200))
        if rng.random() < 0.5:  # headers are where it hurts
            at = min(at, rng.randrange(64))
        part = bytes(changed[at : at + length])
        changed[at : at + length] = rng.choice(
            (
                rng.randbytes(length),
                b"",
                part * rng.choice((2, 50)),
                struct.pack(rng.choice("<>") + "I", rng.choice(EDGES)),
                struct.pack(rng.choice("<>") + "H", rng.choice(EDGES) & 0xFFFF),
                body[rng.randrange(len(body)) :][:length],
            )
        )
    if rng.random() < 0.1:
        del changed[rng.randrange(len(changed) + 1) :]
    return summed(bytes(changed)) if body.startswith(b"\x89PNG") and rng.random() < 0.8 else bytes(changed)


def summed(png: bytes) -> bytes:
    parts, at = [png[:8]], 8
    while at + 12 <= len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        content = png[at + 4 : at + 8 + length]
        parts.append(png[at : at + 4] + content + struct.pack(">I", zlib.crc32(content)))
        at += 12 + length
    return b"".join(parts)


async def ask(service: Service, kind: str, body: bytes, source: str) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port, local_addr=(source, 0))
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
    try:
        return int((await reader.read()).split(b" ", 2)[1])
    finally:
        writer.close()


async def fuzz(service: Service, count: int) -> Found:
    found, honest = Found(), photos.pictures("mouse", 8, 0)[7][1]
    bodies, rng = seeds(), random.Random(7)  # noqa: S311
    left = iter(range(count))

    async def hostile() -> None:
        for _ in left:
            kind, body = rng.choice(bodies)
            begun = time.perf_counter()
            found.statuses[await ask(service, kind, mutated(body, rng), "127.0.0.1")] += 1
            found.slowest = max(found.slowest, time.perf_counter() - begun)

    async def beside() -> None:
        while True:
            begun = time.perf_counter()
            assert await ask(service, "image/png", honest, "127.0.0.2") == 200
            found.honest.append(time.perf_counter() - begun)
            if len(found.honest) % 20 == 0:
                found.memory.append(service.memory_mb())
            await asyncio.sleep(HONEST_PAUSE)

    other = asyncio.create_task(beside())
    await asyncio.gather(*(hostile() for _ in range(CLIENTS)))
    other.cancel()
    return found


@pytest.fixture
def service(demo: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with served(demo.copy(tmp_path_factory.mktemp("fuzzed") / "workspace")) as running:
        yield running


@pytest.mark.slow
def test_mutated_pictures_and_bodies_are_read_or_refused(service: Service):
    for kind, body in seeds():  # what any use of it takes is no growth
        asyncio.run(ask(service, kind, body, "127.0.0.1"))
    begun, before = time.monotonic(), service.memory_mb()
    found = asyncio.run(fuzz(service, COUNT))
    growth = max(found.memory) - before
    print(
        f"\n{COUNT:,} bodies in {time.monotonic() - begun:,.0f} s: {dict(found.statuses.most_common())}, slowest "
        f"{found.slowest:.2f} s; memory {before:.0f} MB before, {growth:.0f} MB more at most; the honest client's "
        f"{len(found.honest):,} requests: median {np.median(found.honest):.3f} s, 99 % within "
        f"{np.quantile(found.honest, 0.99):.3f} s"
    )
    assert sum(found.statuses.values()) == COUNT
    assert not [status for status in found.statuses if status >= 500]
    assert growth < GROWTH_MB
