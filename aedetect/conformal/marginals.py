"""The columns of the calibration rows: their means, their levels, and any rows as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import narwhals.stable.v2 as nw
import numpy as np
from scipy.sparse import issparse
from sklearn.utils import _safe_indexing

from aedetect.estimators.categories import LEVELS, encode, fit_coding
from aedetect.estimators.containers import unpack
from aedetect.model import Coding, require, require_floats, require_keys
from aedetect.places import PlaceError, column_names, columns_of
from aedetect.rows import Rows
from aedetect.scoring import FloatArray

MOST_COLUMNS = 256  # of a table; wider ones hold the pixels of images or the samples of signals


@dataclass(frozen=True, eq=False)
class Marginals:
    """The marginal distributions of columns, as far as a report on their changes needs them.

    Parameters
    ----------
    width : int
        Columns of the table.
    kept : list of int
        Numbers of those that hold numbers or categories.
    names : list of str or int, or None
        Their names; None if the table had none.
    coding : Coding
        The levels of those that are categories, numbered within ``kept``.
    means, deviations, missing : ndarray of shape (n_kept,), float64
        Of numbers, where the deviation of a constant column is 1; the share of missing cells.
    """

    width: int
    kept: list[int]
    names: list[Any] | None
    coding: Coding
    means: FloatArray
    deviations: FloatArray
    missing: FloatArray

    @property
    def labels(self) -> list[str]:
        """Names of the columns for people: x0, x1 and so on if they have none."""
        return [str(name) for name in self.names or [f"x{number}" for number in self.kept]]

    def to_numbers(self, X: Any) -> FloatArray:
        """Return rows as numbers that can be ordered, ``(n_rows, n_kept)``.

        Levels are their codes, missing cells are infinite, and levels that no calibration row has
        come after all others.

        Raises
        ------
        ValueError
            If columns are missing, or a cell of a column of numbers is no number.
        """
        X, given = _readable(X), column_names(X)
        if self.names is not None and given is not None:
            missing = [name for name in self.names if name not in given]
            if missing:
                raise ValueError(
                    f"X lacks the column {missing[0]!r}, which the calibration rows had (columns"
                    f" that it lacks in all: {len(missing)})."
                )
            columns = [given.index(name) for name in self.names]
        else:
            self._check_width(X)
            columns = self.kept
        part = _part(X, columns)
        if isinstance(part, np.ndarray) and part.dtype == np.float64 and not self.coding.columns:
            numbers = part  # as encode would return it, after checks that take long
        else:
            with columns_of(columns):
                numbers = encode(part, self.coding, takes_missing=True, fitting=False)
        return np.where(np.isnan(numbers), np.inf, numbers)

    def to_state(self) -> dict[str, Any]:
        """Return NumPy arrays and plain Python."""
        return {**vars(self), "coding": self.coding.to_state() if self.coding.columns else None}

    @classmethod
    def from_state(cls, state: Any) -> Self:
        """Return the marginals of a state, or raise a StateError."""
        require_keys("the columns", state, set(cls.__dataclass_fields__))
        kept, names, width = state["kept"], state["names"], state["width"]
        require(
            isinstance(kept, list) and all(type(n) is int for n in kept) and type(width) is int,
            "the columns have no numbers",
        )
        require(
            len(kept) > 0 and sorted(set(kept)) == kept and kept[0] >= 0 and kept[-1] < width,
            f"the numbers of the columns are {kept!r:.80}",
        )
        is_named = isinstance(names, list) and all(type(name) in (str, int) for name in names)
        require(names is None or (is_named and len(names) == len(kept)), "names are missing")
        for name in ("means", "deviations", "missing"):
            positive = name == "deviations"
            require_floats(f"{name} of the columns", state[name], (len(kept),), positive=positive)
        coding = Coding(len(kept), {})
        if state["coding"] is not None:
            coding = Coding.from_state(state["coding"])
        require(coding.n_features == len(kept), "the levels are those of other columns")
        return cls(**{**state, "coding": coding})

    def _check_width(self, X: Any) -> None:
        shape = np.shape(X)
        if len(shape) != 2 or shape[1] != self.width:
            raise ValueError(
                f"X must have the {self.width} columns of the calibration rows, but its shape is"
                f" {shape}."
            )


def fit_marginals(X: Any) -> tuple[Marginals, FloatArray] | None:
    """Return the marginals of some rows and the rows as numbers, None if ``X`` is no table.

    Columns that hold neither numbers nor levels, such as dates and identifiers, are left out.
    """
    X = _as_table(X)
    if X is None:
        return None
    codings = {column: _coding_of(X, column) for column in range(X.shape[1])}
    kept = [column for column, coding in codings.items() if coding is not None]
    if not kept:
        return None
    categories = {
        place: coding.categories[0]
        for place, column in enumerate(kept)
        if (coding := codings[column]) is not None and coding.categories
    }
    names = column_names(X)
    blank = Marginals(
        width=X.shape[1],
        kept=kept,
        names=None if names is None else [_plain(names[column]) for column in kept],
        coding=Coding(len(kept), categories),
        means=np.zeros(len(kept)),
        deviations=np.ones(len(kept)),
        missing=np.zeros(len(kept)),
    )
    numbers = blank.to_numbers(X)
    return Marginals(**{**vars(blank), **_moments(numbers)}), numbers


def _plain(name: Any) -> str | int:
    return int(name) if isinstance(name, int | np.integer) else str(name)


def _as_table(X: Any) -> Any:
    """Return a frame or an array of two dimensions, None for all else."""
    if issparse(X):
        return None
    X, names = _readable(X), column_names(X)
    if names is not None and len(set(names)) < len(names):
        return None
    return X if len(X.shape) == 2 and 0 < X.shape[1] <= MOST_COLUMNS else None


def _readable(X: Any) -> Any:
    """Return rows in a frame or an array."""
    if isinstance(X, Rows):
        return X.to_pandas() if X.column_names else X.to_numpy()
    if nw.dependencies.is_into_dataframe(X):
        return X
    X = unpack(X)  # a batch of Arrow becomes a frame
    return X if hasattr(X, "shape") else np.asarray(X, dtype=object)


def _coding_of(X: Any, column: int) -> Coding | None:
    """Return the coding of one column, which is empty for numbers; None if it is neither."""
    part = _part(X, [column])
    try:
        if _holds_levels(part):
            return fit_coding(part, [0], takes_missing=True)
        encode(part, Coding(1, {}), takes_missing=True, fitting=False)
    except (TypeError, ValueError):  # PlaceError is one
        return None
    return Coding(1, {})


def _holds_levels(part: Any) -> bool:
    if not nw.dependencies.is_into_dataframe(part):
        return False
    dtype = nw.from_native(part, eager_only=True)[:, 0].dtype
    if dtype.is_temporal():
        raise PlaceError("Column {column} holds dates.", column=0)
    return isinstance(dtype, LEVELS)


def _part(X: Any, columns: list[int]) -> Any:
    if isinstance(X, np.ndarray) and len(columns) == X.shape[1]:
        return X
    return _safe_indexing(X, columns, axis=1)


def _moments(numbers: FloatArray) -> dict[str, FloatArray]:
    """Return means and deviations of the finite numbers of each column, and shares of missing."""
    finite = np.where(np.isfinite(numbers), numbers, np.nan)
    has_any = np.isfinite(numbers).any(axis=0)
    means, deviations = np.zeros(finite.shape[1]), np.ones(finite.shape[1])
    means[has_any] = np.nanmean(finite[:, has_any], axis=0)
    deviations[has_any] = np.nanstd(finite[:, has_any], axis=0)
    bounds = np.finfo(np.float64).max
    deviations = np.where((deviations > 0) & (deviations < bounds), deviations, 1.0)
    return {
        "means": np.clip(means, -bounds, bounds),
        "deviations": deviations,
        "missing": np.isinf(numbers).mean(axis=0),
    }
