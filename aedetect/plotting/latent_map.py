"""Maps of codes in the plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import is_outlier_detector
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from aedetect.plotting.rows import fit_scaler, numbers_of
from aedetect.plotting.style import (
    ANOMALY_SCORE,
    COLORS,
    MARKERS,
    anomaly_colors,
    labels_of,
    linear_below,
    named_classes,
    new_figure,
    score_scale,
    text_color,
    threshold_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

PERPLEXITY = 30  # of t-SNE; at most a third of the rows


class Points(NamedTuple):
    """Rows as points in the plane, with the names of its two axes."""

    positions: NDArray  # (n_samples, 2)
    names: tuple[str, str]


class LatentMapDisplay:
    """Codes as points in the plane, coloured by class or by score.

    Make one with :meth:`from_estimator`.

    Parameters
    ----------
    points : ndarray of shape (n_samples, 2)
    y : ndarray of shape (n_samples,) or None
        Classes, drawn in different colours and markers.
    names : (str, str)
        Labels of the two axes.
    scores : ndarray of shape (n_samples,) or None, default=None
        As ``score_samples`` returns them. They colour the points if ``y`` is None.
    offset : float or None, default=None
        Rows with lower scores are drawn as larger triangles.
    beside : Points or None, default=None
        A second map of these rows, drawn beside the first.

    Attributes
    ----------
    ax_ : matplotlib Axes
    pca_ax_ : matplotlib Axes or None
        Axes of the second map.

    Examples
    --------
    >>> from aedetect import AutoencoderTransformer, datasets
    >>> from aedetect.plotting import LatentMapDisplay
    >>> X, y = datasets.load_digits()
    >>> detector = AutoencoderTransformer(max_epochs=2, random_state=0).fit(X)
    >>> display = LatentMapDisplay.from_estimator(detector, X[:100], y[:100])
    >>> display.points.shape
    (100, 2)
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
        """Plot the codes of ``X``.

        Parameters
        ----------
        estimator : fitted transformer
            An estimator of aedetect, or scikit-learn's ``PCA`` for comparison.
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or None, default=None
            Classes of the rows. None colours the rows by anomaly score if ``estimator`` is an
            outlier detector.
        projection : {"auto", "pca", "tsne"}, default="auto"
            Projection of the codes to the plane: two principal components, or t-SNE. t-SNE keeps
            neighbours together but not distances; it starts from the principal components and is
            slow for many thousands of rows. ``"auto"`` draws a code of two dimensions unchanged
            and is ``"pca"`` for others.
        beside_pca : bool, default=False
            Whether to draw a second map of the principal components of the rows themselves, as a
            linear baseline. Each level of a category is a column of its own for it.
        ax : matplotlib Axes, two of them for ``beside_pca=True``, or None, default=None
            None makes new axes.

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
        beside = principal_components(estimator, numbers_of(estimator, X)) if beside_pca else None
        return cls(points, labels_of(y), names, scores, offset, beside).plot(ax=ax)

    def plot(self, *, ax: Axes | NDArray | None = None) -> Self:
        """Plot the points.

        Parameters
        ----------
        ax : matplotlib Axes, two of them with a second map, or None, default=None
            None makes new axes.

        Returns
        -------
        display : LatentMapDisplay
            Itself, with ``ax_`` and ``pca_ax_``.
        """
        maps = [Points(self.points, self.names), *([self.beside] if self.beside else [])]
        if ax is None:
            ax = new_figure(4 * len(maps) + 2.4, 4.6).subplots(1, len(maps), squeeze=False)
        axes = np.array(ax, dtype=object).ravel()
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
        """Draw rows in the order of their scores, so that flagged rows lie on top.

        Where most rows are flagged, the others lie on top: they would be buried.
        """
        anomaly = -cast(NDArray, self.scores)
        limit = np.inf if self.offset is None else -self.offset
        most = bool((anomaly > limit).mean() > 0.5)
        order = np.argsort(-anomaly if most else anomaly, kind="stable")
        x, y = positions[order].T
        anomaly = anomaly[order]
        style: dict[str, Any] = {"cmap": anomaly_colors(), "norm": _norm(anomaly)}
        ax.scatter(x, y, c=anomaly, s=10, alpha=0.7, linewidths=0, zorder=1 + most, **style)
        flagged = anomaly > limit
        if flagged.any():
            size, width = (16, 0.2) if most else (36, 0.6)
            style |= {"marker": "^", "s": size, "linewidths": width, "edgecolors": text_color()}
            ax.scatter(x[flagged], y[flagged], c=anomaly[flagged], label="flagged", **style)

    def _add_colour_bar(self, axes: NDArray) -> None:
        drawn = axes[0].collections[0]
        label = ANOMALY_SCORE + (", log scale" if "Log" in type(drawn.norm).__name__ else "")
        axes[0].figure.colorbar(drawn, ax=list(axes), label=label)
        if axes[0].get_legend_handles_labels()[1]:
            axes[0].legend(fontsize="small")


def _norm(anomaly: NDArray) -> Normalize:
    from matplotlib.colors import LogNorm, Normalize, SymLogNorm

    scale, low, high = score_scale(anomaly), anomaly.min(), anomaly.max()
    if scale == "symlog":
        return SymLogNorm(linear_below(anomaly), vmin=low, vmax=high)
    return (LogNorm if scale == "log" else Normalize)(low, high)


def _draw_classes(ax: Axes, positions: NDArray, labels: NDArray) -> None:
    """Draw classes with the rarest on top, where no other hides it."""
    for index, (label, name) in enumerate(named_classes(labels)):
        chosen = labels == label
        share = chosen.mean()
        x, y = positions[chosen].T
        style: dict[str, Any] = {
            "marker": MARKERS[index % len(MARKERS)],
            "color": COLORS[index % len(COLORS)],
            "alpha": 0.9 - 0.35 * share,
            "zorder": 2 - share,  # below the axes
        }
        ax.scatter(x, y, s=12, label=name, linewidths=0, **style)


def project(codes: NDArray, projection: str) -> Points:
    """Return codes as points in the plane."""
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


def principal_components(estimator: Any, rows: NDArray) -> Points:
    """Return two principal components of rows of numbers, scaled as the estimators scale them."""
    names = ("principal component 1 of the rows", "principal component 2 of the rows")
    return Points(_plane(fit_scaler(estimator, rows)(rows)), names)


def _plane(rows: NDArray) -> NDArray:
    """Return two principal components; missing ones are 0."""
    points = np.zeros((len(rows), 2))
    if np.ptp(rows, axis=0).any():  # PCA divides by the total variance
        n_components = min(2, *rows.shape)
        points[:, :n_components] = PCA(n_components, random_state=0).fit_transform(rows)
    return points
