"""Images: rows beside their reconstructions, and rows drawn from the prior."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from aedetect import VAEDetector
    from aedetect.estimators.base import BaseAutoencoder


class ReconstructionDisplay:
    """Images above their reconstructions, with noisy copies between them if asked for.

    Make one with :meth:`from_estimator`.

    Parameters
    ----------
    rows : dict of str to ndarray of shape (n_images, height, width) or (n_images, height, width, 3)
        The rows of the picture from top to bottom, by their names. Grey images are drawn on one
        scale, from the lowest to the highest value of the first row.
    titles : list of str
        Stands above each column.

    Attributes
    ----------
    figure_ : matplotlib.figure.Figure
    axes_ : ndarray of shape (n_rows, n_images) of matplotlib Axes
    """

    def __init__(self, rows: dict[str, NDArray], titles: list[str]) -> None:
        self.rows = rows
        self.titles = titles

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseAutoencoder,
        X: ArrayLike,
        *,
        image_shape: tuple[int, ...] | None = None,
        noisy: bool = False,
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
        shape = image_shape or getattr(estimator, "image_shape", None)
        rows = {"row": X}
        if noisy:
            rows["noisy"] = estimator.corrupt(X, random_state=random_state)
        rows["reconstruction"] = estimator.reconstruct(rows["noisy"] if noisy else X)
        titles = [f"{score:.3g}" for score in estimator.score_samples(X)]
        images = {name: as_images(values, shape) for name, values in rows.items()}
        return cls(images, titles).plot(figure=figure)

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
        if figure is None:
            import matplotlib.pyplot as plt

            size = (1.1 * len(first) + 1, 1.3 * len(self.rows) + 0.4)
            figure = plt.figure(figsize=size, layout="constrained")
        axes = figure.subplots(len(self.rows), len(first), squeeze=False)
        for (name, images), line in zip(self.rows.items(), axes, strict=True):
            draw_images(line, images, first.min(), first.max())
            line[0].set_ylabel(name)
        for ax, title in zip(axes[0], self.titles, strict=True):
            ax.set_title(title, fontsize="small")
        self.figure_, self.axes_ = figure, axes
        return self


class SamplesDisplay:
    """New images, drawn from the prior of a :class:`~aedetect.VAEDetector`.

    Make one with :meth:`from_estimator`.

    Parameters
    ----------
    images : ndarray of shape (n_images, height, width) or (n_images, height, width, 3)

    Attributes
    ----------
    figure_ : matplotlib.figure.Figure
    axes_ : ndarray of shape (n_rows, n_columns) of matplotlib Axes
    """

    def __init__(self, images: NDArray) -> None:
        self.images = images

    @classmethod
    def from_estimator(
        cls,
        estimator: VAEDetector,
        n_samples: int = 40,
        *,
        image_shape: tuple[int, ...] | None = None,
        random_state: int | np.random.RandomState | None = 0,
        figure: Figure | None = None,
    ) -> Self:
        """Draw new rows of ``estimator``.

        Parameters
        ----------
        estimator : fitted VAEDetector
        n_samples : int, default=40
        image_shape, figure
            As in :meth:`ReconstructionDisplay.from_estimator`.
        random_state : int, RandomState instance or None, default=0
            Draws the codes.

        Returns
        -------
        display : SamplesDisplay
        """
        shape = image_shape or estimator.image_shape
        images = as_images(estimator.sample(n_samples, random_state=random_state), shape)
        return cls(images).plot(figure=figure)

    def plot(self, *, figure: Figure | None = None, n_columns: int = 10) -> Self:
        """Draw the images on a grid.

        Parameters
        ----------
        figure : matplotlib Figure or None, default=None
            Where to draw; None makes one.
        n_columns : int, default=10

        Returns
        -------
        display : SamplesDisplay
            Itself, with ``figure_`` and ``axes_``.
        """
        n_columns = min(n_columns, len(self.images))
        n_rows = math.ceil(len(self.images) / n_columns)
        if figure is None:
            import matplotlib.pyplot as plt

            figure = plt.figure(figsize=(0.8 * n_columns, 0.8 * n_rows), layout="constrained")
        axes = figure.subplots(n_rows, n_columns, squeeze=False)
        draw_images(axes.ravel(), self.images, self.images.min(), self.images.max())
        for ax in axes.ravel()[len(self.images) :]:
            ax.set_axis_off()
        self.figure_, self.axes_ = figure, axes
        return self


def as_images(X: ArrayLike, image_shape: tuple[int, ...] | None) -> NDArray:
    """Return rows as images ``(n, height, width)``, or ``(n, height, width, 3)`` in colour."""
    X = np.asarray(X)
    shape = tuple(image_shape) if image_shape else (math.isqrt(X.shape[1]),) * 2
    if math.prod(shape) != X.shape[1]:
        raise ValueError(
            f"image_shape={shape} has {math.prod(shape)} values, but X has {X.shape[1]} features."
            " Pass image_shape=(height, width) or (channels, height, width)."
        )
    images = X.reshape(-1, *shape)
    if len(shape) == 2:
        return images
    if shape[0] not in (1, 3):
        raise ValueError(f"image_shape={shape} has {shape[0]} channels; 1 or 3 can be drawn.")
    return images[:, 0] if shape[0] == 1 else np.moveaxis(images, 1, -1)


def draw_images(axes: NDArray, images: NDArray, low: float, high: float) -> None:
    """Draw each image on its axes: black for ``high`` in grey, full light for it in colour."""
    for ax, image in zip(axes, images, strict=False):
        if image.ndim == 3:
            ax.imshow(np.clip((image - low) / ((high - low) or 1), 0, 1))
        else:
            ax.imshow(image, cmap="gray_r", vmin=low, vmax=high)
        ax.set(xticks=[], yticks=[])
