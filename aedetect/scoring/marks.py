"""Fingerprints of the reference rows, by which they are recognised when they are scored."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aedetect.model import Fitted, require_floats
from aedetect.scoring.neighbors import SAME
from aedetect.scoring.thresholds import FloatArray

N_MARKS = 4
N_TRIED = 4  # rows with nearly the first mark of a row that are compared with it
LARGEST = 1e30  # difference that can be rounding


@dataclass(frozen=True, eq=False)
class Marks:
    """Random projections of the reference rows, in the order of the first, and their scores.

    A training row must not be judged by a covariance that it is part of. A row whose marks equal
    those of a reference row, but for rounding, is taken for that row, as the neighbour bank does
    with a row at distance 0.
    """

    marks: FloatArray  # (n_rows, N_MARKS)
    scores: FloatArray  # (n_rows,), of the reference rows as if each had been left out

    def replace_known(self, x: Tensor, scores: Tensor) -> Tensor:
        """Return the scores of scaled rows ``x``; those of reference rows are replaced."""
        firsts = self._tensors.on(x.device)[1]
        x = x.detach().double()
        # The last bits of a product, 1e-16 of a row's length, may depend on the number of rows.
        # They matter only if a row differs from a reference row by the limit below, 2e-6, to
        # within 1e-16, and then either score would do.
        own = _project(x, 1)
        length = torch.linalg.vector_norm(x, dim=1, keepdim=True)
        # Without a limit, a row that is not finite would equal every mark.
        rounding = (SAME * length).clamp_max(LARGEST)
        first = _count_below(firsts, own - rounding)
        if torch.compiler.is_exporting():
            return self._compare(x, rounding, first, scores)
        nearest = firsts[first.clamp_max(len(firsts) - 1)]
        near = ((nearest - own).abs() <= rounding).nonzero()[:, 0]
        if not len(near):
            return scores
        replaced = scores.clone()
        replaced[near] = self._compare(x[near], rounding[near], first[near], scores[near])
        return replaced

    def find(self, x: NDArray[np.float32]) -> FloatArray:
        """Return the scores of the reference rows among scaled rows, NaN for other rows."""
        unknown = torch.full((len(x),), torch.nan, dtype=torch.float64)
        return self.replace_known(torch.from_numpy(x), unknown).numpy()

    def _compare(self, x: Tensor, rounding: Tensor, first: Tensor, scores: Tensor) -> Tensor:
        """Return the scores, replaced where all marks of a row from the ``first`` on are equal."""
        marks, _, kept = self._tensors.on(x.device)
        places = (first + torch.arange(N_TRIED, device=x.device)).clamp_max(len(marks) - 1)
        gaps = (marks[places] - _project(x)[:, None]).abs()  # (rows, N_TRIED, N_MARKS)
        is_known = (gaps <= rounding[:, None]).all(dim=2)
        found = torch.where(is_known, kept[places], -1.0).amax(dim=1)
        return torch.where(found >= 0, found, scores)

    def known_rows(self, x: Tensor) -> Tensor:
        """Return the reference rows among scaled rows ``x``, each once."""
        known = self.replace_known(x, x.new_full((len(x),), -1.0).double())
        return torch.unique(x[known >= 0], dim=0)

    @functools.cached_property
    def _tensors(self) -> Fitted:
        return Fitted(self.marks, self.marks[:, 0], self.scores)

    def check(self) -> None:
        """Raise a StateError unless every row has its marks and its score."""
        require_floats("the marks", self.marks, (len(self.scores), N_MARKS))
        require_floats("the scores of the marks", self.scores, (len(self.marks),))


def fit_marks(x: NDArray[np.float32], scores: FloatArray) -> Marks:
    """Return the marks of scaled rows ``(n_rows, n_features)``."""
    marks = _project(torch.from_numpy(x).double()).numpy()
    order = np.argsort(marks[:, 0], kind="stable")
    return Marks(marks[order], scores[order])


def _project(x: Tensor, n_marks: int = N_MARKS) -> Tensor:
    return x @ torch.from_numpy(_directions(x.shape[1]))[:, :n_marks].to(x.device)


@functools.lru_cache
def _directions(width: int) -> NDArray[np.float64]:
    """Return random directions ``(width, N_MARKS)``. Kept: an export draws no numbers."""
    return np.random.RandomState(0).standard_normal((width, N_MARKS))


def _count_below(values: Tensor, limits: Tensor) -> Tensor:
    """Return how many of the ascending values lie below each limit, ``(rows, 1)``."""
    if torch.compiler.is_exporting():  # no other runtime has a binary search
        return (values < limits).sum(dim=1, keepdim=True)
    return torch.searchsorted(values, limits)
