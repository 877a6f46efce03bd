"""`dvc push` and `dvc pull`, for what runs on its own: one line on a store that fails, and exit code 75 if it may pass.

    python -m pipeline.base.dvc_store push        python -m pipeline.base.dvc_store pull

DVC tries each request again itself, then says a line a file, and ends with 1 or 255 whatever it was. What has come
through stays in the store or in DVC's cache, so that the next try goes on from there; the workspace is changed once all
of it is here.
"""

import errno
import logging
import sys
from typing import NoReturn

from pipeline.base.errors import BadInput, TemporaryFault, brief, chain, one_line
from pipeline.base.words import counted

_AWAY = {  # by the names of their classes, as which of them there are is the store's matter
    *("botocore.exceptions.HTTPClientError", "botocore.exceptions.ConnectionError"),
    *("aiohttp.client_exceptions.ClientError", "requests.exceptions.RequestException"),
}
_PASSING = {errno.EBUSY, errno.ETIMEDOUT, errno.EREMOTEIO}  # what s3fs makes of SlowDown, RequestTimeout, InternalError


class _Heard(logging.Handler):
    """Keeps the errors that DVC logs of single files, instead of a line each."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1]:
            self.errors.append(record.exc_info[1])


def run(what: str) -> str:
    """Push or pull all that dvc.lock and the .dvc files of this folder name, and say what came of it.

    :class:`TemporaryFault` if the store does not answer, or answers that it cannot for now; :class:`BadInput` for all
    else that DVC finds wrong.
    """
    from dvc.exceptions import CheckoutError, DownloadError, DvcException, UploadError
    from dvc.repo import Repo

    heard = _Heard()
    for name in ("dvc", "dvc_data", "dvc_objects"):
        logging.getLogger(name).handlers = [heard]
    try:
        with Repo() as repo:
            if what == "push":
                return f"{counted(repo.push(), 'file')} pushed"
            return f"{counted(repo.pull()['stats']['fetched'], 'file')} fetched"
    except (UploadError, DownloadError) as error:
        _fail(what, f"{counted(error.amount, 'file')} did not come through", heard.errors)
    except CheckoutError as error:
        _fail(what, f"the store lacks {', '.join(error.target_infos)}, or they cannot be laid down here", heard.errors)
    except Exception as error:  # s3fs lets some of botocore's through
        errors = [*heard.errors, error]
        if isinstance(error, DvcException | OSError) or _pass(errors):
            _fail(what, "nothing came through", errors)
        raise


def _fail(what: str, happened: str, errors: list[BaseException]) -> NoReturn:
    why = f" ({brief(errors[0])})" if errors else ""
    if _pass(errors):
        raise TemporaryFault(f"dvc {what}: the store is away or busy, {happened}{why}: run this again later")
    raise BadInput(f"dvc {what}: {happened}{why}: mend that and run this again")


def _pass(errors: list[BaseException]) -> bool:
    return any(_may_pass(one) for error in errors for one in chain(error))


def _may_pass(error: BaseException) -> bool:
    """Whether the store did not answer, or said that the fault is its own."""
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}
    answer = getattr(error, "response", None)
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) if isinstance(answer, dict) else 0
    passing = isinstance(error, OSError) and error.errno in _PASSING
    return passing or status >= 500 or isinstance(error, ConnectionError | TimeoutError) or bool(names & _AWAY)


def main(arguments: list[str]) -> None:
    if arguments not in (["push"], ["pull"]):
        raise BadInput("say push or pull: `python -m pipeline.base.dvc_store push`")
    print(run(arguments[0]))


if __name__ == "__main__":
    with one_line():
        main(sys.argv[1:])
