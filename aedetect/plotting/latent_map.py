"""Where codes lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import is_outlier_detector
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from aedetect.model.scaling import fit_scaling
from aedetect.plotting.style import (
    ANOMALY_SCORE,
    COLORS,
    MARKERS,
    ink,
    labels_of,
    linear_below,
    named_classes,
    oddity_colors,
    score_scale,
    threshold_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

PERPLEXITY = 30  # of t-SNE, or a third of the rows


class Points(NamedTuple):
    """Rows as points of a plane, and what its two axes show."""

    positions: NDArray  # (n_samples, 2)
    names: tuple[str, str]


class LatentMapDisplay:
    """Codes as points of a plane, coloured by class or by score.

    Make one with :meth:`from_estimator`.

    Parameters
    ----------
    points : ndarray of shape (n_samples, 2)
    y : ndarray of shape (n_samples,) or None
        Classes, told apart by colour and marker.
    names : (str, str)
        What the two axes show.
    scores : ndarray of shape (n_samples,) or None, default=None
        As ``score_samples`` returns them; colour the points where there are no classes.
    offset : float or None, default=None
        Rows that score below it are drawn as larger triangles.
    beside : Points or None, default=None
        A second map of the same rows, drawn beside the first.

    Attributes
    ----------
    ax_ : matplotlib Axes
    pca_ax_ : matplotlib Axes or None
        Of the principal components of the rows, with ``beside_pca=True``.
    """

    def __init__(
        self,
        points: NDArray,
        y: NDArray | None,
        names: tuple[str, str],
        scores: NDArray | None = None,
        offset: float | None = None,
        beside: Points | None = None,
    ) -> None:
        self.points = points
        self.y = y
        self.names = names
        self.scores = scores
        self.offset = offset
        self.beside = beside

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        projection: Literal["auto", "pca", "tsne"] = "auto",
        beside_pca: bool = False,
        ax: Axes | NDArray | None = None,
    ) -> Self:
        """Draw the codes of ``X``.

        Parameters
        ----------
        estimator : fitted transformer
            One of ours, or scikit-learn's ``PCA`` to compare.
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or None, default=None
            Classes of the rows. None colours them by their anomaly score where ``estimator`` is an
            outlier detector.
        projection : {"auto", "pca", "tsne"}, default="auto"
            How codes come into the plane: by their two principal components, or by t-SNE, which
            keeps neighbours together and says nothing about distances (it starts from the
            principal components, and is slow for many thousands of rows). ``"auto"`` draws a code
            of two dimensions as it is and is ``"pca"`` for others.
        beside_pca : bool, default=False
            Whether to draw the principal components of the rows themselves beside the codes: what
            a linear method sees.
        ax : matplotlib Axes, two of them for ``beside_pca=True``, or None, default=None
            Where to draw; None makes them.

        Returns
        -------
        display : LatentMapDisplay

        Raises
        ------
        ValueError
            If ``projection`` is none of the three.
        """
        points, names = project(np.asarray(estimator.transform(X)), projection)
        scores, offset = None, None
        if y is None and is_outlier_detector(estimator):
            scores, offset = estimator.score_samples(X), threshold_of(estimator)
        beside = principal_components(np.asarray(X)) if beside_pca else None
        return cls(points, labels_of(y), names, scores, offset, beside).plot(ax=ax)

    def plot(self, *, ax: Axes | NDArray | None = None) -> Self:
        """Draw the points.

        Parameters
        ----------
        ax : matplotlib Axes, two of them where there is a second map, or None, default=None
            Where to draw; None makes them.

        Returns
        -------
        display : LatentMapDisplay
            Itself, with ``ax_`` and ``pca_ax_``.
        """
        maps = [Points(self.points, self.names), *([self.beside] if self.beside else [])]
        axes = np.array(_new_axes(len(maps)) if ax is None else ax, dtype=object).ravel()
        if len(axes) != len(maps):
            raise ValueError(f"{len(maps)} maps need as many axes, but ax holds {len(axes)}.")
        for axis, one_map in zip(axes, maps, strict=True):
            self._draw(axis, one_map)
        if self.y is not None:
            axes[0].legend(title="class", fontsize="small", ncols=2)
        elif self.scores is not None:
            self._add_colour_bar(axes)
        self.ax_ = axes[0]
        self.pca_ax_ = axes[1] if self.beside else None
        return self

    def _draw(self, ax: Axes, one_map: Points) -> None:
        ax.set(xlabel=one_map.names[0], ylabel=one_map.names[1])
        if self.y is not None:
            _draw_classes(ax, one_map.positions, self.y)
        elif self.scores is not None:
            self._draw_scores(ax, one_map.positions)
        else:
            x, y = one_map.positions.T
            ax.scatter(x, y, s=8, alpha=0.6, color=COLORS[0])

    def _draw_scores(self, ax: Axes, positions: NDArray) -> None:
        """Draw the rows by their scores, the odd ones on top of the crowd."""
        scores = cast(NDArray, self.scores)
        order = np.argsort(-scores, kind="stable")
        x, y, odd = positions[order, 0], positions[order, 1], -scores[order]
        style: dict[str, Any] = {"cmap": oddity_colors(), "norm": _norm(odd)}
        ax.scatter(x, y, c=odd, s=10, alpha=0.7, linewidths=0, **style)
        flagged = slice(
            len(odd) if self.offset is None else int((scores >= self.offset).sum()), None
        )
        if len(odd[flagged]):
            style |= {"marker": "^", "s": 36, "linewidths": 0.6, "edgecolors": ink()}
            ax.scatter(x[flagged], y[flagged], c=odd[flagged], label="flagged", **style)

    def _add_colour_bar(self, axes: NDArray) -> None:
        drawn = axes[0].collections[0]
        label = ANOMALY_SCORE + (", log scale" if "Log" in type(drawn.norm).__name__ else "")
        axes[0].figure.colorbar(drawn, ax=list(axes), label=label)
        if axes[0].get_legend_handles_labels()[1]:
            axes[0].legend(fontsize="small")


def _new_axes(n_maps: int) -> NDArray:
    import matplotlib.pyplot as plt

    size = None if n_maps == 1 else (10.4, 4.4)
    return plt.subplots(1, n_maps, figsize=size, layout="constrained", squeeze=False)[1]


def _norm(odd: NDArray) -> Normalize:
    from matplotlib.colors import LogNorm, Normalize, SymLogNorm

    scale, low, high = score_scale(odd), odd.min(), odd.max()
    if scale == "symlog":
        return SymLogNorm(linear_below(odd), vmin=low, vmax=high)
    return (LogNorm if scale == "log" else Normalize)(low, high)


def _draw_classes(ax: Axes, positions: NDArray, labels: NDArray) -> None:
    for index, (label, name) in enumerate(named_classes(labels)):
        x, y = positions[labels == label].T
        marker = MARKERS[index % len(MARKERS)]
        ax.scatter(x, y, s=12, alpha=0.6, marker=marker, label=name)


def project(codes: NDArray, projection: str) -> Points:
    """Return codes as points of a plane."""
    if projection not in ("auto", "pca", "tsne"):
        raise ValueError(f"projection must be 'auto', 'pca' or 'tsne', but it is {projection!r}.")
    if codes.shape[1] == 1:
        return Points(np.column_stack([codes, np.zeros(len(codes))]), ("code 1", ""))
    if projection == "tsne":
        perplexity = min(PERPLEXITY, (len(codes) - 1) / 3)
        tsne = TSNE(perplexity=perplexity, init="pca", random_state=0)
        return Points(tsne.fit_transform(codes), ("t-SNE 1 of the code", "t-SNE 2 of the code"))
    if codes.shape[1] == 2 and projection == "auto":
        return Points(codes, ("code 1", "code 2"))
    names = ("principal component 1 of the code", "principal component 2 of the code")
    return Points(_plane(codes), names)


def principal_components(X: NDArray) -> Points:
    """Return the rows themselves as points, scaled as the estimators scale them."""
    names = ("principal component 1 of the rows", "principal component 2 of the rows")
    return Points(_plane(fit_scaling(X, "auto", "mse").apply(X)), names)


def _plane(rows: NDArray) -> NDArray:
    """Return two principal components; 0 where there are not as many."""
    points = np.zeros((len(rows), 2))
    if np.ptp(rows, axis=0).any():  # PCA divides by the variance
        n_components = min(2, *rows.shape)
        points[:, :n_components] = PCA(n_components, random_state=0).fit_transform(rows)
    return points
