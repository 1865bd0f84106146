"""Images decoded from the prior of a variational autoencoder."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from aedetect.plotting.images import as_images, draw_images, image_shape_of
from aedetect.plotting.rows import refuse_categories
from aedetect.plotting.style import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from aedetect import VAEDetector


class SamplesDisplay:
    """Images decoded from the prior of a :class:`~aedetect.VAEDetector`.

    Make one with :meth:`from_estimator`.

    Parameters
    ----------
    images : ndarray of shape (n_images, height, width) or (n_images, height, width, 3)
    grid : (ndarray of shape (n_side,), str, str) or None, default=None
        For images of a square grid of codes, line by line from the top: the ascending values along
        one side, and the names of the horizontal and the vertical axis.

    Attributes
    ----------
    figure_ : matplotlib.figure.Figure
    axes_ : ndarray of shape (n_rows, n_columns) of matplotlib Axes

    Examples
    --------
    >>> from aedetect import VAEDetector, datasets
    >>> from aedetect.plotting import SamplesDisplay
    >>> X, y = datasets.load_digits()
    >>> detector = VAEDetector(2, image_shape=(1, 8, 8), max_epochs=2, random_state=0).fit(X)
    >>> display = SamplesDisplay.from_estimator(detector, 8)
    >>> display.images.shape
    (8, 8, 8)
    """

    def __init__(self, images: NDArray, grid: tuple[NDArray, str, str] | None = None) -> None:
        self.images = images
        self.grid = grid

    @classmethod
    def from_estimator(
        cls,
        estimator: VAEDetector,
        n_samples: int = 40,
        *,
        grid: bool = False,
        dimensions: tuple[int, int] = (0, 1),
        image_shape: tuple[int, ...] | None = None,
        random_state: int | np.random.RandomState | None = 0,
        figure: Figure | None = None,
    ) -> Self:
        """Plot images that ``estimator`` generates.

        Parameters
        ----------
        estimator : fitted VAEDetector
        n_samples : int, default=40
            Number of images. ``grid=True`` draws the largest square grid with at most as many.
        grid : bool, default=False
            Whether to decode a regular grid instead of random codes: quantiles of the standard
            normal from 5% to 95% along two dimensions of the code, with the others at 0.
        dimensions : (int, int), default=(0, 1)
            The dimensions of the code on the horizontal and the vertical axis of the grid.
        image_shape, figure
            As in :meth:`ReconstructionDisplay.from_estimator`.
        random_state : int, RandomState instance or None, default=0
            Seed of the random codes; the grid needs none.

        Returns
        -------
        display : SamplesDisplay

        Raises
        ------
        ValueError
            If ``dimensions`` are not two different dimensions of the code, or columns are
            categories.
        """
        refuse_categories(estimator, cls.__name__)
        shape = image_shape_of(estimator, image_shape)
        if grid:
            values, codes = _grid_codes(estimator.latent_dim_, dimensions, math.isqrt(n_samples))
            images = as_images(estimator.inverse_transform(codes), shape)
            right, up = (f"code {dimension + 1}" for dimension in dimensions)
            return cls(images, (values, right, up)).plot(figure=figure)
        images = as_images(estimator.sample(n_samples, random_state=random_state), shape)
        return cls(images).plot(figure=figure)

    def plot(self, *, figure: Figure | None = None, n_columns: int = 10) -> Self:
        """Plot the images.

        Parameters
        ----------
        figure : matplotlib Figure or None, default=None
            None makes a new figure.
        n_columns : int, default=10
            Columns of random images; a grid of codes sets its own number.

        Returns
        -------
        display : SamplesDisplay
            Itself, with ``figure_`` and ``axes_``.
        """
        n_columns = min(n_columns, len(self.images)) if self.grid is None else len(self.grid[0])
        n_rows = math.ceil(len(self.images) / n_columns)
        figure = figure or new_figure(0.8 * n_columns, 0.8 * n_rows)
        axes = figure.subplots(n_rows, n_columns, squeeze=False)
        draw_images(axes.ravel(), self.images, self.images.min(), self.images.max())
        for ax in axes.ravel()[len(self.images) :]:
            ax.set_axis_off()
        if self.grid is not None:
            _label_grid(figure, axes, *self.grid)
        self.figure_, self.axes_ = figure, axes
        return self


def _grid_codes(
    latent_dim: int, dimensions: tuple[int, int], n_side: int
) -> tuple[NDArray, NDArray]:
    """Return the values along one side, and the codes line by line from the top."""
    right, up = dimensions
    if right == up or not {right, up} <= set(range(latent_dim)):
        raise ValueError(
            f"dimensions={dimensions} must be two different numbers from 0 to {latent_dim - 1}: the"
            f" code has {latent_dim} dimensions."
        )
    values = norm.ppf(np.linspace(0.05, 0.95, n_side)) if n_side > 1 else np.zeros(1)
    codes = np.zeros((n_side**2, latent_dim))
    codes[:, right] = np.tile(values, n_side)
    codes[:, up] = np.repeat(values[::-1], n_side)
    return values, codes


def _label_grid(figure: Figure, axes: NDArray, values: NDArray, right: str, up: str) -> None:
    for ax, value in zip(axes[-1], values, strict=True):
        ax.set_xlabel(f"{value:.2g}", fontsize="small")
    for ax, value in zip(axes[:, 0], values[::-1], strict=True):
        ax.set_ylabel(f"{value:.2g}", fontsize="small")
    figure.supxlabel(f"{right} (quantiles of the prior)", fontsize="medium")
    figure.supylabel(up, fontsize="medium")
