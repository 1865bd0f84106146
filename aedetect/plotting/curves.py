"""Curves and maps: how training went, and where codes lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import PCA

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from aedetect.estimators.base import BaseAutoencoder

MARKERS = "osv^Dp*XP<>"  # classes are told apart without colour as well


class LearningCurveDisplay:
    """The loss of each epoch, on the training rows and on the held-out ones.

    Make one with :meth:`from_estimator`.

    Parameters
    ----------
    history : dict of str to ndarray of shape (n_epochs,)
        ``loss`` and ``val_loss``, as in ``history_``.

    Attributes
    ----------
    ax_ : matplotlib Axes
    """

    def __init__(self, history: dict[str, NDArray]) -> None:
        self.history = history

    @classmethod
    def from_estimator(cls, estimator: BaseAutoencoder, *, ax: Axes | None = None) -> Self:
        """Draw the learning curve of a fitted estimator.

        Parameters
        ----------
        estimator : fitted estimator
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes one.

        Returns
        -------
        display : LearningCurveDisplay
        """
        return cls(estimator.history_).plot(ax=ax)

    def plot(self, *, ax: Axes | None = None) -> Self:
        """Draw the curve.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes one.

        Returns
        -------
        display : LearningCurveDisplay
            Itself, with ``ax_``.
        """
        ax = ax or _new_axes()
        epochs = np.arange(1, len(self.history["loss"]) + 1)
        ax.plot(epochs, self.history["loss"], label="training rows")
        if np.isfinite(self.history["val_loss"]).all():
            ax.plot(epochs, self.history["val_loss"], linestyle="--", label="held-out rows")
        ax.set(xlabel="epoch", ylabel="loss (mean over rows, sum over features)")
        ax.legend()
        self.ax_ = ax
        return self


class LatentMapDisplay:
    """Codes as points of a plane.

    Make one with :meth:`from_estimator`.

    Parameters
    ----------
    points : ndarray of shape (n_samples, 2)
    y : ndarray of shape (n_samples,) or None
        Classes, told apart by colour and marker.
    names : (str, str)
        What the two axes show.

    Attributes
    ----------
    ax_ : matplotlib Axes
    """

    def __init__(self, points: NDArray, y: NDArray | None, names: tuple[str, str]) -> None:
        self.points = points
        self.y = y
        self.names = names

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseAutoencoder,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the codes of ``X``.

        Parameters
        ----------
        estimator : fitted transformer
            One of ours, or scikit-learn's ``PCA`` to compare.
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or None, default=None
            Classes of the rows.
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes one.

        Returns
        -------
        display : LatentMapDisplay
            Of the code itself where it has two dimensions, else of its two principal components.
        """
        codes = np.asarray(estimator.transform(X))
        if codes.shape[1] == 2:
            points, names = codes, ("code 1", "code 2")
        else:
            points = PCA(2, random_state=0).fit_transform(codes)
            names = ("principal component 1 of the code", "principal component 2 of the code")
        return cls(points, None if y is None else np.asarray(y), names).plot(ax=ax)

    def plot(self, *, ax: Axes | None = None) -> Self:
        """Draw the points.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes one.

        Returns
        -------
        display : LatentMapDisplay
            Itself, with ``ax_``.
        """
        ax = ax or _new_axes()
        if self.y is None:
            ax.scatter(self.points[:, 0], self.points[:, 1], s=8, alpha=0.6)
        else:
            for index, label in enumerate(np.unique(self.y)):
                marker = MARKERS[index % len(MARKERS)]
                points = self.points[self.y == label]
                ax.scatter(
                    points[:, 0], points[:, 1], s=12, alpha=0.6, marker=marker, label=str(label)
                )
            ax.legend(title="class", fontsize="small", ncols=2)
        ax.set(xlabel=self.names[0], ylabel=self.names[1])
        self.ax_ = ax
        return self


def _new_axes() -> Axes:
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1]
