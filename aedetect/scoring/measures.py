"""How odd rows are, measured in several ways.

A measure is a squared distance or behaves like one: 0 or above, higher is odder. It is fitted to
reference rows (training rows, scaled) once the network is trained, and holds NumPy arrays alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aedetect.losses import FEATURE_ERRORS
from aedetect.networks import Autoencoder
from aedetect.scoring.neighbors import Neighbors, fit_neighbors
from aedetect.scoring.recognition import Marks, fit_marks
from aedetect.scoring.sketch import sketch
from aedetect.scoring.thresholds import FloatArray
from aedetect.scoring.whitening import Whitening, fit_whitening

Members = Sequence[Autoencoder]
# Returns a function's values for all reference rows, the held-out ones first.
Evaluate = Callable[[Callable[[Tensor], Tensor]], NDArray]


class Measure(Protocol):
    """Measures how odd rows are."""

    def __call__(self, members: Members, x: Tensor) -> Tensor:
        """Return the oddity of scaled rows ``(rows, n_features)``: ``(rows,)``, float64.

        That of a reference row is what it would be, had covariances and neighbours been those of
        the other rows alone.
        """


def fit_measure(
    score: str, members: Members, loss: str, evaluate: Evaluate, n_held_out: int
) -> Measure:
    """Return the measure that a ``score`` stands for.

    Parameters
    ----------
    score : str
        One of ``SCORES``.
    members : sequence of Autoencoder
        The trained networks.
    loss : str
        Key of ``FEATURE_ERRORS``.
    evaluate : callable
        ``evaluate(function)`` returns the function's values for the reference rows.
    n_held_out : int
        How many of the reference rows, the first ones, the networks were not fitted to.
    """
    if score == "reconstruction":
        return Reconstruction(loss)
    if score == "standardized":
        return _fit_standardized(members, loss, evaluate, n_held_out)
    if score == "sap":
        return _fit_layerwise(members, loss, evaluate)
    if score == "neighbors":
        return RowNeighbors(fit_neighbors(evaluate(lambda x: x)))
    if score == "latent_neighbors":
        return CodeNeighbors(fit_neighbors(evaluate(lambda x: codes(members, x))))
    if score == "combined":
        names = ("activations", "neighbors")
        return Product([fit_measure(n, members, loss, evaluate, n_held_out) for n in names])
    return _fit_whitened(score, members, loss, evaluate)


# The reconstruction and its error.


def restore(members: Members, x: Tensor, loss: str) -> Tensor:
    """Return the members' mean version of scaled rows; the decoder of ``"bce"`` gives logits."""
    rows = [member(x) for member in members]
    x_hat = rows[0] if len(rows) == 1 else torch.stack(rows).mean(dim=0)
    return torch.sigmoid(x_hat) if loss == "bce" else x_hat


def feature_errors(members: Members, x: Tensor, loss: str) -> Tensor:
    """Return what each feature costs, ``(rows, n_features)``; the mean over the members."""
    errors = [FEATURE_ERRORS[loss](member(x), x).double() for member in members]
    return errors[0] if len(errors) == 1 else torch.stack(errors).mean(dim=0)


class Reconstruction(NamedTuple):
    """The reconstruction error, summed over features."""

    loss: str

    def __call__(self, members: Members, x: Tensor) -> Tensor:
        """Return the error of rows."""
        return self.parts(members, x).sum(dim=1)

    def parts(self, members: Members, x: Tensor) -> Tensor:
        """Return what each feature adds, ``(rows, n_features)``."""
        return feature_errors(members, x, self.loss)


class Standardized(NamedTuple):
    """The reconstruction error, each feature's in units of what is usual for it."""

    loss: str
    usual: FloatArray  # (n_features,)

    def __call__(self, members: Members, x: Tensor) -> Tensor:
        """Return the mean of the features' ratios."""
        return self.parts(members, x).sum(dim=1)

    def parts(self, members: Members, x: Tensor) -> Tensor:
        """Return what each feature adds, ``(rows, n_features)``."""
        errors = feature_errors(members, x, self.loss)
        return errors / torch.from_numpy(self.usual).to(x.device) / x.shape[1]


def _fit_standardized(
    members: Members, loss: str, evaluate: Evaluate, n_held_out: int
) -> Standardized:
    errors = evaluate(lambda x: feature_errors(members, x, loss))
    usual = errors[: n_held_out or None].mean(axis=0)
    # A feature that never erred must not turn a tiny drift into a huge score.
    return Standardized(loss, np.maximum(usual, 0.01 * usual.mean() or 1.0))


# What happens inside the network.


