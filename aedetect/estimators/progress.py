"""Reports every epoch of a fit to scikit-learn's callbacks and to the terminal."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from aedetect.training import Epoch

if TYPE_CHECKING:
    from sklearn.callback import CallbackContext

    from aedetect.estimators.base import BaseAutoencoder


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
    """

    def __init__(
        self,
        estimator: BaseAutoencoder,
        context: CallbackContext,
        X: NDArray,
        max_epochs: int,
        snapshot: Callable[[dict[str, NDArray]], dict[str, Any]],
    ) -> None:
        self._estimator = estimator
        self._context = context
        self._X = X
        self._snapshot = snapshot
        self._epochs: list[Epoch] = []
        self._bar = tqdm(
            total=max_epochs,
            desc=type(estimator).__name__,
            unit="epoch",
            disable=not estimator.verbose,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.close()

    @property
    def history(self) -> dict[str, NDArray[np.float64]]:
        """One array an epoch's measure, in the order of the epochs."""
        columns = np.array(self._epochs, dtype=np.float64).T
        return dict(zip(Epoch._fields, columns, strict=True))

    def on_epoch_begin(self) -> None:
        """Open the epoch's task."""
        self._task = self._context.subcontext(task_name="epoch")
        self._task.call_on_fit_task_begin(estimator=self._estimator, X=self._X)

    def on_epoch_end(self, epoch: Epoch) -> bool:
        """Close the epoch's task; return whether a callback asks to stop."""
        self._epochs.append(epoch)
        self._bar.set_postfix(loss=f"{epoch.loss:.4g}", val_loss=f"{epoch.val_loss:.4g}")
        self._bar.update()
        return self._task.call_on_fit_task_end(
            estimator=self._estimator,
            X=self._X,
            metadata=epoch._asdict(),
            reconstruction_attributes=lambda: self._snapshot(self.history),
        )
