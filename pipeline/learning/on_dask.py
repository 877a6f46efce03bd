"""How are the processes of one training run on the workers of a Dask cluster?

A worker's task starts the command that :mod:`pipeline.learning.training_processes` starts, and waits for it: the worker
itself stays free to answer the scheduler, and holds no TensorFlow. When the task is cancelled, or its worker ends, so
does the process. Checkpoints and logs lie in the workspace, which all of them share.
"""

import contextlib
import functools
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from pipeline.base import cluster, errors, processes
from pipeline.base.errors import BadInput
from pipeline.learning import training_processes
from pipeline.learning.training_processes import Died

if TYPE_CHECKING:
    from distributed import Client, Future, Worker

LOOK_SECONDS = 0.5
GONE = -1  # in place of a process's exit code, where its worker went away


class Task(NamedTuple):
    """Of one worker."""

    command: Sequence[str]
    """without the Python that runs it, which is the worker's own"""
    number: int
    config: str
    """TF_CONFIG"""
    topic: str
    """on which the lines of the first process are sent"""


class Ended(NamedTuple):
    """How a process did."""

    code: int
    kind: type[BadInput]
    message: str
    """what it said was wrong, if anything"""


def run(scheduler: str, command: Sequence[str], count: int) -> None:
    """Run Python with these arguments as so many processes that fit together, each on a worker, to their end. What the
    first one says is seen.

    :class:`BadInput` if there are too few workers, or a process ended with a line of its own; TemporaryFault if the
    scheduler went away; RuntimeError if they die again and again.
    """
    with cluster.kept("train", scheduler), cluster.connected(scheduler, workers=count, threads=1) as client:
        training_processes.until_done(lambda: _fit(client, command, count), count)


def _fit(client: "Client", command: Sequence[str], count: int) -> None:
    """One attempt. :class:`Died` if a process did; then the others are ended."""
    workers, topic = _chosen(client, count), f"train-{uuid.uuid4().hex}"
    addresses = _addresses(client, workers)
    work = functools.partial(cluster.on_worker, _fit_there, workspace=str(Path.cwd()), expected=cluster.code())
    client.subscribe_topic(topic, lambda event: _say(event[1]))
    futures = []
    try:
        for number, worker in enumerate(workers):
            task = Task(command, number, training_processes.config(addresses, number), topic)
            futures.append(client.submit(work, task, workers=[worker], pure=False))
        _wait(client, workers, futures)
    finally:
        client.cancel(futures)  # which ends the processes
        client.unsubscribe_topic(topic)


def _chosen(client: "Client", count: int) -> list[str]:
    """The addresses of so many workers, on as many machines as there are."""
    with contextlib.suppress(TimeoutError):  # one that died may be on its way back
        client.wait_for_workers(count, timeout=cluster.SCHEDULER_SECONDS)
    known = sorted(client.scheduler_info(n_workers=-1)["workers"])
    if len(known) < count:
        raise BadInput(
            f"params.yaml: train.workers is {count}, but the Dask cluster has {len(known)} workers: start more, or "
            "lower it"
        )
    on_machine: Counter[str | None] = Counter()
    ranked = []
    for address in known:
        host = urlsplit(address).hostname
        ranked.append((on_machine[host], address))
        on_machine[host] += 1
    return [address for _, address in sorted(ranked)[:count]]


def _addresses(client: "Client", workers: Sequence[str]) -> list[str]:
    """Where the processes are to listen: a free port each."""
    while True:
        try:
            found = client.run(_free_address, workers=list(workers))
        except OSError:
            raise Died(0, GONE) from None
        if len({*found.values()}) == len(workers):  # two workers of one machine may find the same
            return [found[worker] for worker in workers]


def _free_address(dask_worker: "Worker") -> str:
    host = urlsplit(dask_worker.address).hostname or ""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return f"[{host}]:{probe.getsockname()[1]}" if ":" in host else f"{host}:{probe.getsockname()[1]}"


def _wait(client: "Client", workers: Sequence[str], futures: Sequence["Future"]) -> None:
    """Until all processes have ended well, or one has not."""
    waiting = dict(enumerate(futures))
    while waiting:
        for number in [number for number, future in waiting.items() if future.done()]:
            ended: Ended = waiting.pop(number).result()
            if ended.code in training_processes.SAID:
                raise ended.kind(ended.message or f"train: process {number} ended with {ended.code}: see its log")
            if ended.code:
                raise Died(number, ended.code)
        there = client.scheduler_info(n_workers=-1)["workers"]
        for number in waiting:
            if workers[number] not in there:
                raise Died(number, GONE)
        time.sleep(LOOK_SECONDS)


def _say(line: str) -> None:
    if not line.startswith(errors.SAYS):  # what is wrong is said in the end, by this process
        print(line, end="", flush=True)


# --- On a worker ----------------------------------------------------------------------------------------------------


def _fit_there(task: Task) -> Ended:
    from distributed import get_worker

    worker = get_worker()
    with errors.heard() as fault:
        env = processes.environment(TF_CONFIG=task.config, **{errors.FAULT_FILE: str(fault)})
        with processes.started([sys.executable, *task.command], env=env) as process:
            reader = threading.Thread(target=_tell, args=(process, task, worker), daemon=True)
            reader.start()
            _until_ended(process, worker)
            reader.join()
        return Ended(process.returncode, *errors.left_in(fault))


def _tell(process: "subprocess.Popen[str]", task: Task, worker: "Worker") -> None:
    """Keep what the process says in its log, and send the lines of the first one to who asked for it."""
    with (
        contextlib.suppress(ValueError),
        training_processes.log(task.number).open("w") as log,
    ):  # ValueError: it was killed
        for line in process.stdout or ():
            print(line, end="", file=log, flush=True)
            if task.number == 0:
                worker.log_event(task.topic, line)


def _until_ended(process: "subprocess.Popen[str]", worker: "Worker") -> None:
    """Wait for the process for as long as its task is wanted: another process may have died, or who asked for it."""
    from distributed import CancelledError

    task = worker.state.tasks[worker.get_current_task()]
    while process.poll() is None:
        if task.state != "executing":
            raise CancelledError
        time.sleep(LOOK_SECONDS)
