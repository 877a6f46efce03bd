"""The pages of what was made, on a registry that no training filled: models, reports, two side by side, batches."""

import re
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
import registered
from registered import IMAGES, NAME
from running import Service, problem
from waiting import until
from workspace import Workspace

from pipeline.base import files, places
from pipeline.data import splits
from pipeline.data.batches import Filed, Finding
from pipeline.data.splits import Split
from pipeline.registry import history, versions
from pipeline.registry.records import Comparison, Verdict
from serving import layout, links, pages

HOSTILE = "<script>fetch('/corrections')</script>"
REPORT = registered.PAGE.replace("It reads most", f"It reads most {HOSTILE}")
PAGES = ("/", "/models", "/monitor", "/batches", "/compare?a=2&b=3")


def verdict(champion: str | None, promote: bool = True) -> Verdict:
    met = Comparison(
        champion=champion,
        champion_accuracy=0.95,
        accuracy=0.975,
        images=IMAGES,
        only_challenger_right=1,
        only_champion_right=0,
        p_value=0.1,
        outcome="no worse",
    )
    reason = f"measured {HOSTILE}"
    return Verdict(promote=promote, reason=reason, checks=(), comparison=met if champion else None, accuracy=0.975)


def fill(workspace: Workspace) -> None:
    """Three versions: one of a release that kept no report, two champions; another model's; batches."""
    client = versions.connect()
    folder = workspace.folder
    digits = np.zeros((IMAGES, 28, 28), np.uint8)
    digits[np.arange(IMAGES), np.arange(IMAGES) % 28] = 255
    splits.save(folder / places.PROCESSED / "test", Split(digits, (np.arange(IMAGES) % 10).astype(np.uint8)))
    test = splits.digests(folder / places.PROCESSED / "test")
    for name, misread, page in (("a", (), None), ("b", (3, 14), REPORT), ("c", (14,), REPORT)):
        registered.version(client, folder / "models" / name, misread, page, test)
    for number, met in (("2", None), ("3", "2")):
        history.crown(client, versions.version(client, NAME, number), verdict(met), reason=HOSTILE)
    client.create_registered_model("other-cnn")
    for _ in range(5):
        client.create_model_version("other-cnn", str(folder / "models/a"))
    filed = {"at": "2026-01-02T03:04:05+00:00", "by": HOSTILE, "source": f"/home/ada/{HOSTILE[1:8]}.npz"}
    accepted = Filed(event="accepted", batch="b-1", dataset="digits", counts={"train": 90, "recent": 10}, **filed)
    removed = Filed(event="removed", batch="b-0", reason="poison", accepted_at=filed["at"], accepted_by="Bo", **filed)
    findings = tuple(Finding(key="k", message=f"reason {number} {HOSTILE}") for number in range(5))
    refused = Filed(event="quarantined", batch="b-2", findings=findings, **filed)
    files.write_json(folder / places.BATCHES / "b-1" / places.BATCH_FACTS, accepted.as_json())
    files.append_json_line(folder / places.REMOVED, removed.as_json())
    files.write_json(folder / places.QUARANTINE / "b-2-1" / places.QUARANTINE_REPORT, refused.as_json())


@pytest.fixture(scope="module")
def workspace(empty_registry: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = Workspace.new(tmp_path_factory.mktemp("pages") / "workspace")
    shutil.copy(empty_registry, workspace.folder)
    with pytest.MonkeyPatch.context() as there:
        there.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace.folder}/mlflow.db")
        there.setenv("DIGITS_USER", HOSTILE)
        fill(workspace)
    return workspace


@pytest.fixture(scope="module")
def service(workspace: Workspace) -> Iterator[Service]:
    running = Service(workspace)
    running.ready()
    yield running
    assert running.stop(signal.SIGTERM) == 0  # as a supervisor ends it
    assert "Traceback" not in running.log and "leaked" not in running.log


def told(service: Service, path: str) -> httpx.Response:
    """What the page says once the registry was asked: its process takes seconds to start."""

    def answered() -> httpx.Response | None:
        found = service.client.get(path)
        return None if found.status_code == 503 else found

    return until(answered, f"an answer to {path}")


@pytest.mark.parametrize("path", PAGES)
def test_every_page_has_the_same_way_to_all_others_and_runs_no_script_of_data(service: Service, path: str):
    found = told(service, path)
    assert found.status_code == 200 and "'unsafe-inline'" not in found.headers["content-security-policy"]
    ways = re.findall(r'<a href="([^"]+)"(?: aria-current="page")?>', found.text.partition("</nav>")[0])
    assert ways == [address for address, _ in layout.PAGES]
    assert found.text.count('aria-current="page"') == (1 if path in ways else 0)
    assert '<a class="skip" href="#main">' in found.text and found.text.count('<main id="main"') == 1
    assert "<script>" not in found.text and " style=" not in found.text and "<style" not in found.text


@pytest.mark.parametrize("path", ["/", "/models", "/health", "/page/style.css"])
def test_head_is_answered_as_get_is_without_the_body(service: Service, path: str):
    length = told(service, path).headers["content-length"]
    found = service.client.head(path)
    assert found.status_code == 200 and not found.content and found.headers["content-length"] == length


