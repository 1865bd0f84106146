"""Losses over epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from aedetect.plotting.style import COLORS, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from aedetect.estimators.base import BaseAutoencoder

FAR_APART = 10  # highest loss / lowest loss above which the axis is logarithmic


class LearningCurveDisplay:
    """The loss of each epoch, on the training rows and on the held-out rows.

    Make one with :meth:`from_estimator`.

    Parameters
    ----------
    history : dict of str to ndarray of shape (n_epochs,)
        ``loss`` and ``val_loss``, as in ``history_``.

    Attributes
    ----------
    ax_ : matplotlib Axes

    Examples
    --------
    >>> from aedetect import AutoencoderTransformer, datasets
    >>> from aedetect.plotting import LearningCurveDisplay
    >>> X, y = datasets.load_digits()
    >>> detector = AutoencoderTransformer(max_epochs=2, random_state=0).fit(X)
    >>> display = LearningCurveDisplay.from_estimator(detector)
    >>> display.history["val_loss"].shape
    (2,)
    """

    def __init__(self, history: dict[str, NDArray]) -> None:
        self.history = history

    @classmethod
    def from_estimator(cls, estimator: BaseAutoencoder, *, ax: Axes | None = None) -> Self:
        """Plot the learning curve of a fitted estimator.

        Parameters
        ----------
        estimator : fitted estimator
        ax : matplotlib Axes or None, default=None
            None makes new axes.

        Returns
        -------
        display : LearningCurveDisplay
        """
        return cls(estimator.history_).plot(ax=ax)

    def plot(self, *, ax: Axes | None = None) -> Self:
        """Plot the curve.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            None makes new axes.

        Returns
        -------
        display : LearningCurveDisplay
            Itself, with ``ax_``.
        """
        from matplotlib.ticker import MaxNLocator

        ax = ax or new_axes()
        loss, held_out = self.history["loss"], self.history["val_loss"]
        epochs = np.arange(1, len(loss) + 1)
        ax.plot(epochs, loss, color=COLORS[0], label="training rows")
        if np.isfinite(held_out).all():
            ax.plot(epochs, held_out, color=COLORS[1], linestyle="--", label="held-out rows")
        _set_scale(ax, np.concatenate([line.get_ydata() for line in ax.lines]))
        ax.set(xlabel="epoch", ylabel="loss\n(mean over rows, sum over features)")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.legend()
        self.ax_ = ax
        return self


def _set_scale(ax: Axes, losses: NDArray) -> None:
    """Use a logarithmic axis for losses far apart; a linear one would flatten the last epochs."""
    from matplotlib.ticker import LogFormatter

    if 0 < FAR_APART * losses.min() < losses.max():
        ax.set_yscale("log")
        for set_formatter in (ax.yaxis.set_major_formatter, ax.yaxis.set_minor_formatter):
            set_formatter(LogFormatter(minor_thresholds=(2, 0.5)))  # 20, not 2 x 10^1
