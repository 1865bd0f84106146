"""The squared Mahalanobis distance to rows, of which there may be fewer than columns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.linalg import cholesky, qr, solve_triangular
from torch import Tensor

from aedetect.training import one_blas_thread

FloatArray = NDArray[np.float64]

RIDGE = 1e-3  # of the mean variance, added to each
SMALLEST = 1e-70  # ridge whose inverse root is a number of float32
BLOCK = 1024  # rows whose squares are summed at a time, in float64


class Whitening(NamedTuple):
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
        inside = white.double().square().sum(dim=1)
        if rest is None:
            return inside
        return inside + rest.double().square().sum(dim=1) / self.ridge

    def split(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the white coordinates of rows, and what lies outside the basis."""
        mean, weight = (torch.from_numpy(a).to(rows.device) for a in (self.mean, self.weight))
        centred = rows - mean
        if self.basis is None:
            return F.linear(centred, weight), None
        basis = torch.from_numpy(self.basis).to(rows.device)
        coordinates = F.linear(centred, basis)
        # Taken off the row itself: a difference of two squares would round to anything.
        return F.linear(coordinates, weight), centred - coordinates @ basis


def fit_whitening(rows: NDArray[np.float32]) -> Whitening:
    """Return the whitening of ``rows``, of shape (n_rows, width).

    All sums are in float64 and on one thread, whose number must not change a bit. The ridge is
    above ``RIDGE / width`` of the largest variance, which is far above the rounding of float64: so
    the covariance has a Cholesky factor, whatever the rows.

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
    n_rows, width = rows.shape
    # Rounded as it is subtracted later: of equal rows nothing may be left.
    mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    with one_blas_thread():
        basis, coordinates = None, rows
        if 2 * n_rows <= width:  # from here on two products are less than one with a square matrix
            basis, coordinates = _basis(rows.astype(np.float64) - mean)
            covariance = coordinates.T @ coordinates / n_rows
        else:
            covariance = _covariance(rows, mean)
        ridge = float(RIDGE * covariance.trace() / width)
        ridge = max(ridge, SMALLEST) if ridge else 1.0  # 1 where all rows are equal
        np.fill_diagonal(covariance, covariance.diagonal() + ridge)
        factor = cholesky(covariance, lower=True, overwrite_a=True)
        weight = solve_triangular(factor, np.eye(len(factor)), lower=True, overwrite_b=True)
    return Whitening(mean, weight.astype(np.float32), basis, ridge)


def _covariance(rows: NDArray[np.float32], mean: NDArray[np.float32]) -> FloatArray:
    total = np.zeros((len(mean), len(mean)))
    for first in range(0, len(rows), BLOCK):
        centred = rows[first : first + BLOCK].astype(np.float64) - mean
        total += centred.T @ centred
    return total / len(rows)


def _basis(centred: FloatArray) -> tuple[NDArray[np.float32], FloatArray]:
    """Return an orthonormal basis of the rows ``(n_rows, width)``, and their coordinates."""
    directions, coordinates = qr(centred.T, mode="economic", check_finite=False)
    return np.ascontiguousarray(directions.T, dtype=np.float32), coordinates.T
