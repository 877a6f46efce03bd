"""Do shards go to a store of S3's kind and come back, and is a store that is broken or away one line and 75?"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import dvc_project
import numpy as np
import pytest
from workspace import ROOT

from pipeline.base import processes
from pipeline.data import splits
from pipeline.data.splits import Split

moto = pytest.importorskip("moto.server")
pytestmark = pytest.mark.system  # a server, and DVC's own commands

TRIES = 3  # of a request
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
FEWER = {"AWS_MAX_ATTEMPTS": str(TRIES)}  # than 5, with longer and longer pauses between them


class Store:
    """moto's S3, in front of which some requests for objects are answered otherwise."""

    def __init__(self) -> None:
        self.app = moto.DomainDispatcherApplication(moto.create_backend_app)
        self.method, self.path, self.faults, self.status = "", "", 0, ""
        self.lock = threading.Lock()

    def fail(self, method: str, times: int, status: str = "503 Busy", path: str = "/md5/") -> None:
        """From now on so many requests of that method for such a path fail."""
        self.method, self.path, self.faults, self.status = method, path, times, status

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        with self.lock:
            failing = self.faults > 0 and environ["REQUEST_METHOD"] == self.method and self.path in environ["PATH_INFO"]
            self.faults -= failing
        if not failing:
            answer: Iterable[bytes] = self.app(environ, start)
            return answer
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        body = b"<Error><Code>InternalError</Code><Message>it is not well</Message></Error>"
        start(self.status, [("Content-Type", "text/xml"), ("Content-Length", str(len(body)))])
        return [body]


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def project(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A DVC project whose remote is the store, with a split of three shards."""
    import boto3
    from werkzeug.serving import make_server

    for key, value in (KEYS | FEWER).items():
        monkeypatch.setenv(key, value)
    server = make_server("127.0.0.1", 0, store, threaded=True)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    boto3.client("s3", endpoint_url=address).create_bucket(Bucket=tmp_path.name.replace("_", "-"))
    place = dvc_project.make(tmp_path)
    with (place / ".dvc/config").open("a") as config:
        config.write(
            f"    remote = store\n['remote \"store\"']\n    url = s3://{tmp_path.name.replace('_', '-')}/digits\n"
            f"    endpointurl = {address}\n    read_timeout = 2\n"
        )
    monkeypatch.setattr(splits, "SHARD_IMAGES", 100)
    images = np.random.default_rng(1).integers(0, 256, (250, 28, 28), np.uint8)
    splits.save(place / "train", Split(images, images[:, 0, 0] % 10))
    subprocess.run(processes.dvc("add", "--quiet", "train"), cwd=place, check=True)
    yield place
    server.shutdown()
    thread.join()
    server.server_close()


def ask(project: Path, what: str, code: int = 0) -> str:
    """What it said, on stdout if it went well, else on stderr."""
    command = [sys.executable, "-m", "pipeline.base.dvc_store", what]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    said = done.stderr if code else done.stdout
    lines = [line for line in said.splitlines() if line.strip()]
    assert len(lines) == 1, said
    return lines[0]


def forget(project: Path) -> None:
    """As in another clone: neither the data nor DVC's cache."""
    shutil.rmtree(project / "train")
    shutil.rmtree(project / ".dvc/cache")


def test_shards_go_there_and_come_back_and_nothing_goes_twice(project: Path):
    before = splits.digests(project / "train")
    assert ask(project, "push") == "8 files pushed"  # three shards of two files, their list, the folder
    assert ask(project, "push") == "0 files pushed"
    forget(project)
    assert ask(project, "pull") == "8 files fetched"
    assert splits.digests(project / "train") == before
    splits.check(project / "train")


def test_a_store_that_fails_now_and_then_is_asked_again(project: Path, store: Store):
    before = splits.digests(project / "train")
    store.fail("PUT", TRIES - 1)
    assert ask(project, "push") == "8 files pushed" and store.faults == 0
    forget(project)
    store.fail("GET", TRIES - 1)
    assert ask(project, "pull") == "8 files fetched" and store.faults == 0
    assert splits.digests(project / "train") == before


def test_a_store_that_goes_on_failing_is_one_line_and_75(project: Path, store: Store):
    before = splits.digests(project / "train")
    store.fail("PUT", 1000)
    said = ask(project, "push", code=os.EX_TEMPFAIL)
    assert re.fullmatch(
        r"error: dvc push: the store is away or busy, \d files? did not come through \(.*it is not well.*\): run "
        r"this again later",
        said,
    )
    store.fail("PUT", 0)
    ask(project, "push")  # goes on from what is there
    forget(project)
    store.fail("GET", 1000)
    assert "dvc pull: the store is away or busy, " in ask(project, "pull", code=os.EX_TEMPFAIL)
    assert not (project / "train").exists()
    store.fail("GET", 0)
    ask(project, "pull")
    assert splits.digests(project / "train") == before


def test_a_store_that_fails_for_some_files_leaves_no_part_of_a_folder(project: Path, store: Store):
    ask(project, "push")
    md5 = hashlib.md5((project / "train/labels-00001.npy").read_bytes(), usedforsecurity=False).hexdigest()
    forget(project)
    store.fail("GET", 1000, "500 Internal Server Error", path=md5[2:])
    assert "2 files did not come through" in ask(project, "pull", code=os.EX_TEMPFAIL)  # it, and so the folder
    assert not (project / "train").exists()
    store.fail("GET", 0)
    ask(project, "pull")
    splits.check(project / "train")


def test_a_store_that_is_not_there_is_one_line_and_75(project: Path):
    config = project / ".dvc/config"
    config.write_text(re.sub(r"endpointurl = .*", "endpointurl = http://127.0.0.1:1", config.read_text()))
    assert "the store is away or busy" in ask(project, "push", code=os.EX_TEMPFAIL)


def test_what_a_person_must_mend_is_one_line_and_2(project: Path):
    config = project / ".dvc/config"
    right = config.read_text()
    config.write_text(re.sub(r"url = s3://[^/]*", "url = s3://another", right))
    assert ask(project, "push", code=2).startswith("error: dvc push: ")  # there is no such bucket
    config.write_text(right.replace("    remote = store\n", ""))
    assert "no remote" in ask(project, "push", code=2)
    config.write_text(right)
    forget(project)
    assert ask(project, "pull", code=2).startswith("error: dvc pull: ")  # it was never pushed
    assert ask(project, "fetch", code=2) == "error: say push or pull: `python -m pipeline.base.dvc_store push`"
