"""Pictures, as scikit-learn style ``*Display`` classes. They need the extra ``plot``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from aedetect.estimators.base import BaseAutoencoder


class ReconstructionDisplay:
    """Images above their reconstructions.

    Make one with :meth:`from_estimator`.

    Parameters
    ----------
    images, reconstructions : ndarray of shape (n_images, height, width)
        Drawn on one grey scale, from the lowest to the highest value of ``images``.
    titles : list of str
        Stands above each image.

    Attributes
    ----------
    figure_ : matplotlib.figure.Figure
    axes_ : ndarray of shape (2, n_images) of matplotlib Axes
    """

    def __init__(self, images: NDArray, reconstructions: NDArray, titles: list[str]) -> None:
        self.images = images
        self.reconstructions = reconstructions
        self.titles = titles

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseAutoencoder,
        X: ArrayLike,
        *,
        image_shape: tuple[int, int] | None = None,
        figure: Figure | None = None,
    ) -> Self:
        """Draw rows of ``X``, what ``estimator`` makes of them, and their scores.

        Parameters
        ----------
        estimator : fitted estimator
            With ``reconstruct`` and ``score_samples``.
        X : array-like of shape (n_images, n_features)
        image_shape : (height, width) or None, default=None
            None takes a square.
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
        shape = image_shape or (math.isqrt(X.shape[1]),) * 2
        if math.prod(shape) != X.shape[1]:
            raise ValueError(
                f"image_shape={shape} has {math.prod(shape)} values, but X has {X.shape[1]}"
                " features. Pass image_shape=(height, width)."
            )
        titles = [f"{score:.3g}" for score in estimator.score_samples(X)]
        restored = np.asarray(estimator.reconstruct(X))
        display = cls(X.reshape(-1, *shape), restored.reshape(-1, *shape), titles)
        return display.plot(figure=figure)

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
        n_images = len(self.images)
        if figure is None:
            import matplotlib.pyplot as plt

            figure = plt.figure(figsize=(1.1 * n_images + 1, 3), layout="constrained")
        axes = figure.subplots(2, n_images, squeeze=False)
        scale = {"cmap": "gray_r", "vmin": self.images.min(), "vmax": self.images.max()}
        for above, below, image, restored, title in zip(
            *axes, self.images, self.reconstructions, self.titles, strict=True
        ):
            above.imshow(image, **scale)
            below.imshow(restored, **scale)
            above.set_title(title, fontsize="small")
        for ax in axes.flat:
            ax.set(xticks=[], yticks=[])
        axes[0, 0].set_ylabel("row")
        axes[1, 0].set_ylabel("reconstruction")
        self.figure_, self.axes_ = figure, axes
        return self
