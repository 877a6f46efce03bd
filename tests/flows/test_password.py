"""The password of a checkout's Prefect server: random, this user's alone, and not taken from where others put it."""

import os
import stat
from pathlib import Path

import pytest

from flows import password
from pipeline.base import places
from pipeline.base.errors import BadInput


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_made_once_for_a_checkout_and_for_this_user_alone(tmp_path: Path):
    auth = password.kept(tmp_path)
    assert auth.startswith("digits:") and len(auth) > 30
    assert password.kept(tmp_path) == password.known(tmp_path) == auth
    assert mode(tmp_path / places.PREFECT_PASSWORD) == 0o600
    assert mode(tmp_path / places.PREFECT) == mode((tmp_path / places.PREFECT).parent) == 0o700
    assert password.kept(tmp_path / "another") != auth


@pytest.mark.parametrize("content", ["", "digits", "admin:admin\n"])
def test_a_torn_one_and_one_of_others_making_are_made_anew(tmp_path: Path, content: str):
    password.kept(tmp_path)
    (tmp_path / places.PREFECT_PASSWORD).write_text(content)
    assert password.known(tmp_path) is None
    assert len(password.kept(tmp_path)) > 30


def test_one_that_others_could_read_is_replaced(tmp_path: Path):
    before = password.kept(tmp_path)
    (tmp_path / places.PREFECT).chmod(0o755)
    (tmp_path / places.PREFECT_PASSWORD).chmod(0o644)
    assert password.known(tmp_path) is None
    assert password.kept(tmp_path) != before
    assert mode(tmp_path / places.PREFECT_PASSWORD) == 0o600 and mode(tmp_path / places.PREFECT) == 0o700


def test_a_link_and_a_pipe_in_its_place_are_not_followed(tmp_path: Path):
    place, elsewhere = tmp_path / places.PREFECT_PASSWORD, tmp_path / "elsewhere"
    auth = password.kept(tmp_path)
    for put in (lambda: place.symlink_to(elsewhere), lambda: os.mkfifo(place)):
        place.unlink()
        elsewhere.write_text("digits:known to the attacker, and long enough\n")
        elsewhere.chmod(0o600)
        put()
        assert password.known(tmp_path) is None
        made = password.kept(tmp_path)
        assert made not in (auth, elsewhere.read_text().strip()) and not place.is_symlink()
        assert "attacker" in elsewhere.read_text()


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a folder away")
def test_a_folder_of_another_user_is_one_line(tmp_path: Path):
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 12345, 12345)
    (tmp_path / ".cache").mkdir()
    (tmp_path / places.PREFECT).symlink_to(tmp_path / "theirs")
    with pytest.raises(BadInput, match="belongs to another user, who could read its password"):
        password.kept(tmp_path)