def test_side_by_side_are_champion_and_challenger_unless_others_are_named(service: Service):
    assert "digits-cnn has no version challenger" in told(service, "/compare").text


def test_what_the_page_to_draw_on_says_holds_for_images_of_any_classes(service: Service):
    page = service.client.get("/").text
    said = [*re.findall(r">([^<]+)<", page), *re.findall(r'aria-label="([^"]+)"', page)]
    assert "Read a picture" in said and not [words for words in said if "digit" in words.lower()]


def test_models_are_listed_with_what_became_of_each(service: Service):
    page = told(service, "/models").text
    assert "Version 3 is champion" in page
    rows = page.partition("<tbody>")[2].split("<tr>")[1:]
    assert [re.search(r'"row">(\d)', row)[1] for row in rows] == ["3", "2", "1"]  # type: ignore[index]
    assert (
        "97.50%" in rows[0] and "95.5% to 100.0%" in rows[0] and "Promoted" in rows[0] and "champion</span>" in rows[0]
    )
    assert 'href="/reports/3/"' in rows[0] and 'href="/compare?a=2&amp;b=3"' in rows[0]
    assert "not judged yet" in rows[2] and 'href="/compare?a=3&amp;b=1"' in rows[2]
    assert page.count("<circle") == 2 and "&lt;script&gt;" in rows[0]


def test_older_models_are_on_further_pages(service: Service):
    page = told(service, "/models?before=3").text
    assert re.findall(r'"row">(\d)', page) == ["2", "1"] and 'href="/models"' in page
    assert "There is none older than that" in told(service, "/models?before=1").text
    assert problem(service.client.get("/models?before=0"), 422)


@pytest.mark.parametrize("path", ["/reports/3/", "/reports/champion/"])
def test_a_version_s_own_report_is_shown_with_what_became_of_it_in_the_sandbox(service: Service, path: str):
    found = told(service, path)
    policy = found.headers["content-security-policy"]
    assert policy.startswith("sandbox ") and "default-src 'none'" in policy
    assert not re.search("allow-same-origin|allow-scripts|script-src|http", policy)
    frame, _, report = found.text.partition("<h1>")
    assert report.startswith("It reads most")
    assert "digits-cnn version 3" in frame and "champion" in frame and "commit 0123456789ab" in frame
    assert re.search(r"registered <time[^>]+>\d+ \w+ \d{4}, \d\d:\d\d UTC", frame)
    assert "measured &lt;script&gt;" in frame and "<script" not in frame
    assert "Beside version 2" in frame and "97.50% against 95.00%" in frame and "/compare?a=2&amp;b=3" in frame
    assert frame.index("<body>") < frame.index("digits-frame")


def test_the_address_without_a_slash_leads_to_the_report_and_tables_are_kept_too(service: Service):
    led = service.client.get("/reports/2")
    assert led.status_code == 307 and led.headers["location"] == "/reports/2/"
    table = told(service, "/reports/2/evaluation/mistakes.csv")
    assert table.text.startswith("index,true") and table.headers["content-type"].startswith("text/csv")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/reports/1/", "version 1 was registered before reports were kept with versions"),
        ("/reports/4/", "digits-cnn has no version 4"),  # another model has one
        ("/reports/challenger/", "digits-cnn has no version challenger"),
        ("/reports/2/evaluation/nothing.csv", "was registered without"),
        ("/reports/2/evaluation/predictions.npy", "there is no such table"),
        ("/reports/2/evaluation/..%2f..%2flineage%2fmanifest.json", "of a version the report and its tables are kept"),
        ("/reports/2/..%2f..%2f..%2fmlflow.db", "of a version the report and its tables are kept"),
        ("/reports/2/%2fetc%2fpasswd", "of a version the report and its tables are kept"),
        ("/reports/2/drift.html", "of a version the report and its tables are kept"),
        ("/compare?a=2&b=7", "has no version 7"),
        ("/compare?a=3&b=champion", "are both version 3"),
        ("/compare?a=1&b=challenger", "has no version challenger"),
    ],
)
def test_what_is_not_there_is_one_line_and_nothing_else_of_the_store(service: Service, path: str, words: str):
    found = told(service, path)
    assert found.status_code == 404 and words in found.text
    assert found.text.count("<p") == 1 and "digests" not in found.text


@pytest.mark.parametrize("name", ["0", "01", "-1", "1.0", "9" * 10, "9" * 5000, "champion%20", "Champion", "%D9%A1"])
def test_what_is_no_version_is_no_page_of_one(service: Service, name: str):
    assert problem(service.client.get(f"/reports/{name}/"), 404)
    assert problem(service.client.get("/compare", params={"a": name, "b": "2"}), 422)


def test_two_versions_stand_side_by_side_with_what_one_alone_reads(service: Service):
    page = told(service, "/compare?a=2&b=3").text
    assert "Version 2 beside version 3" in page and "no look at the held-out images is spent" in page
    assert page.count('<img src="data:image/png;base64,') == 1 and "3, read as 4" in page
    assert "version 2 alone reads 0 right and version 3 alone reads 1 right; both misread 1" in page
    other_images = told(service, "/compare?a=1&b=3").text
    assert "version 1 alone reads 1 right" in other_images and "4, read as 5" in other_images


