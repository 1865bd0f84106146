"""Files that are either whole or not there."""

from __future__ import annotations

import glob
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Open a file that takes the place of ``path`` once all of it is on the disk.

    What ``path`` held before stays as it is until then, whatever happens: an error, a full disk,
    the end of the process or of the machine's power.

    Parameters
    ----------
    path : path-like
        Its folder must exist.

    Yields
    ------
    file : binary file
        Open for writing, in the same folder.

    Raises
    ------
    OSError
        If the folder or the disk refuses it; the error names ``path``.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise OSError(
            error.errno,
            f"{error.strerror}. The file could not be written; what was there before is still"
            " there. Free space, or choose a folder that exists and can be written to",
            str(path),
        ) from error
    finally:
        with suppress(OSError):  # the error that led here says more
            partial.unlink(missing_ok=True)


def remove_partial(path: str | os.PathLike) -> None:
    """Remove what processes that were killed while they wrote ``path`` have left behind."""
    path = Path(path)
    for partial in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        partial.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Put the folder's entries on the disk, which Windows does by itself."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
