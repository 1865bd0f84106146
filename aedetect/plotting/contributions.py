"""Contributions of the features to the anomaly of one row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aedetect.plotting.rows import in_order_of_fit
from aedetect.plotting.style import COLORS, feature_names, is_missing, new_axes, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class ContributionsDisplay:
    """The largest contributions to the anomaly of one row, as bars.

    Each label gives the name of a feature, its value, and its reconstruction.

    Make one with :meth:`from_estimator` or :meth:`from_predictions`.

    Parameters
    ----------
    contributions : ndarray of shape (n_features,)
        As ``explain`` returns them for a row; non-negative, and larger is more anomalous.
    names : list of str
        Names of the features.
    values : ndarray of shape (n_features,) or None, default=None
        The row; None omits it from the labels.
    reconstruction : ndarray of shape (n_features,) or None, default=None
        Its reconstruction; None omits it from the labels.

    Attributes
    ----------
    ax_ : matplotlib Axes

    Examples
    --------
    >>> from aedetect import AutoencoderTransformer, datasets
    >>> from aedetect.plotting import ContributionsDisplay
    >>> X, y = datasets.load_digits()
    >>> detector = AutoencoderTransformer(max_epochs=2, random_state=0).fit(X)
    >>> display = ContributionsDisplay.from_estimator(detector, X[:1], max_features=5)
    >>> display.contributions.shape
    (64,)
    """

    def __init__(
        self,
        contributions: NDArray,
        names: Sequence[str],
        values: NDArray | None = None,
        reconstruction: NDArray | None = None,
    ) -> None:
        self.contributions = contributions
        self.names = names
        self.values = values
        self.reconstruction = reconstruction

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: ArrayLike, *, max_features: int = 10, ax: Axes | None = None
    ) -> Self:
        """Plot the contributions of the single row in ``X``.

        Parameters
        ----------
        estimator : fitted estimator
            With ``explain`` and ``reconstruct``.
        X : array-like of shape (1, n_features)
            One row; the columns of a DataFrame name the features.
        max_features, ax
            As in :meth:`plot`.

        Returns
        -------
        display : ContributionsDisplay

        Raises
        ------
        ValueError
            If ``X`` is not exactly one row.
        """
        X = in_order_of_fit(estimator, X)
        values = np.asarray(X)
        if values.ndim != 2 or len(values) != 1:
            raise ValueError(
                "ContributionsDisplay draws one row, a table of shape (1, n_features), but the"
                f" shape of X is {values.shape}. Pass X[[i]] or frame.iloc[[i]]."
            )
        return cls.from_predictions(
            np.asarray(estimator.explain(X))[0],
            names=feature_names(X, estimator, values.shape[1]),
            values=values[0],
            reconstruction=np.asarray(estimator.reconstruct(X))[0],
            max_features=max_features,
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls,
        contributions: ArrayLike,
        *,
        names: Sequence[str] | None = None,
        values: ArrayLike | None = None,
        reconstruction: ArrayLike | None = None,
        max_features: int = 10,
        ax: Axes | None = None,
    ) -> Self:
        """Plot contributions.

        Parameters
        ----------
        contributions, names, values, reconstruction
            As in the class. ``names=None`` names the features x0, x1 and so on.
        max_features, ax
            As in :meth:`plot`.

        Returns
        -------
        display : ContributionsDisplay
        """
        contributions = np.asarray(contributions, dtype=np.float64)
        names = feature_names(None, None, len(contributions)) if names is None else list(names)
        values, reconstruction = (
            None if a is None else np.asarray(a) for a in (values, reconstruction)
        )
        display = cls(contributions, names, values, reconstruction)
        return display.plot(max_features=max_features, ax=ax)

    def plot(self, *, max_features: int = 10, ax: Axes | None = None) -> Self:
        """Plot the bars, the longest at the top.

        Parameters
        ----------
        max_features : int, default=10
            Number of bars at most. One more, hatched, is the sum of all other features.
        ax : matplotlib Axes or None, default=None
            None makes new axes.

        Returns
        -------
        display : ContributionsDisplay
            Itself, with ``ax_``.
        """
        order = np.argsort(-self.contributions, kind="stable")
        shown, rest = order[:max_features], order[max_features:]
        ax = ax or new_axes()
        ax.barh(range(len(shown)), self.contributions[shown], color=COLORS[0])
        ticks = [self._label(feature) for feature in shown]
        if len(rest):
            color = COLORS[5]
            total = self.contributions[rest].sum()
            ax.barh(len(shown), total, color="none", edgecolor=color, hatch="///")
            ticks.append(f"the other {len(rest):,} together")
        ax.set_yticks(range(len(ticks)), ticks, fontsize="small")
        ax.invert_yaxis()
        ax.set_xlabel("contribution to the anomaly")
        self.ax_ = ax
        return self

    def _label(self, feature: int) -> str:
        parts = [plain(self.names[feature])]
        if self.values is not None:
            parts.append(f"= {_number(self.values[feature])}")
        if self.reconstruction is not None:
            parts.append(f"(reconstruction {_number(self.reconstruction[feature])})")
        return " ".join(parts)


def _number(value: object) -> str:
    if is_missing(value):
        return "missing"
    is_number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    return f"{value:.4g}" if is_number else plain(value)
