"""The state of an unfinished run in one file."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from aedetect.atomic import atomic_write, remove_partial
from aedetect.training.state import State

FORMAT = 3
SHARE = 1 / 20  # of the time, at most, goes into writing


class Checkpoint:
    """Stores the state of a run in a file, from which another process can resume it.

    Parameters
    ----------
    path : path-like
        An existing file is that of an interrupted run.
    identity : dict of str to str
        Fingerprint of the fit: may it be resumed? A file with another one is refused.
    start : dict
        State before the first epoch, in plain Python.
    writes : bool, default=True
        False leaves the file to another process.

    Attributes
    ----------
    start : dict
        That of the interrupted run, if there is one.
    state : dict of str to Tensor, or None
        Last state of the interrupted run; None for a new run.

    Raises
    ------
    ValueError
        If the file is damaged, or that of another run.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        identity: dict[str, str],
        start: dict[str, Any],
        *,
        writes: bool = True,
    ) -> None:
        self.path = Path(path)
        self.identity = {"format": str(FORMAT), **identity}
        self.start = start
        self._writes = writes
        self.state: State | None = None
        self._unwritten: State | None = None
        self._next_write = 0.0  # on the clock of perf_counter
        if self.path.exists():
            header, self.state = _read(self.path)
            self._check_identity(header["identity"])
            self.start = header["start"]
        if writes:
            remove_partial(self.path)

    def keep(self, state: State) -> None:
        """Keep a state, and write it unless the last write was too recent."""
        self._unwritten = state if self._writes else None
        if time.perf_counter() >= self._next_write:
            self.write()

    def write(self) -> None:
        """Write the state that was kept last, unless it is written already."""
        if self._unwritten is None:
            return
        began = time.perf_counter()
        header = json.dumps({"identity": self.identity, "start": self.start})
        metadata = {"aedetect": header, "sha256": _digest(header, self._unwritten)}
        with atomic_write(self.path) as file:
            file.write(save(self._unwritten, metadata))
        ended = time.perf_counter()
        self._next_write = ended + (ended - began) / SHARE
        self._unwritten = None

    def remove(self) -> None:
        """Remove the file: the run is complete."""
        if self._writes:
            self.path.unlink(missing_ok=True)

    def _check_identity(self, found: dict[str, str]) -> None:
        differences = [
            f"{name} was {found.get(name)}, now it is {self.identity.get(name)}"
            for name in sorted({*found, *self.identity})
            if found.get(name) != self.identity.get(name)
        ]
        if differences:
            raise ValueError(
                f"The checkpoint {str(self.path)!r} is that of another fit:"
                f" {'; '.join(differences)}. Fit as before to finish that one, delete the file to"
                " give it up, or set another checkpoint for this one."
            )


def _read(path: Path) -> tuple[dict[str, Any], State]:
    """Return the header and the state that a file holds."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = metadata["aedetect"]
        whole = metadata["sha256"] == _digest(header, state)
    except (SafetensorError, OSError, KeyError) as error:
        raise _damaged(path) from error
    if not whole:
        raise _damaged(path)
    return json.loads(header), state


def _damaged(path: Path) -> ValueError:
    return ValueError(
        f"The checkpoint {str(path)!r} cannot be used: it is damaged, or no checkpoint of"
        " aedetect. Delete the file to train from the beginning, or set another checkpoint."
    )


def _digest(header: str, state: State) -> str:
    """Return the SHA-256 of header and tensors; safetensors would not notice a flipped bit."""
    digest = hashlib.sha256(header.encode())
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
