"""Writing a file at once or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path


def write(path: str | os.PathLike[str], pieces: Iterable[bytes | memoryview]) -> None:
    """Write ``pieces`` to ``path``; whoever reads finds the former file or the new one, whole.

    They go to a temporary file in the same folder, are flushed to the disk, and take the name in
    one step. If that fails, the former file stays and the temporary one is removed.

    Parameters
    ----------
    path : path-like
        A link is followed.
    pieces : iterable of bytes-like

    Raises
    ------
    OSError
        If the folder is missing or cannot be written to, if the disk is full, or if ``path`` is
        a folder or a device.
    """
    target = Path(os.path.realpath(path))
    _check_target(target)
    temporary = target.with_name(f".aedetect-{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, temporary)
        temporary.replace(target)
    except OSError as error:  # which names the temporary file, or none
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    _flush_folder(target.parent)


def _check_target(target: Path) -> None:
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "Not a regular file", str(target))


def _flush_folder(folder: Path) -> None:
    """Flush the folder's entries, where the system can; else a power cut may undo the renaming."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
