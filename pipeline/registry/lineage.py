"""What made a version? The commit, the data and the machine, as they are recorded with it."""

import os
import platform
from pathlib import Path

import yaml

from pipeline.base import places, processes

_RECORDED_ANYWAY = (f":(exclude){places.PARAMS}", f":(exclude){places.DVC_LOCK}")


def data_digests(lock: Path = places.DVC_LOCK) -> dict[str, str]:
    """DVC's MD5 of what ingest and preprocess left, from dvc.lock: ``{"dvc.data/raw/train": …}``."""
    if not lock.is_file():
        return {}
    stages = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"]
    outs = [out for stage in ("ingest", "preprocess") for out in stages.get(stage, {}).get("outs", [])]
    return {f"dvc.{out['path']}": out["md5"] for out in outs}


def git_commit() -> dict[str, str]:
    """The commit and whether the checkout's code differs from it; empty where there is no git or no commit.

    params.yaml and dvc.lock do not count: they are recorded as they were.
    """
    try:
        commit = processes.call(["git", "rev-parse", "HEAD"]).strip()
        changed = processes.call(["git", "status", "--porcelain", "-uno", "--", ".", *_RECORDED_ANYWAY])
    except (OSError, processes.Failed):
        return {}
    return {"git_commit": commit, "git_clean": str(not changed.strip()).lower()}


def machine() -> str:
    """The type of machine, of which the weights' last bits depend: processor and number of cores."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text(encoding="utf-8").splitlines() if cpu.is_file() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{platform.machine()}, {named[0] if named else platform.processor()}, {os.cpu_count()} cores"
