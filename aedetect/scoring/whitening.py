"""The squared Mahalanobis distance to rows, of which there may be fewer than columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.linalg import cholesky, eigh, qr, solve_triangular
from torch import Tensor

from aedetect.model import Fitted, require, require_floats, require_number
from aedetect.scoring.marks import Marks
from aedetect.training import one_blas_thread

if TYPE_CHECKING:
    from aedetect.model import View

FloatArray = NDArray[np.float64]

RIDGE = 1e-3  # of the mean variance, added to each
SMALLEST = 1e-70  # ridge whose inverse root is a number of float32
LEAST = 1e-9  # share of a row that is left without its own part, for rounding
LEAST_SINGLE = 1e-4  # that share where coordinates are float32
BLOCK = 1024  # rows that are whitened at a time


@dataclass(frozen=True, eq=False)
class Whitening:
    """A mean and the inverse root of a covariance ``C + ridge * I``.

    Of fewer rows than columns the covariance is zero in most directions. Then those in which the
    rows lie are kept alone, as an orthonormal basis: in all others the variance is the ridge.
    """

    mean: NDArray[np.float32]  # (width,)
    weight: NDArray[np.float32]  # (rank, rank), whitens the coordinates
    basis: NDArray[np.float32] | None  # (rank, width), orthonormal rows; None for all directions
    ridge: float

    def __call__(self, rows: Tensor) -> Tensor:
        """Return the squared distance of rows ``(n, width)``, summed over directions, float64."""
        white, rest = self.split(rows)
        inside = white.square().sum(dim=1, dtype=torch.float64)
        if rest is None:
            return inside
        return inside + rest.square().sum(dim=1, dtype=torch.float64) / self.ridge

    def split(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the white coordinates of rows, and their parts outside the basis."""
        mean, weight, basis = self._tensors.on(rows.device)
        centred = rows - mean
        if self.basis is None:
            return F.linear(centred, weight), None
        coordinates = F.linear(centred, basis)
        # Taken off the row itself: a difference of two squares would round to anything.
        return F.linear(coordinates, weight), centred - coordinates @ basis

    def without(self, rows: Tensor, n_rows: int) -> Self:
        """Return the whitening without some of its ``n_rows`` rows, ``(k, width)``.

        By the formula of Sherman, Morrison & Woodbury: each row that is left out adds the square of
        one more coordinate to a squared distance.
        """
        white = self.split(rows)[0].double().cpu().numpy()  # (k, rank)
        parts, axes = eigh(white @ white.T / n_rows)  # of the covariance that are theirs
        rest = n_rows * np.maximum(1 - parts, LEAST_SINGLE)
        further = (axes / np.sqrt(rest)).T @ white @ self.weight
        return replace(self, weight=np.concatenate([self.weight, further.astype(np.float32)]))

    def check(self, width: int) -> None:
        """Raise a StateError unless the arrays fit rows of this width."""
        basis = self.basis
        require_number("the ridge", self.ridge, above=0)
        require(isinstance(self.weight, np.ndarray), "the weight of a whitening is not an array")
        rank = len(self.weight) if basis is None else len(basis)
        require(0 < rank <= width, "a whitening has more directions than there are")
        require_floats("the mean of a whitening", self.mean, (width,), np.float32)
        n_columns = width if basis is None else rank
        require_floats("the weight of a whitening", self.weight, (rank, n_columns), np.float32)
        if basis is not None:
            require_floats("the basis of a whitening", basis, (rank, width), np.float32)

    @cached_property
    def _tensors(self) -> Fitted:
        basis = np.empty((0, len(self.mean)), np.float32) if self.basis is None else self.basis
        return Fitted(self.mean, self.weight, basis)


def fit_whitening(rows: NDArray[np.float32], device: torch.device) -> tuple[Whitening, FloatArray]:
    """Return the whitening of rows, and the distance of each row from the others.

    All sums are in float64 and, on a CPU, on one thread: more would change the bits. The ridge is
    above ``RIDGE / width`` of the largest variance, which is far above the rounding of float64: so
    the covariance has a Cholesky factor, whatever the rows.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, width), float32
    device : torch.device
        Where to compute.

    Returns
    -------
    whitening : Whitening
    left_out : ndarray of shape (n_rows,), float64
        The squared distances from the mean, by the covariance, of the other rows alone.

    Raises
    ------
    ValueError
        If a row is not finite.
    """
    if not np.isfinite(rows).all():
        raise ValueError(
            "The activations of the training rows are too large for float32: X holds extreme"
            " values. Clip them, or leave scaling='auto' on."
        )
    n_rows = len(rows)
    # Rounded as it is subtracted later: of equal rows nothing may be left.
    mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    if device.type == "cpu":
        with one_blas_thread():
            basis, weight, ridge, squares = _factorise(rows - mean.astype(np.float64))
    else:
        basis, weight, ridge, squares = _factorise_on(device, rows, mean)
    # Sherman & Morrison, 1950: the covariance without the row's own square.
    others = max(n_rows - 1, LEAST)
    left_out = n_rows / others * squares / np.maximum(1 - squares / others, LEAST)
    # Files hold arrays in C order, and products with few rows round by the order.
    basis = None if basis is None else np.ascontiguousarray(basis, np.float32)
    return Whitening(mean, np.ascontiguousarray(weight, np.float32), basis, ridge), left_out


