import numpy as np
from small_mnist import PARAMS, load

from pipeline.data import splits


def test_digits_come_in_mnists_framing() -> None:
    loaded = load("digits")
    images = np.concatenate([loaded.train.images, loaded.test.images])
    assert len(images) == 1797
    assert images.dtype == np.uint8
    assert (images[:, 0] == 0).all()
    assert (images.max(axis=(1, 2)) == 255).all(), "ink reaches 255"
    boxes = [np.argwhere(image > 0) for image in images]
    assert max(max(np.ptp(box, axis=0)) for box in boxes) < 20, "the digit's box is 20×20"
    share = len(loaded.test.labels) / 1797
    assert abs(share - PARAMS.ingest.test_share) < 0.03
    assert not np.isin(splits.content_hashes(loaded.test.images), splits.content_hashes(loaded.train.images)).any()
    assert set(loaded.test.labels.tolist()) == set(range(10))
