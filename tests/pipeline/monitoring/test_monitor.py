from pathlib import Path

import numpy as np
import pytest
from drawing import draw
from PIL import Image

from pipeline.base.errors import BadInput
from pipeline.monitoring import monitor


def test_a_folder_without_pictures_is_one_line(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(BadInput, match=r"holds no PNG or JPEG: name a folder of pictures"):
        monitor.read_folder(tmp_path)


def test_pictures_are_read_framed(tmp_path: Path):
    (tmp_path / "deep").mkdir()
    Image.fromarray(draw(7)).save(tmp_path / "deep" / "a.png")
    images = monitor.read_folder(tmp_path)
    assert images.shape == (1, 28, 28) and images.dtype == np.uint8
