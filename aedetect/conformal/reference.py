"""Reference: the calibration rows as a Monitor compares new rows with them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import _safe_indexing

from aedetect.conformal.bets import COIN, LEVELS, LOW_END, ORDER
from aedetect.conformal.marginals import Marginals, fit_marginals
from aedetect.conformal.order import WIDTH, edge_ranks, fit_bins, in_lexical_order
from aedetect.conformal.splitting import Rows
from aedetect.model import require, require_keys
from aedetect.scoring import FloatArray

MOST_ROWS = 10_000  # whose columns are compared
SEED = 0  # of the draws among equal values, which are made once a calibration


@dataclass(frozen=True, eq=False)
class Reference:
    """The bins of scores and columns, and the gaps between calibration values in each.

    Its lines are the scores; the columns of the rows that score above ``tail`` of them; the columns
    of all rows.

    Parameters
    ----------
    digest : str
        SHA-256 of the calibration scores, which tells calibrations apart.
    tail : int
        Number of the lowest calibration scores that are the tail: the rows that count as odd.
    marginals : Marginals or None
        None if the rows are no table, or a wide one.
    bins : ndarray of shape (n_lines, 3, n_bins), float64
        Edges, their tie-breakers, and gaps.
    """

    digest: str
    tail: int
    marginals: Marginals | None
    bins: FloatArray

    @property
    def n_columns(self) -> int:
        """Number of columns that are compared."""
        return 0 if self.marginals is None else len(self.marginals.kept)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Gaps in each bin, ``(n_lines, n_bins)``."""
        return self.bins[:, 2].astype(np.int64)

    @property
    def n_tail_bins(self) -> int:
        """Number of bins of scores in the tail."""
        return int(np.searchsorted(np.cumsum(self.bins[0, 2]), self.tail)) + 1

    @cached_property
    def kinds(self) -> NDArray[np.int64]:
        """The kind of each stream of p-values: four of scores, columns of the bulk, columns."""
        columns = np.full(self.n_columns, ORDER)
        if self.marginals is not None:
            columns[self.marginals.coding.columns] = LEVELS
        return np.concatenate([[ORDER, COIN, ORDER, LOW_END], columns, columns])

    @cached_property
    def edges(self) -> NDArray[np.complex128]:
        """The edges of the bins of each line, in lexical order."""
        return in_lexical_order(self.bins[:, 0, :-1], self.bins[:, 1, :-1])

    def to_state(self) -> dict[str, Any]:
        """Return NumPy arrays and plain Python."""
        return {
            "digest": self.digest,
            "tail": self.tail,
            "marginals": None if self.marginals is None else self.marginals.to_state(),
            "bins": self.bins,
        }

    @classmethod
    def from_state(cls, state: Any) -> Self:
        """Return the reference of a state, or raise a StateError."""
        require_keys("the reference", state, {"digest", "tail", "marginals", "bins"})
        bins, marginals = state["bins"], state["marginals"]
        if marginals is not None:
            marginals = Marginals.from_state(marginals)
        n_lines = 1 + 2 * (0 if marginals is None else len(marginals.kept))
        require(
            isinstance(bins, np.ndarray)
            and bins.dtype == np.float64
            and bins.ndim == 3
            and bins.shape[:2] == (n_lines, 3)
            and 0 < bins.shape[2] <= WIDTH + 1
            and not np.isnan(bins).any()
            and bool((bins[:, 2] >= 0).all() and (bins[:, 2] < 2**53).all())
            and bool((bins[:, 2].sum(axis=1) >= 1).all()),
            "the bins of the reference are not one line each",
        )
        require(
            type(state["tail"]) is int and 0 < state["tail"] < bins[0, 2].sum(),
            "the tail of the reference is empty",
        )
        require(isinstance(state["digest"], str), "the reference has no checksum")
        return cls(**{**state, "marginals": marginals})


def make_reference(X: Any, held_out: Rows, scores: FloatArray, rank: int) -> Reference:
    """Return the reference of calibration rows.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
    held_out : ndarray of shape (n_calibration,)
        Numbers of the calibration rows.
    scores : ndarray of shape (n_calibration,)
        Their scores.
    rank : int
        Number of calibration scores at or below the alarm threshold.
    """
    random_state = np.random.RandomState(SEED)
    tail = max(int(rank), 1)
    ties = random_state.random_sample(len(scores))
    lines = [fit_bins(scores, ties, edge_ranks(len(scores), tail))]
    is_bulk = np.ones(len(scores), dtype=bool)
    is_bulk[np.lexsort((ties, scores))[:tail]] = False
    chosen = np.arange(len(scores))
    if len(scores) > MOST_ROWS:
        chosen = np.sort(random_state.choice(len(scores), MOST_ROWS, replace=False))
    marginals, numbers = fit_marginals(_safe_indexing(X, held_out[chosen])) or (None, None)
    if numbers is not None:
        ties = random_state.random_sample(numbers.shape)
        lines += _fit_lines(numbers[is_bulk[chosen]], ties[is_bulk[chosen]])
        lines += _fit_lines(numbers, ties)
    digest = hashlib.sha256(np.ascontiguousarray(scores).data).hexdigest()
    bins = np.array(lines)
    n_used = int(np.flatnonzero(bins[:, 2].any(axis=0))[-1]) + 1
    return Reference(digest, tail, marginals, bins[:, :, :n_used])


def _fit_lines(numbers: FloatArray, ties: FloatArray) -> list[FloatArray]:
    ranks = edge_ranks(len(numbers))
    return [fit_bins(*column, ranks) for column in zip(numbers.T, ties.T, strict=True)]