def _paths(member: Autoencoder, loss: str, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Return the activations of rows, and those of their reconstructions."""
    x_hat = restore([member], x, loss)
    return member.activations(x), member.activations(x_hat)


class Layerwise(NamedTuple):
    """How far the activations of a row and of its reconstruction are apart, layer by layer.

    SAP of Kim et al., "RaPP: Novelty detection with reconstruction along projection pathway",
    ICLR 2020. Differs from Kim et al.: each layer counts in units of its mean over the reference
    rows, or the largest activations would decide alone, and the code is left out, which tells less
    than the layers before it.
    """

    loss: str
    usual: list[FloatArray]  # of each member, (n_layers,)

    def __call__(self, members: Members, x: Tensor) -> Tensor:
        """Return the mean of the layers' ratios."""
        ratios = [
            _squared_differences(member, self.loss, x) / torch.from_numpy(usual).to(x.device)
            for member, usual in zip(members, self.usual, strict=True)
        ]
        return torch.stack(ratios).mean(dim=2).mean(dim=0)


def _fit_layerwise(members: Members, loss: str, evaluate: Evaluate) -> Layerwise:
    means = [
        evaluate(partial(_squared_differences, member, loss)).mean(axis=0) for member in members
    ]
    return Layerwise(loss, [np.where(mean > 0, mean, 1.0) for mean in means])


def _squared_differences(member: Autoencoder, loss: str, x: Tensor) -> Tensor:
    """Return how far a row and its reconstruction are apart in each layer, ``(rows, layers)``."""
    pairs = zip(*_paths(member, loss, x), strict=True)
    gaps = [(h - h_hat).double().square().sum(dim=1) for h, h_hat in pairs]
    return torch.stack(gaps[:-1], dim=1)


def codes(members: Members, x: Tensor) -> Tensor:
    """Return the codes of all members side by side."""
    return torch.cat([member.encode(x) for member in members], dim=1)


def _code(member: Autoencoder, loss: str, x: Tensor) -> list[Tensor]:
    return [member.encode(x)]


def _differences(member: Autoencoder, loss: str, x: Tensor) -> list[Tensor]:
    return [h - h_hat for h, h_hat in zip(*_paths(member, loss, x), strict=True)]


def _activations_and_differences(member: Autoencoder, loss: str, x: Tensor) -> list[Tensor]:
    hidden, restored = _paths(member, loss, x)
    return [*hidden, *(h - h_hat for h, h_hat in zip(hidden, restored, strict=True))]


# What a Mahalanobis distance is taken of, as tensors (rows, width).
WHITENED: dict[str, Callable[[Autoencoder, str, Tensor], list[Tensor]]] = {
    "mahalanobis": _code,
    "nap": _differences,
    "activations": _activations_and_differences,
}
SCORES = (
    *("reconstruction", "standardized", "sap", "neighbors", "latent_neighbors", "combined"),
    *WHITENED,
)


class Whitened(NamedTuple):
    """The squared Mahalanobis distance of what a network makes of a row.

    ``"nap"`` is NAP of Kim et al. (2020): the differences between the activations of a row
    and of its reconstruction. Differs from Kim et al.: a small ridge takes the place of cutting
    off directions without variance, in which anomalies show. ``"activations"`` takes the
    activations together with these differences, ``"mahalanobis"`` the code alone.
    """

    kind: str
    loss: str
    whitenings: list[Whitening]  # of each member
    marks: Marks | None  # None: all rows are taken for new ones

    def __call__(self, members: Members, x: Tensor) -> Tensor:
        """Return the distance per direction: about 1 on average for the reference rows."""
        pairs = zip(members, self.whitenings, strict=True)
        distances = torch.stack(
            [whitening(whitened_rows(self.kind, m, self.loss, x)) for m, whitening in pairs]
        )
        distances = distances.mean(dim=0) / len(self.whitenings[0].mean)
        return distances if self.marks is None else self.marks.known_or(x, distances)


def whitened_rows(kind: str, member: Autoencoder, loss: str, x: Tensor) -> Tensor:
    """Return what the distance is taken of, ``(rows, width)``."""
    return torch.cat([sketch(part) for part in WHITENED[kind](member, loss, x)], dim=1)


def _fit_whitened(kind: str, members: Members, loss: str, evaluate: Evaluate) -> Whitened:
    whitenings, left_out = [], []
    for member in members:
        rows = evaluate(partial(whitened_rows, kind, member, loss))
        whitening, distances = fit_whitening(rows)
        whitenings.append(whitening)
        left_out.append(distances / rows.shape[1])
    marks = fit_marks(evaluate(lambda x: x), np.mean(left_out, axis=0))
    return Whitened(kind, loss, whitenings, marks)


# Nearest neighbours.


class RowNeighbors(NamedTuple):
    """The distance to the nearest training rows."""

    neighbors: Neighbors

    def __call__(self, members: Members, x: Tensor) -> Tensor:
        """Return the squared geometric mean of the distances."""
        return self.neighbors(x)


class CodeNeighbors(NamedTuple):
    """The same among the codes, all members' side by side."""

    neighbors: Neighbors

    def __call__(self, members: Members, x: Tensor) -> Tensor:
        """Return the squared geometric mean of the distances."""
        return self.neighbors(codes(members, x))


# Several at once.


class Product(NamedTuple):
    """The geometric mean of measures.

    A row is odd where both find it odd, or where one does so strongly. Their units do not matter,
    so nothing has to be calibrated.
    """

    parts: list[Measure]

    def __call__(self, members: Members, x: Tensor) -> Tensor:
        """Return the geometric mean."""
        logs = [torch.log(part(members, x)) for part in self.parts]
        return torch.exp(torch.stack(logs).mean(dim=0))
