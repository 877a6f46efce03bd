"""The team's server and CI as they are written down: pinned images, no password that everybody knows, no open port."""

import re
from typing import Any

import pytest
import yaml
from workspace import ROOT

COMPOSE = (ROOT / "compose.yaml").read_text(encoding="utf-8")
SERVICES: dict[str, Any] = yaml.safe_load(COMPOSE)["services"]
REQUIRED = set(re.findall(r"\$\{(\w+):\?", COMPOSE))
EXAMPLE = dict(
    line.split("=", 1) for line in (ROOT / ".env.example").read_text().splitlines() if re.match(r"\w+=", line)
)


def test_images_are_pinned_by_digest():
    named = [service["image"] for service in SERVICES.values() if "image" in service]
    named += re.findall(r"(?m)^FROM (\S+)", (ROOT / "Dockerfile").read_text())
    assert len(named) == 4
    for image in named:
        assert re.fullmatch(r"\S+:\S+@sha256:[0-9a-f]{64}", image), image


def test_actions_are_pinned_by_commit():
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        used = re.findall(r"uses: (\S+)", path.read_text())
        assert used and all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action) for action in used), path


def test_the_example_chooses_no_secret_and_what_it_leaves_open_is_refused():
    assert not any(EXAMPLE.values())
    assert set(EXAMPLE) >= REQUIRED
    assert {name for name in EXAMPLE if re.search("PASSWORD|SECRET|AUTH|KEY|USER", name)} == REQUIRED
    assert set(re.findall(r"\$\{(\w+)", COMPOSE)) == set(EXAMPLE)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_listens_on_loopback_and_takes_no_password_as_an_argument(service: str):
    """Every user of the machine may read a process's arguments."""
    told = SERVICES[service]
    assert all(port.startswith("127.0.0.1:") for port in told.get("ports", []))
    arguments = " ".join(map(str, [*told.get("entrypoint", []), *told.get("command", [])]))
    assert not set(re.findall(r"\$\{(\w+)", arguments)) & REQUIRED


def test_prefect_and_mlflow_ask_for_a_password():
    assert "flows.server" in SERVICES["prefect"]["entrypoint"]
    assert "PREFECT_SERVER_API_AUTH_STRING" in SERVICES["prefect"]["environment"]
    assert "--app-name=basic-auth" in SERVICES["mlflow"]["entrypoint"]


def test_mlflow_as_the_docs_start_it_answers_to_its_own_names_alone():
    """MLflow's default lets whatever name begins like a private address in, which a DNS record may point here."""
    from mlflow.server.security_utils import get_default_allowed_hosts, is_allowed_host_header

    started = [
        found
        for page in (ROOT / "docs").glob("*.md")
        for found in re.findall(r"`(mlflow server .*?)`", page.read_text())
    ]
    assert len(started) == 3
    for command in started:
        named = re.search(r"--allowed-hosts (\S+)", command)
        allowed = named[1].split(",") if named else get_default_allowed_hosts()
        for host in ("192.168.evil.example:5000", "10.evil.example", "evil.example"):
            assert not is_allowed_host_header(allowed, host), command
