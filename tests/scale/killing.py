"""Models and fits that kill their own process."""

from __future__ import annotations

import os
import signal
from pathlib import Path


class Deadly:
    """Scores as another model does, but kills the process some times; never the first one."""

    def __init__(self, model, folder, n_kills):
        self.model, self.folder, self.n_kills = model, folder, n_kills
        self.feature_names_in_, self.offset_ = model.feature_names_in_, model.offset_
        self.spared = os.getpid()

    def score_samples(self, X):
        if os.getpid() != self.spared:
            kill_once(self.folder, self.n_kills)
        return self.model.score_samples(X)


def kill_once(folder, n_kills=1):
    """Kill this process, unless so many were killed already."""
    for number in range(n_kills):
        try:
            (Path(folder) / f"killed-{number}").touch(exist_ok=False)
        except FileExistsError:
            continue
        os.kill(os.getpid(), signal.SIGKILL)
