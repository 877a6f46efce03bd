"""Is every figure called and written as people do?"""

import pytest

from pipeline.registry import measures


@pytest.mark.parametrize(
    ("name", "value", "words", "text"),
    [
        ("accuracy", 0.98765, "test accuracy", "98.77%"),
        ("recent_accuracy", 1.0, "accuracy on recent images", "100.00%"),
        ("recent_errors", 1200, "errors on recent images", "1,200"),
        ("gap", -0.004, "points by which train beats test", "-0.40"),
        ("accuracy", None, "test accuracy", "–"),
        ("another_figure", 0.123456, "another figure", "0.1235"),
    ],
)
def test_a_figure_has_words_and_its_own_way_of_writing(name: str, value: float | None, words: str, text: str):
    assert (measures.words(name), measures.text(name, value)) == (words, text)
