"""What is answered to requests for files?"""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from serving import security_headers


@pytest.mark.parametrize("kind", [security_headers.Files, security_headers.Reports])
@pytest.mark.parametrize("asked", ["bytes=0-1", "bytes=9-3", "bytes=999-", "lines=1", "bytes=0-1,1-2"])
def test_files_are_given_whole_whatever_part_is_asked_for(
    tmp_path: Path, kind: type[security_headers.Files], asked: str
):
    (tmp_path / "page.html").write_text("whole")
    answer = TestClient(kind(directory=tmp_path)).get("/page.html", headers={"range": asked})
    assert (answer.status_code, answer.text) == (200, "whole") and answer.headers["accept-ranges"] == "none"
