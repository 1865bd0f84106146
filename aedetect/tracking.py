"""Log training with scikit-learn callbacks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aedetect.extras import require

if TYPE_CHECKING:
    from sklearn.callback import CallbackContext
    from torch.utils.tensorboard import SummaryWriter

    from aedetect.estimators.base import BaseAutoencoder

__all__ = ["TensorBoardCallback"]


class TensorBoardCallback:
    """Write the losses of every epoch to event files of TensorBoard.

    Needs the extra ``tensorboard``. Look at the curves with ``tensorboard --logdir LOG_DIR``.

    Parameters
    ----------
    log_dir : path-like
        Folder for the event files. Every fit writes to a new subfolder.

    Examples
    --------
    >>> from aedetect import AutoencoderTransformer
    >>> from aedetect.tracking import TensorBoardCallback
    >>> detector = AutoencoderTransformer().set_callbacks(TensorBoardCallback("runs"))
    """

    def __init__(self, log_dir: str | os.PathLike) -> None:
        self.log_dir = log_dir
        # By id of the estimator: a search fits several at once.
        self._writers: dict[int, SummaryWriter] = {}

    def setup(self, estimator: BaseAutoencoder, context: CallbackContext) -> None:
        """Open the event file of a fit."""
        require("tensorboard", "TensorBoardCallback")
        from torch.utils.tensorboard import SummaryWriter

        name = f"{type(estimator).__name__}-{context.init_time:%Y%m%d-%H%M%S-%f}"
        self._writers[id(estimator)] = SummaryWriter(Path(self.log_dir) / name)

    def on_fit_task_begin(self, estimator: BaseAutoencoder, context: CallbackContext) -> None:
        """Do nothing: an epoch is written at its end."""

    def on_fit_task_end(
        self,
        estimator: BaseAutoencoder,
        context: CallbackContext,
        *,
        metadata: dict[str, float] | None = None,
    ) -> bool:
        """Write the losses of an epoch; return False, so that training continues."""
        if context.task_name == "epoch" and metadata:
            for name, value in metadata.items():
                self._writers[id(estimator)].add_scalar(name, value, context.task_id + 1)
        return False

    def teardown(self, estimator: BaseAutoencoder, context: CallbackContext) -> None:
        """Close the event file."""
        writer = self._writers.pop(id(estimator), None)  # None if setup failed
        if writer is not None:
            writer.close()

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without open files: workers and copies open their own."""
        return {**self.__dict__, "_writers": {}}
