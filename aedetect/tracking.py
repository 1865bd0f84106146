"""Logs of training, written by scikit-learn callbacks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sklearn.callback import CallbackContext
    from torch.utils.tensorboard import SummaryWriter

    from aedetect.estimators.base import BaseAutoencoder


class TensorBoardCallback:
    """Writes the measures of every epoch to a folder that TensorBoard shows.

    Needs the extra ``tensorboard``. Look at the curves with ``tensorboard --logdir LOG_DIR``.

    Parameters
    ----------
    log_dir : path-like
        Where the event files go. Every fit makes a folder of its own in it.

    Examples
    --------
    >>> from aedetect import AutoencoderTransformer
    >>> from aedetect.tracking import TensorBoardCallback
    >>> detector = AutoencoderTransformer().set_callbacks(TensorBoardCallback("runs"))
    """

    def __init__(self, log_dir: str | os.PathLike) -> None:
        self.log_dir = log_dir
        self._writers: dict[int, SummaryWriter] = {}  # by estimator: a search fits many at a time

    def setup(self, estimator: BaseAutoencoder, context: CallbackContext) -> None:
        """Open the event file of a fit."""
        from torch.utils.tensorboard import SummaryWriter

        name = f"{type(estimator).__name__}-{context.init_time:%Y%m%d-%H%M%S-%f}"
        self._writers[id(estimator)] = SummaryWriter(Path(self.log_dir) / name)

    def on_fit_task_begin(self, estimator: BaseAutoencoder, context: CallbackContext) -> None:
        """Do nothing: an epoch is written when it has ended."""

    def on_fit_task_end(
        self,
        estimator: BaseAutoencoder,
        context: CallbackContext,
        *,
        metadata: dict[str, float] | None = None,
    ) -> bool:
        """Write the measures of an epoch; return False, for training goes on."""
        if context.task_name == "epoch" and metadata:
            for name, value in metadata.items():
                self._writers[id(estimator)].add_scalar(name, value, context.task_id + 1)
        return False

    def teardown(self, estimator: BaseAutoencoder, context: CallbackContext) -> None:
        """Close the event file."""
        self._writers.pop(id(estimator)).close()

    def __getstate__(self) -> dict[str, Any]:
        """Leave open files behind: workers and copies open their own."""
        return {**self.__dict__, "_writers": {}}