def test_batches_are_listed_with_who_and_why_and_without_where_they_lay(service: Service):
    page = service.client.get("/batches").text
    assert "1 in use, 1 taken out again,\n1 refused" in page
    assert "poison" in page and "Bo" in page and "2 Jan 2026, 03:04 UTC" in page
    assert "reason 2 &lt;script&gt;" in page and "reason 3" not in page and "and 2 more" in page
    assert "/home/ada" not in page and "<script" not in page


@pytest.mark.system
def test_while_the_registry_is_busy_pages_show_what_it_last_said_and_predictions_go_on(workspace: Workspace):
    service = Service(workspace)
    service.ready()
    assert told(service, "/models").status_code == 200
    with closing(sqlite3.connect(workspace.folder / "mlflow.db", isolation_level=None)) as busy:
        busy.execute("BEGIN EXCLUSIVE")
        until(lambda: "this is of " in service.client.get("/models").text, "what it last said")
        assert "Version 3 is champion" in service.client.get("/models").text
        new = service.client.get("/reports/2/")
        assert new.status_code == 503 and new.text.count("<p") == 1
        assert new.headers["retry-after"] == new.headers["refresh"] == "2"
        assert service.predict(np.eye(28, dtype=np.uint8)[None] * 255)["version"] == "3"
    assert told(service, "/reports/2/").status_code == 200
    assert service.stop() == 0


@pytest.mark.system
def test_what_asks_the_registry_starts_with_a_page_and_ends_with_the_service(workspace: Workspace):
    service = Service(workspace)
    service.ready()

    def asking() -> list[psutil.Process]:
        return [each for each in service.family() if any("spawn_main" in word for word in each.cmdline())]

    assert asking() == []
    told(service, "/models")
    (process,) = asking()
    process.kill()
    told(service, "/models?before=3")  # by another
    (process,) = until(lambda: [each for each in asking() if each.pid != process.pid], "another process")
    service.process.send_signal(signal.SIGKILL)
    service.process.wait()
    until(lambda: not psutil.pid_exists(process.pid) or process.status() == psutil.STATUS_ZOMBIE, "its end")


# --- addresses, and the picture ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://digits:secret@mlflow.example:5000/", "http://mlflow.example:5000"),
        ("https://mlflow.example/base", "https://mlflow.example/base"),
        ("sqlite:///mlflow.db", None),
        ("postgresql://a:b@db/mlflow", None),
        ("http://", None),
        ("http://[", None),
    ],
)
def test_mlflow_s_address_is_shown_without_its_password(monkeypatch: pytest.MonkeyPatch, uri: str, shown: str | None):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert links.mlflow() == shown


def test_prefect_s_address_is_that_of_a_schedule_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DIGITS_HOME", str(tmp_path))
    monkeypatch.delenv("PREFECT_UI_URL", raising=False)
    files.write_text(tmp_path / places.PREFECT_ADDRESS, "http://127.0.0.1:4200/api\n")
    assert links.prefect() is None  # it was killed, or has ended
    files.write_text(tmp_path / places.PREFECT_RUNNING, "1")
    assert links.prefect() == "http://127.0.0.1:4200"
    monkeypatch.setenv("PREFECT_UI_URL", "https://name:word@prefect.example")
    assert links.prefect() == "https://prefect.example"
    monkeypatch.setenv("PREFECT_UI_URL", "javascript:alert(1)")
    assert links.prefect() is None


def test_a_better_champion_stands_higher_on_the_stairs_and_one_of_unknown_accuracy_nowhere():
    reigns = [
        {"version": str(number), "accuracy": accuracy, "event": "promoted", "at": ""}
        for number, accuracy in enumerate((0.9, None, 0.95, 0.95, 0.93))
    ]
    drawn = pages.staircase(reigns)
    heights = [stair["y"] for stair in drawn["stairs"]]
    assert [stair["version"] for stair in drawn["stairs"]] == ["0", "2", "3", "4"]
    assert heights[0] > heights[3] > heights[1] == heights[2] > 0 and heights[0] < pages.HEIGHT
    assert [mark["label"] for mark in drawn["marks"]] == ["90.00%", "92.50%", "95.00%"]
    assert pages.staircase([])["stairs"] == []


@pytest.mark.parametrize(
    "at", ["2026-11-27T11:03:00+00:00", "2026-11-27T12:03:00+01:00", "2026-11-27T11:03:00", 1795777380]
)
def test_a_time_is_told_as_a_person_reads_it(at: str | float):
    assert layout.day(at) == "27 Nov 2026, 11:03 UTC" and layout.iso(at) == "2026-11-27T11:03:00+00:00"


@pytest.mark.parametrize("at", ["", "yesterday", 1e300])
def test_what_is_no_time_stays_as_it_is(at: str | float):
    assert layout.day(at) == str(at) and layout.iso(at) == ""
