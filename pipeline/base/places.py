"""Where does everything lie? Every path, file name and address, spelt once.

Paths are relative to the workspace, the folder that holds params.yaml; what all workspaces of a registry share (alerts,
what was seen in use, locks) lies in :func:`home`.
"""

import os
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

PARAMS = Path("params.yaml")
DVC_YAML = Path("dvc.yaml")
DVC_LOCK = Path("dvc.lock")
DVC_TMP_LOCK = Path(".dvc/tmp/rwlock")

# --- data/ ------------------------------------------------------------------------------------------------------------

RAW = Path("data/raw")
MANIFEST = RAW / "manifest.json"
FORM = "form.json"  # in data/raw and data/processed: the images' kind, shape and classes
FEATURES = Path("data/features")
PROCESSED = Path("data/processed")
BATCHES = Path("data/batches")  # a folder an accepted batch, whole from the moment it is there
BATCH_FACTS = "batch.json"  # in it
REMOVED = BATCHES / "removed.jsonl"  # a line a batch that was taken out again
QUARANTINE = Path("data/quarantine")
QUARANTINE_REPORT = "report.json"  # in a quarantined batch's folder
SUSPECTS_PAGE = "suspects.html"  # in it too
DECISIONS = "decisions.json"
CORRECTIONS = Path("data/corrections")
CORRECTIONS_KEPT = CORRECTIONS / "kept.json"  # the images whose doubted label a person upheld
CORRECTIONS_SHOWN = CORRECTIONS / "shown.json"  # the doubted ones in the order of the page, which a person goes by
LABELLING = Path("data/labelling")  # in home(): a folder a time that people were asked for labels
DOWNLOAD = Path("data/download")
SEEN = Path("data/live.db")  # in home()

# --- models/ ----------------------------------------------------------------------------------------------------------

KERAS = Path("models/model.keras")
ONNX = Path("models/model.onnx")
WEIGHTS_DIGEST = Path("models/weights.sha256")
CHECKPOINTS = Path("models/checkpoints")  # no DVC output: DVC removes those before a stage runs
TIMING = Path("models/timing.json")  # no DVC output either: seconds are no function of what a stage reads

# --- reports/ ---------------------------------------------------------------------------------------------------------

REPORTS = Path("reports")
REPORT_PAGE = REPORTS / "index.html"
VALIDATION = REPORTS / "validation.json"
DATA_DOCS = REPORTS / "validation"
HISTORY = REPORTS / "history.csv"
CURVES = REPORTS / "curves.png"
TRAINING = REPORTS / "training.json"
METRICS = REPORTS / "metrics.json"
EVALUATION = REPORTS / "evaluation"
DRIFT = REPORTS / "drift.json"
DRIFT_PAGE = REPORTS / "drift.html"
REGISTRATION = REPORTS / "registration.json"
STUDIES = REPORTS / "studies"
ALERTS = REPORTS / "alerts.jsonl"  # in home()
LOOKS = REPORTS / "looks.jsonl"  # in home(): models that evaluate measured on the held-out images
VERDICT_PAGE = REPORTS / "verdict.html"
WINDOWS = REPORTS / "monitor/windows.jsonl"  # in home()

# --- In a registered version's files, and in its run's ----------------------------------------------------------------

VERSION_ONNX = "model.onnx"
VERSION_PINNED = "extra_files/pinned.npz"  # a batch of images and what the model answered to it
VERSION_REFERENCE = "extra_files/reference.parquet"  # what the monitor compares with
VERSION_KERAS = "extra_files/model.keras"
VERSION_CARD = "extra_files/MODEL_CARD.md"
RUN_LINEAGE = "lineage"  # the folder with RECORDED
RUN_REPORTS = "reports"
RUN_EVALUATION = f"{RUN_REPORTS}/evaluation"  # the folder with what lay in EVALUATION then
RUN_PAGE = f"{RUN_REPORTS}/index.html"  # REPORT_PAGE
RECORDED = (PARAMS, DVC_LOCK, DVC_YAML, MANIFEST)

# --- The registry, and what is kept beside the work -------------------------------------------------------------------

DATABASE = Path("mlflow.db")
ARTIFACTS = Path("mlartifacts")  # not mlruns: a folder of that name flips MLflow's default back to its file store
VERSIONS = Path(".cache/versions")  # in home(): copies of versions whose store is elsewhere
RECORDS = Path(".cache/records")  # in home(): copies of what their runs recorded
TABLES_LOCK = Path(".cache/tables.lock")  # in home()
REGISTRATION_LOCK = Path(".cache/registration.lock")  # in home()
REGISTRY_LOCK = Path(".cache/registry.lock")  # in home()
SNAPSHOTS = Path(".cache/registry")  # in home(): what the registry said of each model
UNCHANGED = Path(".cache/unchanged")  # in the workspace: what its last run that found nothing to do came to
ANSWERS = Path(".cache/answers")  # in home(): what models that served read in the images that are held out now
SERVING_CACHE = Path(".cache/serving.json")
REGISTRY_EVENT = Path(".cache/registry_event")  # in home(): touched when MLflow's server says that an alias has moved
LIVE_RUN = Path(".cache/live_run")  # the id of the MLflow run that shows the training in this workspace
BATCHES_LOCK = Path(".cache/batches.lock")
RETRAIN = Path(".cache/retrain")  # the worktree in which scheduled retrainings work
RETRAIN_LOCK = Path(".cache/retrain.lock")  # held by one while it works
PREFECT = Path(".cache/prefect")  # the state of `make schedule`
PREFECT_ADDRESS = PREFECT / "api_url"  # where it writes down its server's
PREFECT_PASSWORD = PREFECT / "password"  # name:password of its server, for this user alone
PREFECT_RUNNING = PREFECT / "running"  # there while it runs; `make` removes it on Ctrl-C
PREFECT_LOGS = PREFECT / "logs"
PREFECT_LOCK = PREFECT / "box.lock"
PREFECT_DEPLOYED = PREFECT / "deployed"  # the digest of the prefect.yaml that the server knows, and its place
PREFECT_YAML = Path("prefect.yaml")

LOOPBACK = "127.0.0.1"
_SQLITE = "sqlite:///"


def tracking_uri(workspace: Path = Path()) -> str:
    """MLFLOW_TRACKING_URI if set, else the workspace's own SQLite file; a relative path there is the workspace's."""
    given = os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}{DATABASE}"
    if not given.startswith(_SQLITE):
        return given
    return f"{_SQLITE}{(workspace / given.removeprefix(_SQLITE)).resolve()}"


def public(address: str) -> str | None:
    """An address of the web as people may be shown it, without who logs in there; None for any other."""
    try:
        found = urlsplit(address)
    except ValueError:
        return None
    if found.scheme not in ("http", "https") or not found.hostname:
        return None
    return urlunsplit((found.scheme, found.netloc.rpartition("@")[2], found.path.rstrip("/"), "", ""))


def registry_file() -> Path | None:
    """The registry's SQLite file; None where the registry is something else."""
    uri = tracking_uri()
    return Path(uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else None


def checkout() -> Path:
    """The checkout that scheduled runs serve: DIGITS_HOME if set, else the folder that this runs in."""
    return Path(os.environ.get("DIGITS_HOME", ".")).resolve()


def home() -> Path:
    """The folder of what all workspaces of one registry share: that of its SQLite file, else the checkout."""
    database = registry_file()
    return database.parent if database else checkout()
