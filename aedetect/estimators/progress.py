"""Progress of a fit, for scikit-learn's callbacks and the terminal."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from aedetect.training import Epoch, Interrupt

if TYPE_CHECKING:
    from sklearn.callback import CallbackContext

    from aedetect.estimators.base import BaseAutoencoder


History = dict[str, NDArray[np.float64]]  # one array an epoch's measure


class FitProgress:
    """Collects the history of one fit and passes each epoch on.

    Parameters
    ----------
    estimator : BaseAutoencoder
        The estimator that is being fitted.
    context : sklearn.callback.CallbackContext
        The root context of the fit; every epoch becomes a subtask of it.
    X : ndarray of shape (n_samples, n_features)
        The training rows, for callbacks that ask for them.
    max_epochs : int
        The length of the bar.
    snapshot : callable
        Returns the fitted attributes as if training had ended with the history at hand. Called
        only for a callback that asks for ``fitted_estimator``.
    before : dict or None
        The history that this fit goes on with.
    """

    def __init__(
        self,
        estimator: BaseAutoencoder,
        context: CallbackContext,
        X: NDArray,
        max_epochs: int,
        snapshot: Callable[[History], dict[str, Any]],
        before: History | None,
    ) -> None:
        self._estimator = estimator
        self._context = context
        self._X = X
        self._snapshot = snapshot
        self._before = before
        self._max_epochs = max_epochs
        self._epochs: list[Epoch] = []
        self._end = "early stopping"  # the reason for an end before the last epoch
        exchange = estimator._exchange
        # Processes that train together must stop at one step: none does so by itself.
        self._interrupt = Interrupt(wanted=exchange is None and _is_on_its_own(context))
        self._bar = tqdm(
            total=max_epochs,
            desc=type(estimator).__name__,
            unit="epoch",
            disable=not estimator.verbose or (exchange is not None and exchange.rank > 0),
        )

    def __enter__(self) -> Self:
        self._interrupt.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        ended_early = kind is None and len(self._epochs) < self._max_epochs
        if ended_early and not self._bar.disable:
            self._bar.set_postfix_str(f"{self._bar.postfix}, {self._end}")
        self._bar.close()
        self._interrupt.__exit__(kind, error, traceback)

    @property
    def history(self) -> History:
        """One array an epoch's measure, in the order of the epochs."""
        columns = np.array(self._epochs, dtype=np.float64).reshape(-1, len(Epoch._fields)).T
        history = dict(zip(Epoch._fields, columns, strict=True))
        if self._before is None:
            return history
        return {name: np.concatenate([self._before[name], history[name]]) for name in history}

    def on_resume(self, epochs: Sequence[Epoch]) -> None:
        """Count the epochs of an earlier process, which reported them to its callbacks."""
        for _ in epochs:
            self._context.subcontext(task_name="epoch")  # so that the next has the right number
        self._epochs.extend(epochs)
        self._bar.update(len(epochs))

    def on_epoch_begin(self) -> None:
        """Open the epoch's task."""
        self._task = self._context.subcontext(task_name="epoch")
        self._task.call_on_fit_task_begin(estimator=self._estimator, X=self._X)

    def on_step_end(self) -> bool:
        """Return whether Ctrl-C was pressed."""
        if self._interrupt.requested:
            self._end = "interrupted"
        return self._interrupt.requested

    def on_epoch_end(self, epoch: Epoch) -> bool:
        """Close the epoch's task; return whether a callback asks to stop."""
        self._epochs.append(epoch)
        self._bar.set_postfix(loss=f"{epoch.loss:.4g}", val_loss=f"{epoch.val_loss:.4g}")
        self._bar.update()
        stopped = self._task.call_on_fit_task_end(
            estimator=self._estimator,
            X=self._X,
            metadata=epoch._asdict(),
            reconstruction_attributes=lambda: self._snapshot(self.history),
        )
        if stopped:
            self._end = "stopped by a callback"
        return stopped


def _is_on_its_own(context: CallbackContext) -> bool:
    """Return whether no search runs this fit; Ctrl-C ends a search as a whole."""
    while context.parent is not None:
        context = context.parent
        if not context.sequential_subtasks:
            return False
    return True


def warn_of_interruption(n_epochs: int, checkpoint: str | os.PathLike | None) -> None:
    """Warn that Ctrl-C ended training, and say how to go on."""
    remedy = ""
    if checkpoint is not None:
        remedy = f", or call fit again to go on from {os.fspath(checkpoint)!r}"
    warnings.warn(
        f"Training was interrupted after {n_epochs} epochs. The estimator is fitted and can be used"
        f" as it is{remedy}.",
        stacklevel=6,  # fit, and what it is wrapped in
    )
