"""The password of a checkout's own Prefect server: a random one, kept where this user alone can read it."""

import os
import secrets
import stat
from pathlib import Path

from pipeline.base import files, places
from pipeline.base.errors import BadInput

NAME = "digits"


def kept(top: Path) -> str:
    """``name:password`` of the server of the checkout ``top``, made if there is none that is this user's alone.

    :class:`BadInput` if its folder is another user's, who could then read it.
    """
    folder = top / places.PREFECT
    files.private_folder(folder)
    if folder.stat().st_uid != os.getuid():
        raise BadInput(f"{folder} belongs to another user, who could read its password: remove it, or use a clone")
    folder.chmod(0o700)  # an earlier release left it open
    return known(top) or _made(top / places.PREFECT_PASSWORD)


def known(top: Path) -> str | None:
    """What :func:`kept` made; None if there is nothing that this user alone can have written and read."""
    try:
        descriptor = os.open(top / places.PREFECT_PASSWORD, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as file:
        about = os.fstat(descriptor)
        ours = stat.S_ISREG(about.st_mode) and about.st_uid == os.getuid() and not about.st_mode & 0o077
        auth = file.read(1000).strip() if ours else ""
    return auth if auth.startswith(f"{NAME}:") else None


def _made(path: Path) -> str:
    auth = f"{NAME}:{secrets.token_urlsafe(24)}"
    with files.atomic(path) as part:
        part.touch(mode=0o600)
        part.write_text(auth + "\n", encoding="utf-8")
    return auth
