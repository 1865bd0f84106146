"""Images above their reconstructions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aedetect.plotting.images import (
    HEAT_COLORS,
    as_heat_maps,
    as_images,
    draw_images,
    image_shape_of,
)
from aedetect.plotting.rows import refuse_categories
from aedetect.plotting.style import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from aedetect.estimators.base import BaseAutoencoder


class ReconstructionDisplay:
    """Images above their reconstructions, with optional noisy copies and heat maps.

    Make one with :meth:`from_estimator`.

    Parameters
    ----------
    rows : dict of str to ndarray of shape (n_images, height, width) or (n_images, height, width, 3)
        The lines of images from top to bottom, by name. All are drawn on one scale, from the lowest
        to the highest value of the first line.
    titles : list of str
        The title of each column.
    heat : ndarray of shape (n_images, height, width) or None, default=None
        The contribution of each pixel to the anomaly, drawn as the last line on its own scale.

    Attributes
    ----------
    figure_ : matplotlib.figure.Figure
    axes_ : ndarray of shape (n_lines, n_images) of matplotlib Axes

    Examples
    --------
    >>> from aedetect import AutoencoderTransformer, datasets
    >>> from aedetect.plotting import ReconstructionDisplay
    >>> X, y = datasets.load_digits()
    >>> detector = AutoencoderTransformer(image_shape=(1, 8, 8), max_epochs=2).fit(X)
    >>> display = ReconstructionDisplay.from_estimator(detector, X[:6])
    >>> display.axes_.shape  # images above their reconstructions
    (2, 6)
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
        """Plot rows of ``X``, their reconstructions, and their scores as titles.

        Parameters
        ----------
        estimator : fitted estimator
            With ``reconstruct`` and ``score_samples``.
        X : array-like of shape (n_images, n_features)
        image_shape : (height, width), (channels, height, width) or None, default=None
            None takes the shape of the estimator, else a grey square.
        noisy : bool, default=False
            Whether to corrupt the rows as :class:`~aedetect.DenoisingAutoencoder` does in training,
            and to reconstruct these noisy copies. The scores are those of the rows without noise.
        heat_map : bool, default=False
            Whether to add a last line with the contribution of each pixel (``explain``) of the
            rows without noise. The channels of a colour image are summed.
        random_state : int, RandomState instance or None, default=0
            Seed of the noise.
        figure : matplotlib Figure or None, default=None
            None makes a new figure.

        Returns
        -------
        display : ReconstructionDisplay

        Raises
        ------
        ValueError
            If ``image_shape`` does not hold ``n_features`` values, or columns are categories.
        """
        refuse_categories(estimator, cls.__name__)
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
        """Plot the images.

        Parameters
        ----------
        figure : matplotlib Figure or None, default=None
            None makes a new figure.

        Returns
        -------
        display : ReconstructionDisplay
            Itself, with ``figure_`` and ``axes_``.
        """
        first = next(iter(self.rows.values()))
        n_lines = len(self.rows) + (self.heat is not None)
        figure = figure or new_figure(1.1 * len(first) + 1, 1.3 * n_lines + 0.4)
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
    """Draw heat maps on one scale that starts at 0, with a colour bar; darker adds more."""
    for ax, image in zip(line, heat, strict=True):
        drawn = ax.imshow(image, cmap=HEAT_COLORS, vmin=0, vmax=heat.max() or 1)
        ax.set(xticks=[], yticks=[])
    line[0].set_ylabel("heat map")
    bar = figure.colorbar(drawn, ax=list(line), location="bottom", fraction=0.08, aspect=40)
    bar.set_label("contribution of each pixel to the anomaly", fontsize="small")
    bar.ax.tick_params(labelsize="small")