def fit_whitenings(
    rows: NDArray[np.float32], device: torch.device
) -> tuple[list[Whitening], FloatArray]:
    """Return the whitening of each member, and the mean distance of each row from the others.

    The rows are ``(n_rows, M, width)``, the distances ``(n_rows,)``; see :func:`fit_whitening`.
    """
    fitted = [fit_whitening(rows[:, member], device) for member in range(rows.shape[1])]
    return [whitening for whitening, _ in fitted], np.mean([d for _, d in fitted], axis=0)


def mean_distance(whitenings: list[Whitening], rows: Tensor) -> Tensor:
    """Return the squared distance of rows ``(M, n, width)``, mean over the members, ``(n,)``."""
    if len(whitenings) == 1:
        return whitenings[0](rows[0])
    pairs = zip(whitenings, rows, strict=True)
    return torch.stack([whitening(member) for whitening, member in pairs]).mean(dim=0)


def leave_out(
    whitenings: list[Whitening], marks: Marks, view: View, rows_of: Callable[[View], Tensor]
) -> list[Whitening]:
    """Return the whitenings without the reference rows of a view.

    ``rows_of`` returns what the whitenings of members are fitted to, ``(M, n, width)``.
    """
    x = marks.known_rows(view.x)
    if not len(x):
        return whitenings
    pairs = zip(whitenings, rows_of(type(view)(view.model, x)), strict=True)
    return [whitening.without(member, len(marks.scores)) for whitening, member in pairs]


Factors = tuple[FloatArray | None, FloatArray, float, FloatArray]


def _factorise(coordinates: FloatArray) -> Factors:
    """Return basis, inverse root of the covariance, ridge and squared lengths of centred rows."""
    basis, (n_rows, width) = None, coordinates.shape
    if 2 * n_rows <= width:  # from here on two products are less than one with a square matrix
        directions, triangle = qr(coordinates.T, mode="economic", check_finite=False)
        basis, coordinates = directions.T, np.ascontiguousarray(triangle.T)
    covariance = coordinates.T @ coordinates / n_rows
    ridge = _ridge(float(covariance.trace()), width)
    np.fill_diagonal(covariance, covariance.diagonal() + ridge)
    factor = cholesky(covariance, lower=True, overwrite_a=True)
    weight = solve_triangular(factor, np.eye(len(factor)), lower=True, overwrite_b=True)
    return basis, weight, ridge, _squared_lengths(coordinates, weight)


def _factorise_on(
    device: torch.device, rows: NDArray[np.float32], mean: NDArray[np.float32]
) -> Factors:
    """Do as :func:`_factorise` on a device; the bits differ."""
    rows_there, mean_there = (torch.tensor(array, device=device) for array in (rows, mean))
    basis, coordinates = None, rows_there.double() - mean_there
    n_rows, width = coordinates.shape
    if 2 * n_rows <= width:
        directions, triangle = torch.linalg.qr(coordinates.mT)
        basis, coordinates = directions.mT.cpu().numpy(), triangle.mT
    covariance = coordinates.mT @ coordinates / n_rows
    ridge = _ridge(float(covariance.trace()), width)
    covariance.diagonal().add_(ridge)
    identity = torch.eye(len(covariance), dtype=torch.float64, device=device)
    factor = torch.linalg.cholesky(covariance)
    weight = torch.linalg.solve_triangular(factor, identity, upper=False)
    squares = F.linear(coordinates, weight).square().sum(dim=1)
    return basis, weight.cpu().numpy(), ridge, squares.cpu().numpy()


def _ridge(trace: float, width: int) -> float:
    """Return what is added to each variance, given their sum."""
    ridge = RIDGE * trace / width
    return max(ridge, SMALLEST) if ridge else 1.0  # 1 where all rows are equal


def _squared_lengths(coordinates: FloatArray, weight: FloatArray) -> FloatArray:
    blocks = [coordinates[i : i + BLOCK] for i in range(0, len(coordinates), BLOCK)]
    return np.concatenate([np.square(block @ weight.T).sum(axis=1) for block in blocks])


def check_whitenings(whitenings: list[Whitening], n_members: int, width: int) -> None:
    """Raise a StateError unless there is one whitening of this width a member."""
    require(len(whitenings) == n_members, f"{len(whitenings)} whitenings of {n_members}")
    for whitening in whitenings:
        whitening.check(width)
