"""Writing a result to a file, whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from energy_opt.errors import OutputError


def write_whole(path: str | Path, data: bytes) -> None:
    """Write a file so that it is there whole, or as it was before: under another name first, then renamed.

    Raises:
        OutputError: the target is a directory, its folder is missing, or writing is refused.
    """
    try:
        target = os.path.realpath(path)  # a link stays a link: the file behind it is what changes
        if os.path.isdir(target):
            raise OutputError(f"{path}: a directory; name a file in it")
        if os.path.exists(target) and not os.path.isfile(target):
            # A device such as /dev/stdout cannot be renamed over.
            Path(path).write_bytes(data)
        else:
            _replace(target, data)
    except (OSError, ValueError) as error:
        raise unwritable(path, error) from None


def unwritable(path: str | Path, error: Exception) -> OutputError:
    """What to tell a user whose file cannot be written."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    advice = "choose another target"
    if isinstance(error, FileNotFoundError):
        advice = "make the folder first"
    elif isinstance(error, PermissionError):
        advice = "choose a folder that you may write to"
    return OutputError(f"{path}: cannot be written ({reason.lower()}); {advice}")


def _replace(target: str, data: bytes) -> None:
    draft = os.path.join(os.path.dirname(target), f".{secrets.token_hex(8)}.tmp")
    # Not tempfile: a result has the permissions that the user's other files have.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(draft, flags, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(target):
            os.chmod(draft, stat.S_IMODE(os.stat(target).st_mode))
        os.replace(draft, target)
    except BaseException:
        os.unlink(draft)
        raise
