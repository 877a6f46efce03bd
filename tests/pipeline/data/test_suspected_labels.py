import numpy as np
from examples import answers

from pipeline.data import suspected_labels


def test_planted_wrong_labels_are_suspected_the_clearest_first():
    true, _ = answers(1, 3000)
    rng = np.random.default_rng(2)
    sure = np.full(len(true), 0.9) + rng.uniform(-0.05, 0.05, len(true))
    probabilities = np.repeat(((1 - sure) / 9)[:, None], 10, axis=1)
    probabilities[np.arange(len(true)), true] = sure
    probabilities[5] = np.full(10, 0.05)  # a mistake without conviction: below the threshold, no suspicion
    probabilities[5, (true[5] + 1) % 10] = 0.55
    planted = np.array([10, 20, 30])
    probabilities[planted] = 0.002
    probabilities[planted, true[planted]] = 0.982
    labels = true.copy()
    labels[planted] = (true[planted] + 3) % 10
    table = suspected_labels.find(labels, probabilities.astype(np.float32))
    assert table["index"].tolist() == [10, 20, 30]
    np.testing.assert_array_equal(table["suggested"], true[planted])
    np.testing.assert_array_equal(table["label"], labels[planted])
