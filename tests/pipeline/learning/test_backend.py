"""Does TensorFlow keep to itself what nobody who trains can mend?"""

import logging

import pytest

from pipeline.learning.backend import tensorflow


@pytest.mark.parametrize(
    ("words", "is_told"),
    [("5 out of the last 7 calls to <…> triggered tf.function retracing. Tracing is …", False), ("a fault", True)],
)
def test_that_graphs_are_traced_again_is_no_warning(words: str, is_told: bool):
    record = logging.LogRecord("tensorflow", logging.WARNING, __file__, 1, words, (), None)
    assert bool(tensorflow.get_logger().filter(record)) is is_told
