"""WHAT each step does: its modules are the stages of dvc.yaml, its folders the rooms that stages share."""

import os

# The libraries report home by default, some as they are imported: no, unless a person sets the variable otherwise.
for _name, _value in {
    "DO_NOT_TRACK": "1",  # Evidently, Prefect
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime, since 1.29 on Linux too
}.items():
    os.environ.setdefault(_name, _value)
