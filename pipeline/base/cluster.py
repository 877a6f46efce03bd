"""Where is work done that comes in many pieces alike? Here, or if they are many, on the workers of a Dask cluster.

A scheduler that DASK_SCHEDULER_ADDRESS or Dask's configuration names is used; else there is a local one, a process a
core, for as long as the work takes. What a worker sees of the workspace is its folder, at the same path.
"""

import contextlib
import functools
import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tqdm import tqdm

from pipeline.base import files
from pipeline.base.errors import BadInput, TemporaryFault, brief

if TYPE_CHECKING:
    from distributed import Client, Future

Piece = TypeVar("Piece")
Result = TypeVar("Result")

SCHEDULER_SECONDS = 20.0  # in which a scheduler that is there answers
FEW = 3  # pieces: a cluster takes longer to start than they take


@contextlib.contextmanager
def connected(scheduler: str | None, workers: int, threads: int) -> Iterator["Client"]:
    """A client of the scheduler at that address, or of a local cluster that ends with the block.

    :class:`BadInput` if the scheduler does not answer, or has no workers.
    """
    import dask
    from distributed import Client, LocalCluster

    if scheduler:
        try:
            client = Client(scheduler, timeout=SCHEDULER_SECONDS)
        except (OSError, ValueError) as error:  # distributed's CommClosedError and TimeoutError are OSErrors
            said = brief(error)
            raise BadInput(f"no Dask scheduler answers at {scheduler} ({said}): start it or correct it") from None
        with client:
            try:
                client.wait_for_workers(1, timeout=SCHEDULER_SECONDS)
            except TimeoutError:
                raise BadInput(f"the Dask scheduler at {scheduler} has no workers: start some") from None
            yield client
        return
    with (
        dask.config.set({"distributed.scheduler.http.routes": [], "distributed.worker.http.routes": []}),
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(
            n_workers=workers,
            threads_per_worker=threads,
            dashboard_address="127.0.0.1:0",
            security=True,  # another user of this machine could have the workers run anything
            memory_limit=0,
            local_directory=folder,
            silence_logs="CRITICAL",
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def each(work: Callable[[Piece], Result], pieces: Sequence[Piece], what: str) -> list[Result]:
    """What ``work`` gives for each of the pieces, in their order. It may be done more than once, where a worker dies in
    the middle, and leaves in files what is large.

    :class:`BadInput` as from :func:`connected`, or if a worker runs other code than this process.
    """
    address = scheduler() if pieces else None
    if len(pieces) <= FEW and not address:
        return [work(piece) for piece in pieces]
    from distributed import KilledWorker

    bar = tqdm(total=len(pieces), desc=what, unit="shard", leave=False, disable=None)
    with bar, kept(what, address), connected(address, workers=cores(), threads=1) as client:
        there = str(Path.cwd()), code()
        futures = [client.submit(on_worker, work, piece, *there, pure=False) for piece in pieces]
        try:
            waiting = set(futures)
            while waiting:
                done, waiting = _some_done(client, waiting, what)
                for future in done:
                    future.result()  # the first fault ends it all
                    bar.update()
            return [future.result() for future in futures]
        except KilledWorker as error:
            number = [future.key for future in futures].index(error.task)
            raise BadInput(
                f"{what}: shard {number} of {len(pieces)} killed every worker that tried it, the last one "
                f"{error.last_worker.address}: see its log, and whether it has enough memory"
            ) from None
        finally:
            client.cancel(futures)


@contextlib.contextmanager
def kept(what: str, scheduler: str | None) -> Iterator[None]:
    """:class:`TemporaryFault` if the scheduler goes away."""
    from distributed import CancelledError
    from distributed.comm import CommClosedError

    try:
        yield
    except (CommClosedError, CancelledError) as error:
        raise TemporaryFault(
            f"{what}: the Dask scheduler {scheduler or 'of this machine'} went away ({type(error).__name__}): "
            "start it, then run this again"
        ) from None


def _some_done(client: "Client", waiting: set["Future"], what: str) -> tuple[set["Future"], set["Future"]]:
    """Wait until one at least is done, or no worker is left; those that are done, and the others."""
    from distributed import wait

    while True:
        with contextlib.suppress(TimeoutError):
            done, others = wait(waiting, timeout=SCHEDULER_SECONDS, return_when="FIRST_COMPLETED")
            return done, others
        if not client.scheduler_info()["workers"]:
            raise TemporaryFault(
                f"{what}: no worker is left on the Dask cluster, perhaps as they run another version of the pipeline: "
                "see their logs, start some, then run this again"
            )


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))


def scheduler() -> str | None:
    """The address of the scheduler that is to be used, if one is: DASK_SCHEDULER_ADDRESS, or what Dask's own
    configuration says (https://docs.dask.org/en/stable/configuration.html). No result depends on it."""
    from dask import config

    address = os.environ.get("DASK_SCHEDULER_ADDRESS") or config.get("scheduler-address", None)
    return str(address) if address else None


def on_worker(work: Callable[[Piece], Result], piece: Piece, workspace: str, expected: str) -> Result:
    """The work, on a worker, in that folder; :class:`BadInput` if it does not see it or runs other code."""
    from distributed import get_worker

    if get_worker().state.nthreads > 1:  # the folder that a process works in is one for all of its threads
        raise BadInput(
            f"the Dask worker on {socket.gethostname()} has {get_worker().state.nthreads} threads: start it with "
            "--nthreads 1, and more of them"
        )
    if not Path(workspace).is_dir():
        raise BadInput(f"the Dask worker on {socket.gethostname()} does not see {workspace}: share that folder with it")
    if code() != expected:
        raise BadInput(
            f"the Dask worker on {socket.gethostname()} runs another version of the pipeline than this machine: bring "
            "both to the same commit, then start it anew"
        )
    os.chdir(workspace)
    return work(piece)


@functools.cache
def code() -> str:
    """The digest of the pipeline's files, as they were when the process began."""
    package = Path(__file__).parents[1]
    lines = [f"{path.relative_to(package)} {files.sha256_file(path)}" for path in sorted(package.rglob("*.py"))]
    return files.sha256_text("\n".join(lines))
