"""A registered version behind MLflow's own server, as docs/predict.md says."""

import os
import signal
import subprocess
import sys

import httpx
import numpy as np
import pytest
from ports import free_port
from waiting import WAIT, until
from workspace import Workspace

from pipeline.base import places
from pipeline.data import splits
from pipeline.learning import inference


@pytest.mark.slow
def test_mlflow_models_serve_answers_as_the_model_does(demo: Workspace):
    address = ("127.0.0.1", free_port())
    uri = f"sqlite:///{demo.folder / places.DATABASE}"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/digits-cnn@champion"]
    command += ["--env-manager", "local", "--host", address[0], "--port", str(address[1])]
    server = subprocess.Popen(
        command,
        cwd=demo.folder,
        env={**demo.environment(), "MLFLOW_TRACKING_URI": uri},
        start_new_session=True,
    )
    with httpx.Client(base_url=f"http://{address[0]}:{address[1]}", timeout=WAIT) as client:
        try:
            until(lambda: server.poll() is not None or is_ready(client), "the start")
            images = np.asarray(splits.load(demo.folder / places.PROCESSED / "test").images[:50])
            answered = client.post("/invocations", json={"inputs": images.tolist()}).json()["predictions"]
            expected = inference.answers(inference.open_model(demo.folder / places.ONNX), images)
            for name, values in expected._asdict().items():
                np.testing.assert_allclose(answered[name], values, atol=1e-5)
            assert client.post("/invocations", json={"inputs": [[1, 2, 3]]}).status_code == 400
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(WAIT)


def is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/health").is_success
    except httpx.TransportError:
        return False
