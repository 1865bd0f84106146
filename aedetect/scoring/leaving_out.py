"""Measures without some of the rows that they were fitted to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy.linalg import cholesky, solve_triangular

from aedetect.scoring.measures import (
    CodeNeighbors,
    Measure,
    Members,
    Product,
    RowNeighbors,
    Whitened,
    codes,
    whitened_rows,
)
from aedetect.scoring.missing import ObservedCells, fill
from aedetect.scoring.neighbors import SAME, Neighbors
from aedetect.scoring.whitening import Whitening

LEAST = 1e-4  # that is left of a row by itself, for rounding in float32


def without_rows(measure: Measure, n_rows: int) -> Measure:
    """Return a measure for which the first reference rows are new: none is its own neighbour."""
    if isinstance(measure, Product):
        return Product([without_rows(part, n_rows) for part in measure.parts])
    if isinstance(measure, RowNeighbors | CodeNeighbors):
        neighbors = measure.neighbors
        if len(neighbors.bank) - n_rows > 1:
            return type(measure)(replace(neighbors, bank=neighbors.bank[n_rows:]))
    return measure


def of_copies(measure: Measure) -> Measure:
    """Return a measure of copies of rows that compares them with the row itself.

    Copies are new rows to a covariance. So must the row be, or leaving it out would count as the
    work of the feature that was changed.
    """
    if isinstance(measure, Product):
        return Product([of_copies(part) for part in measure.parts])
    return measure._replace(marks=None) if isinstance(measure, Whitened) else measure


@torch.inference_mode()
def leaving_out(measure: Measure, members: Members, x: torch.Tensor) -> Measure:
    """Return the measure without the reference rows that are among the rows ``x``.

    A training row that is moved is a new one to the measure, and all the less odd as the row that
    it was made of is still among the reference rows. Here it is not.

    Parameters
    ----------
    measure : Measure
    members : sequence of Autoencoder
    x : Tensor of shape (rows, n_features)
        Scaled rows.
    """
    match measure:
        case ObservedCells(inner, loss):
            return measure._replace(measure=leaving_out(inner, members, fill(members, x, loss)))
        case Product(parts):
            return Product([leaving_out(part, members, x) for part in parts])
        case Whitened(kind, loss, whitenings, marks) if marks is not None:
            known = marks.known_or(x, torch.full((len(x),), -1.0, dtype=torch.float64)) >= 0
            rows = torch.unique(x[known], dim=0)
            if not len(rows):
                return measure._replace(marks=None)
            pairs = zip(members, whitenings, strict=True)
            left = [
                _whitening_without(whitening, whitened_rows(kind, m, loss, rows), len(marks.marks))
                for m, whitening in pairs
            ]
            return measure._replace(whitenings=left, marks=None)
        case RowNeighbors(neighbors):
            return RowNeighbors(_bank_without(neighbors, x))
        case CodeNeighbors(neighbors):
            return CodeNeighbors(_bank_without(neighbors, codes(members, x)))
        case _:
            return measure


def _whitening_without(whitening: Whitening, rows: torch.Tensor, n_rows: int) -> Whitening:
    """Return a whitening without some of its rows, by the formula of Sherman, Morrison & Woodbury.

    What it adds to a squared distance are the squares of further coordinates, one for each row.
    """
    white = whitening.split(rows)[0].double().cpu().numpy()  # (k, rank)
    rest = n_rows * (1 + LEAST) * np.eye(len(white)) - white @ white.T
    try:
        factor = cholesky(rest, lower=True)
    except np.linalg.LinAlgError:  # so much of the covariance is theirs that nothing is left
        return whitening
    further = solve_triangular(factor, white, lower=True) @ whitening.weight
    weight = np.concatenate([whitening.weight, further.astype(np.float32)])
    return replace(whitening, weight=weight)


def _bank_without(neighbors: Neighbors, points: torch.Tensor) -> Neighbors:
    bank, points = torch.from_numpy(neighbors.bank).double(), points.cpu().double()
    rounding = SAME * points.norm(dim=1, keepdim=True)
    kept = (torch.cdist(points, bank) > rounding).all(dim=0).numpy()
    return replace(neighbors, bank=neighbors.bank[kept]) if kept.sum() > 1 else neighbors
