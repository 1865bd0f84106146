"""Images above their reconstructions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aedetect.plotting.images import as_heat_maps, as_images, draw_images, image_shape_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from aedetect.estimators.base import BaseAutoencoder

HEAT_COLORS = "magma_r"  # darkens evenly, so that a grey printer keeps the order


class ReconstructionDisplay:
    """Images above their reconstructions; if asked for, noisy copies between and heat maps below.

    Make one with :meth:`from_estimator`.

    Parameters
    ----------
    rows : dict of str to ndarray of shape (n_images, height, width) or (n_images, height, width, 3)
        The rows of the picture from top to bottom, by their names. Grey images are drawn on one
        scale, from the lowest to the highest value of the first row.
    titles : list of str
        Stands above each column.
    heat : ndarray of shape (n_images, height, width) or None, default=None
        What each pixel adds to the anomaly, drawn as the last row on a scale of its own.

    Attributes
    ----------
    figure_ : matplotlib.figure.Figure
    axes_ : ndarray of shape (n_rows, n_images) of matplotlib Axes
    """

    def __init__(
        self, rows: dict[str, NDArray], titles: list[str], heat: NDArray | None = None
    ) -> None:
        self.rows = rows
        self.titles = titles
        self.heat = heat

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseAutoencoder,
        X: ArrayLike,
        *,
        image_shape: tuple[int, ...] | None = None,
        noisy: bool = False,
        heat_map: bool = False,
        random_state: int | np.random.RandomState | None = 0,
        figure: Figure | None = None,
    ) -> Self:
        """Draw rows of ``X``, what ``estimator`` makes of them, and the scores of the rows.

        Parameters
        ----------
        estimator : fitted estimator
            With ``reconstruct`` and ``score_samples``.
        X : array-like of shape (n_images, n_features)
        image_shape : (height, width), (channels, height, width) or None, default=None
            None takes that of the estimator, else a grey square.
        noisy : bool, default=False
            Whether to corrupt the rows first, as :class:`~aedetect.DenoisingAutoencoder` does in
            training, and to draw what it restores from those. The scores stay those of the rows
            without noise.
        heat_map : bool, default=False
            Whether to draw what each pixel of the rows without noise adds to the anomaly
            (``explain``), in a last row with a colour bar. The channels of a colour image are
            summed.
        random_state : int, RandomState instance or None, default=0
            Draws the noise.
        figure : matplotlib Figure or None, default=None
            Where to draw; None makes one.

        Returns
        -------
        display : ReconstructionDisplay

        Raises
        ------
        ValueError
            If ``image_shape`` does not hold ``n_features`` values.
        """
        X = np.asarray(X)
        shape = image_shape_of(estimator, image_shape)
        rows = {"row": X}
        if noisy:
            rows["noisy"] = estimator.corrupt(X, random_state=random_state)
        rows["reconstruction"] = estimator.reconstruct(rows["noisy"] if noisy else X)
        titles = [f"{score:.3g}" for score in estimator.score_samples(X)]
        images = {name: as_images(values, shape) for name, values in rows.items()}
        heat = as_heat_maps(estimator.explain(X), shape) if heat_map else None
        return cls(images, titles, heat).plot(figure=figure)

    def plot(self, *, figure: Figure | None = None) -> Self:
        """Draw the images.

        Parameters
        ----------
        figure : matplotlib Figure or None, default=None
            Where to draw; None makes one.

        Returns
        -------
        display : ReconstructionDisplay
            Itself, with ``figure_`` and ``axes_``.
        """
        first = next(iter(self.rows.values()))
        n_lines = len(self.rows) + (self.heat is not None)
        if figure is None:
            import matplotlib.pyplot as plt

            size = (1.1 * len(first) + 1, 1.3 * n_lines + 0.4)
            figure = plt.figure(figsize=size, layout="constrained")
        axes = figure.subplots(n_lines, len(first), squeeze=False)
        for line, (name, images) in zip(axes, self.rows.items(), strict=False):
            draw_images(line, images, first.min(), first.max())
            line[0].set_ylabel(name)
        if self.heat is not None:
            _draw_heat(figure, axes[-1], self.heat)
        for ax, title in zip(axes[0], self.titles, strict=True):
            ax.set_title(title, fontsize="small")
        self.figure_, self.axes_ = figure, axes
        return self


def _draw_heat(figure: Figure, line: NDArray, heat: NDArray) -> None:
    """Draw heat maps on one scale from 0, the darker the odder, and its colour bar."""
    for ax, image in zip(line, heat, strict=True):
        drawn = ax.imshow(image, cmap=HEAT_COLORS, vmin=0, vmax=heat.max() or 1)
        ax.set(xticks=[], yticks=[])
    line[0].set_ylabel("heat map")
    bar = figure.colorbar(drawn, ax=list(line), location="bottom", fraction=0.08, aspect=40)
    bar.set_label("what a pixel adds to the anomaly score", fontsize="small")
    bar.ax.tick_params(labelsize="small")
