"""A team's server: Prefect and MLflow on a real Postgres, and promotions that lock out one another."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ports import free_port
from schedule_box import Box, set_schedule
from waiting import until
from workspace import Workspace


def binaries() -> Path | None:
    """Where Postgres' programs lie; Debian keeps them off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """A server of its own with a few empty databases; the part of their addresses before the name."""
    programs = binaries()
    if programs is None:
        pytest.skip("Postgres is not installed: apt-get install postgresql")
    folder, port = Path(tempfile.mkdtemp()), free_port()
    as_user: list[str] = []
    if os.getuid() == 0:  # Postgres does not run as root
        shutil.chown(folder, "postgres")
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    data = str(folder / "data")

    def call(program: str, *arguments: str) -> None:
        command = [*as_user, str(programs / program), *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    call("initdb", "--auth=trust", "--username=digits", "--no-sync", data)
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
    call("pg_ctl", "start", "--wait", "-D", data, "-l", str(folder / "log"), "-o", options)
    for name in ("prefect", "mlflow", "retrained"):
        call("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "digits", name)
    yield f"digits@127.0.0.1:{port}"
    call("pg_ctl", "stop", "--wait", "-m", "immediate", "-D", data)
    shutil.rmtree(folder)


def registry(postgres: str, database: str, workspace: Workspace) -> dict[str, str]:
    """The environment of a workspace whose registry is that database."""
    return {
        "MLFLOW_TRACKING_URI": f"postgresql://{postgres}/{database}",
        "DIGITS_ARTIFACTS": str(workspace.folder / "store"),
    }


@pytest.fixture(scope="module")
def workspace(postgres: str, demo: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """One that is trained, and a registry in Postgres that never saw its model."""
    workspace = demo.copy(tmp_path_factory.mktemp("postgres") / "workspace")
    (workspace.folder / "mlflow.db").unlink()
    workspace.more = registry(postgres, "mlflow", workspace)
    return workspace


def test_a_model_is_registered_and_promoted_in_postgres(workspace: Workspace):
    outcome = json.loads(workspace.digits("run", "--json").stdout)
    assert outcome["decision"]["event"] == "promoted" and outcome["champion"]["version"] == "1"
    champion = json.loads(workspace.digits("champion", "--json").stdout)
    assert champion["version"] == "1" and not list(workspace.folder.rglob("mlflow.db"))
    assert list((workspace.folder / "store").rglob("model.onnx"))


@pytest.mark.slow  # on SQLite it is tested always
def test_two_promotions_at_once_leave_one_clear_winner(workspace: Workspace):
    workspace.register_again("a challenger")
    both = [workspace.start(sys.executable, "-m", "cli", "promote", "--json") for _ in range(2)]
    events = sorted(json.loads(each.communicate()[0])["event"] for each in both)
    assert events == ["promoted", "unchanged"]
    history = json.loads(workspace.digits("history", "--json").stdout)
    champion = json.loads(workspace.digits("champion", "--json").stdout)
    promoted = [event for event in history if event["event"] == "promoted"]
    assert promoted[-1]["version"] == champion["version"] == "2"


@pytest.fixture(scope="module")
def box(postgres: str, new_workspace: Callable[[], Workspace]) -> Iterator[Box]:
    workspace = new_workspace()
    workspace.more = {
        "PREFECT_API_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{postgres}/prefect",
        **registry(postgres, "retrained", workspace),
    }
    set_schedule(workspace, None)
    box = Box(workspace)
    yield box
    if box.process.poll() is None:
        assert box.stop() == 0


@pytest.mark.slow
def test_prefect_on_postgres_takes_the_deployments_and_completes_a_run(box: Box):
    state = box.ended(box.begin("alert", kind="missed", message="no retraining came"))
    assert state["type"] == "COMPLETED", box.logs()
    assert "no retraining came" in (box.workspace.folder / "reports/alerts.jsonl").read_text()
    assert not list(box.workspace.folder.rglob("prefect.db"))


@pytest.mark.slow
def test_a_scheduled_retraining_on_postgres(box: Box):
    assert box.stop() == 0
    set_schedule(box.workspace, 5)
    box.start()
    first = until(lambda: box.having("COMPLETED"), f"a completed run\n{box.logs()}")[0]
    assert first["state"]["message"] == "version 1 promoted", box.logs()
    champion = json.loads(box.workspace.digits("champion", "--json").stdout)
    assert champion["version"] == "1" and not list(box.workspace.folder.rglob("mlflow.db"))
    assert list((box.workspace.folder / "store").rglob("model.onnx"))
