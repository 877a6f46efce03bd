"""One is told in the singular."""

from pipeline.base.words import counted


def test_one_thing_is_told_in_the_singular():
    assert [counted(number, "image") for number in (0, 1, 1024)] == ["0 images", "1 image", "1,024 images"]
    assert [counted(number, "batch", "batches") for number in (1, 2)] == ["1 batch", "2 batches"]
