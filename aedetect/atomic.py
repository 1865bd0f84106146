"""Write files atomically: a reader finds the whole file or none."""

from __future__ import annotations

import errno
import glob
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces ``path`` once all of it is on the disk.

    Until then ``path`` keeps its old content, even after an error, a full disk, a killed process or
    a power cut. A reader finds the old file or the new one, never a part.

    Parameters
    ----------
    path : path-like
        The file to replace or create. Its folder must exist. A link is followed.

    Yields
    ------
    file : binary file
        Open for writing, in the folder of ``path``.

    Raises
    ------
    OSError
        If the file cannot be written, or ``path`` is a folder or a device; the error names
        ``path``.
    """
    target = Path(os.path.realpath(path))
    _check_target(target, path)
    partial = target.with_name(f".{target.name}.{os.getpid()}-{threading.get_ident()}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, partial)
        partial.replace(target)
    except OSError as error:  # it names the temporary file or none, so name the target
        raise OSError(
            error.errno,
            f"{error.strerror or error}. The file could not be written, and its old content"
            " remains. Free space, or choose a folder that exists and can be written to",
            os.fspath(path),
        ) from error
    finally:
        with suppress(OSError):  # let the first error pass
            partial.unlink(missing_ok=True)
    _sync_folder(target.parent)


def remove_partial(path: str | os.PathLike[str]) -> None:
    """Remove the temporary files of processes that were killed while writing ``path``."""
    target = Path(os.path.realpath(path))
    for partial in target.parent.glob(f".{glob.escape(target.name)}.*.partial"):
        partial.unlink(missing_ok=True)


def _check_target(target: Path, path: str | os.PathLike[str]) -> None:
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "Not a regular file", os.fspath(path))


def _sync_folder(folder: Path) -> None:
    """Flush the folder's entries where the system can, or a power cut may undo the renaming."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
