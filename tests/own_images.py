"""Pictures that are no digits, and the ways in which tests have them read as a data set of one's own."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_mnist import PARAMS

from pipeline.base.errors import BadInput
from pipeline.base.params import Images, Params
from pipeline.data.datasets import catalogue
from pipeline.data.datasets.decoders import Loaded, Source

SIDE = 16
PLAIN = PARAMS.images.model_copy(
    update={"kind": "plain", "height": SIDE, "width": SIDE, "channels": 3, "min_of_class": 1}
)


def params(dataset: str, local_dir: Path | str, images: Images = PLAIN, **ingest: Any) -> Params:
    """``images`` as a whole; of ``ingest`` single keys."""
    changed = PARAMS.ingest.model_copy(update={"local_dir": str(local_dir), **ingest})
    return PARAMS.model_copy(update={"dataset": dataset, "images": images, "ingest": changed})


def source(local_dir: Path | str, images: Images = PLAIN, **ingest: Any) -> Source:
    of = params("folder", local_dir, images, **ingest)
    return Source(of.ingest, of.images)


def load(dataset: str, local_dir: Path | str, images: Images = PLAIN, **ingest: Any) -> Loaded:
    return catalogue.load(params(dataset, local_dir, images, **ingest))


def refusal(dataset: str, local_dir: Path | str, images: Images = PLAIN, **ingest: Any) -> str:
    """The one line with which the data set is refused."""
    with pytest.raises(BadInput) as caught:
        load(dataset, local_dir, images, **ingest)
    message = str(caught.value)
    assert message and "\n" not in message
    return message


def scene(seed: int, height: int = 24, width: int = 24) -> np.ndarray:
    """A smooth picture in colour, which a JPEG keeps: uint8 (height, width, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def encoded(pixels: np.ndarray, suffix: str = "png", **more: Any) -> bytes:
    """As the bytes of a picture file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, {"jpg": "jpeg"}.get(suffix, suffix), **more)
    return file.getvalue()


def write_folder(folder: Path, counts: dict[str, int], suffix: str = "png", seed: int = 0) -> Path:
    """So many pictures of each class, each in its folder, all different."""
    number = 1000 * seed
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for _ in range(count):
            (folder / name / f"{number:05}.{suffix}").write_bytes(encoded(scene(number), suffix))
            number += 1
    return folder


def counts(loaded: Loaded) -> dict[str, int]:
    """Images of each class, of train and test together."""
    found = np.bincount(np.concatenate([loaded.train.labels, loaded.test.labels]), minlength=len(loaded.form.classes))
    return dict(zip(loaded.form.classes, found.tolist(), strict=True))
