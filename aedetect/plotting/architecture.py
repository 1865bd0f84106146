"""A drawing of a network's layers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from aedetect.estimators.base import BaseAutoencoder

COLORS = {"encoder": "tab:blue", "decoder": "tab:orange"}


class ArchitectureDisplay:
    """The layers of a network as blocks, from the row on the left to its reconstruction.

    The height of a block grows with the logarithm of the number of values that the layer returns,
    so the code is the waist. Layers without parameters that keep the shape are left out.

    Make one with :meth:`from_estimator`.

    Parameters
    ----------
    summary : pandas.DataFrame
        As :meth:`~aedetect.AutoencoderTransformer.summary` returns it.

    Attributes
    ----------
    ax_ : matplotlib Axes
    """

    def __init__(self, summary: pd.DataFrame) -> None:
        self.summary = summary

    @classmethod
    def from_estimator(cls, estimator: BaseAutoencoder, *, ax: Axes | None = None) -> Self:
        """Draw the network of a fitted estimator.

        Parameters
        ----------
        estimator : fitted estimator
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes one.

        Returns
        -------
        display : ArchitectureDisplay
        """
        return cls(estimator.summary()).plot(ax=ax)

    def plot(self, *, ax: Axes | None = None) -> Self:
        """Draw the blocks.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes one.

        Returns
        -------
        display : ArchitectureDisplay
            Itself, with ``ax_``.
        """
        layers = _drawn_layers(self.summary)
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.subplots(figsize=(0.75 * len(layers) + 1, 3.5), layout="constrained")[1]
        heights = [math.log2(1 + math.prod(shape)) for shape in layers["output_shape"]]
        # Hatching tells the two sides apart without colour.
        for side, hatch in (("encoder", ""), ("decoder", "//")):
            chosen = [i for i, name in enumerate(layers["layer"]) if name.startswith(side)]
            ax.bar(
                chosen,
                [heights[i] for i in chosen],
                bottom=[-heights[i] / 2 for i in chosen],
                width=0.7,
                color=COLORS[side],
                edgecolor="white",
                alpha=0.6,
                hatch=hatch,
                label=side,
            )
        for i, (shape, n_parameters) in enumerate(
            zip(layers["output_shape"], layers["parameters"], strict=True)
        ):
            text = "x".join(map(str, shape)) + (f"\n{n_parameters:,}" if n_parameters else "")
            ax.text(i, 0, text, ha="center", va="center", fontsize="small", rotation=90)
        kinds = layers["layer"].str.extract(r"\((\w+)\)")[0]
        ax.set_xticks(range(len(layers)), kinds, rotation=45, ha="right")
        ax.set(yticks=[], title="Values that each layer returns, and its parameters")
        ax.legend(loc="lower center", ncols=2, frameon=False)
        ax.set_ylim(-0.75 * max(heights), 0.55 * max(heights))
        self.ax_ = ax
        return self


def _drawn_layers(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the layers that have parameters or change the shape."""
    changed = summary["output_shape"] != summary["output_shape"].shift()
    return summary[changed | (summary["parameters"] > 0)].reset_index(drop=True)
