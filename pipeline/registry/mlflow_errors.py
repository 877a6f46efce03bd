"""What is a person told of an error that MLflow, or the database below it, raised? Without importing either."""

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.base import errors
from pipeline.base.errors import BadInput, TemporaryFault

_AWAY = {  # by the names of their classes: who raised them has imported them, and nobody else need
    *("requests.exceptions.ConnectionError", "requests.exceptions.Timeout", "requests.exceptions.RetryError"),
    *("psycopg2.OperationalError", "psycopg2.InterfaceError"),
    *("botocore.exceptions.HTTPClientError", "botocore.exceptions.ConnectionError"),
}
_ANSWER = "mlflow.exceptions.RestException"
_UNAVAILABLE = {"TEMPORARILY_UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"}
_BUSY = {"SQLITE_BUSY", "SQLITE_LOCKED"}


@contextmanager
def explained() -> Iterator[None]:
    """Has what the registry raises in the block end the process with one line."""
    try:
        yield
    except Exception as error:
        if fault := of(error):
            raise fault from None
        raise


def of(error: Exception) -> BadInput | None:
    """:class:`TemporaryFault` for a registry that does not answer, :class:`BadInput` for what it refuses; None if the
    error is not the registry's, or is the disk's."""
    kinds = [kind for kind in type(error).__mro__ if kind.__module__.startswith(("mlflow.", "sqlalchemy."))]
    if not kinds or errors.disk_fault(error):
        return None
    said = errors.brief(error)
    if is_away(error):
        return TemporaryFault(f"the registry (MLFLOW_TRACKING_URI) does not answer: {said}: try again later")
    return BadInput(f"the registry (MLFLOW_TRACKING_URI) cannot do that: {said}")


def is_away(error: BaseException) -> bool:
    """Whether the registry, or the store of its files, did not answer for now."""
    return any(_says_away(one) for one in errors.chain(error))


def _says_away(error: BaseException) -> bool:
    if getattr(error, "sqlite_errorname", "") in _BUSY:
        return True
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}
    # Of a server's answer alone: a database's missing table is "temporarily unavailable" to MLflow too.
    unavailable = _ANSWER in names and getattr(error, "error_code", "") in _UNAVAILABLE
    return unavailable or bool(names & _AWAY)
