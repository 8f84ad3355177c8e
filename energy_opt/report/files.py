"""Writing a report to a file, whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from energy_opt.errors import OutputError


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8 to a temporary file beside `path`, then rename it over `path`.

    Raises: OutputError when the target is a directory, its folder is missing, or writing is refused.
    """
    target = Path(path)
    if target.is_dir():
        raise OutputError(f"cannot write {target}: it is a directory; give the name of a file")
    # A device such as /dev/stdout is written in place: it cannot be renamed over.
    if target.exists() and not target.is_file():
        _in_place(target, text)
        return
    # A link stays a link: the file behind it is what changes.
    target = Path(os.path.realpath(target))
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name[:60]}.", dir=target.parent)
    except FileNotFoundError:
        raise OutputError(
            f"cannot write {target}: there is no folder {target.parent}; create it first"
        ) from None
    except OSError as error:
        raise OutputError(f"cannot write {target}: {_reason(error)}") from error
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        os.chmod(name, _mode(target))
        os.replace(name, target)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {_reason(error)}") from error
    finally:
        Path(name).unlink(missing_ok=True)


def _in_place(target: Path, text: str) -> None:
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {target}: {_reason(error)}") from error


def _mode(target: Path) -> int:
    if target.exists():
        return target.stat().st_mode & 0o777
    # mkstemp makes files private; a report is an ordinary file, so the umask decides.
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
