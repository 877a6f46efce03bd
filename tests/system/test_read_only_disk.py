"""A workspace on a disk that cannot be written to: what only looks works, the rest ends with one line."""

import subprocess
import sys

import pytest
from PIL import Image, ImageDraw
from workspace import Workspace


@pytest.fixture(scope="module")
def workspace(demo: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = demo.copy(tmp_path_factory.mktemp("read_only") / "workspace")
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("mounting a disk needs root")
    picture = Image.new("L", (100, 100), 255)
    ImageDraw.Draw(picture).line([(20, 20), (80, 20), (40, 85)], fill=0, width=8)
    picture.save(workspace.folder / "a\nseven.png")
    return workspace


def typed(workspace: Workspace, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """A command of `digits` while the disk is read-only, which it is for this process alone."""
    place = str(workspace.folder)
    mount = f'mount --bind "{place}" "{place}" && mount -o remount,ro,bind "{place}" && cd "{place}" && exec "$@"'
    return workspace.run(
        "unshare", "--mount", "sh", "-c", mount, "sh", *(sys.executable, "-m", "cli"), *arguments, code=None
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("champion",), "version 1"), (("history",), "promoted"), (("predict", "a\nseven.png"), "a\\nseven.png: ")],
)
def test_what_only_looks_works(workspace: Workspace, arguments: tuple[str, ...], said: str):
    done = typed(workspace, *arguments)
    assert done.returncode == 0 and said in done.stdout and done.stdout.count("\n") == 1, done.stderr


def test_the_rest_ends_with_one_line(workspace: Workspace):
    done = typed(workspace, "prune")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
