"""Windows of rows that follow each other, as rows of a wider table."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval
from sklearn.utils._set_output import _get_container_adapter
from sklearn.utils.validation import (
    _check_feature_names_in,
    check_array,
    check_is_fitted,
)

from aedetect.estimators.tables import check_infinity, convert
from aedetect.places import PlaceError, names_places

ORDERED = (pd.DatetimeIndex, pd.PeriodIndex, pd.TimedeltaIndex)


class WindowTransformer(TransformerMixin, BaseEstimator):
    """Turn the rows of a series into windows of rows that follow each other.

    Each window is one row of the result: all of the first column, then all of the second. So a
    window of ``width`` rows of C columns is an image of C channels for networks with
    ``image_shape=(C, 1, width)``.

    The number of rows changes, and rows depend on their neighbours. In a Pipeline all later steps
    see windows, and the last one returns one result a window; :func:`score_timestamps` returns one
    score a row of the series. With ``width=1`` rows stay as they are, and all of scikit-learn's
    checks of estimators pass. With larger windows no transformer can pass those checks that compare
    results row by row.

    Parameters
    ----------
    width : int
        Rows of a window, at least 1: a period of the series or more.
    stride : int, default=1
        Rows from the start of a window to the start of the next, 1 to ``width``. If the last window
        would end before the last row, one more that ends with it is added, so that each row is in a
        window.

    Attributes
    ----------
    width_, stride_ : int
        The parameters in effect.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)
        Only if the columns have names.

    See Also
    --------
    score_timestamps : Scores of rows from the scores of windows.

    Examples
    --------
    >>> import numpy as np
    >>> from aedetect.series import WindowTransformer
    >>> windows = WindowTransformer(3, stride=2).fit(np.arange(6.0)[:, None])
    >>> windows.get_feature_names_out().tolist()
    ['x0_t-2', 'x0_t-1', 'x0_t']
    >>> windows.transform(np.arange(6.0)[:, None])
    array([[0., 1., 2.],
           [2., 3., 4.],
           [3., 4., 5.]])
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "width": [Interval(Integral, 1, None, closed="left")],
        "stride": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, width: int, stride: int = 1) -> None:
        self.width = width
        self.stride = stride

    @names_places
    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Check the columns and the number of rows; nothing is estimated.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of numbers in order of time. NaN stands for missing cells.
        y : ignored
            Present for API consistency.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If ``stride`` is above ``width``, if there are fewer rows than ``width``, if a cell is
            no number, or if an index of times is not in order.
        """
        self._validate_params()
        if self.stride > self.width:
            raise ValueError(
                f"stride={self.stride} must be at most width={self.width}, or rows between the"
                " windows would be in none of them."
            )
        blank = type(self)(self.width, self.stride)  # convert sets names of columns on it
        _check_rows(convert(blank, X, reset=True, min_rows=1), X, self.width)
        kept = {name: value for name, value in vars(self).items() if name != "feature_names_in_"}
        fitted = {**vars(blank), "width_": self.width, "stride_": self.stride}
        self.__dict__ = {**kept, **fitted}
        return self

    @names_places
    def transform(self, X: ArrayLike) -> NDArray[np.floating] | pd.DataFrame:
        """Return the windows of a series.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in order of time.

        Returns
        -------
        windows : ndarray or DataFrame of shape (n_windows, n_features * width)
            Copies of the rows. A DataFrame after ``set_output(transform="pandas")``: its index
            holds the label of the last row of each window, when the window is complete.

        Raises
        ------
        ValueError
            As :meth:`fit` does, and if the columns are not those of ``fit``.
        """
        check_is_fitted(self)
        rows = convert(self, X, reset=False, min_rows=1)
        _check_rows(rows, X, self.width_)
        starts = window_starts(len(rows), self.width_, self.stride_)
        windows = sliding_window_view(rows, self.width_, axis=0)[
            starts
        ]  # (windows, columns, width)
        windows = windows.reshape(len(starts), -1)
        adapter = _get_container_adapter("transform", self)
        if isinstance(X, pd.DataFrame) and getattr(adapter, "container_lib", None) == "pandas":
            return pd.DataFrame(windows, index=X.index[starts + self.width_ - 1])
        return windows

    def inverse_transform(self, X: ArrayLike, n_rows: int | None = None) -> NDArray[np.floating]:
        """Return the rows of a series: the mean over the windows that cover each row.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_features * width)
            Windows in order of time.
        n_rows : int or None, default=None
            Number of rows of the series. None stands for ``(n_windows - 1) * stride + width``,
            which is right where no window was added at the end, as with ``stride=1``.

        Returns
        -------
        rows : ndarray of shape (n_rows, n_features)
            NaN where all windows hold NaN.

        Raises
        ------
        ValueError
            If the windows are not as wide as, or not as many as, those of such a series.
        """
        check_is_fitted(self)
        windows = check_array(X, dtype=[np.float64, np.float32], ensure_all_finite="allow-nan")
        n_windows, n_cells = windows.shape
        n_rows = (n_windows - 1) * self.stride_ + self.width_ if n_rows is None else n_rows
        starts = window_starts(n_rows, self.width_, self.stride_)
        if n_cells != self.n_features_in_ * self.width_ or n_windows != len(starts):
            raise ValueError(
                f"A series of {n_rows} rows has {len(starts)} windows of"
                f" {self.n_features_in_ * self.width_} cells, but X has {n_windows} of {n_cells}."
                " Pass all windows that transform returned, and the number of its rows as n_rows."
            )
        cells = windows.reshape(n_windows, self.n_features_in_, self.width_)
        return mean_of_windows(np.moveaxis(cells, 2, 1), starts, n_rows)

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[np.object_]:
        """Return the names of the cells of a window: column and place before its last row.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns; None takes those of ``fit``, or x0, x1 and so on.

        Returns
        -------
        names : ndarray of str
            Such as ``heat_t-2``, ``heat_t-1``, ``heat_t``.
        """
        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        places = [f"t-{before}" for before in range(self.width_ - 1, 0, -1)] + ["t"]
        return np.array([f"{name}_{place}" for name in names for place in places], dtype=object)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def window_starts(n_rows: int, width: int, stride: int) -> NDArray[np.intp]:
    """Return the number of the first row of each window; the last window ends with the last row."""
    last = n_rows - width
    return np.append(np.arange(0, last, stride), last) if last >= 0 else np.arange(0)


def mean_of_windows(
    cells: NDArray[np.floating], starts: NDArray[np.intp], n_rows: int
) -> NDArray[np.floating]:
    """Return the mean of each row over the windows that cover it, without missing cells.

    ``cells`` is (n_windows, width, ...).
    """
    totals = np.zeros((n_rows, *cells.shape[2:]))
    counts = np.zeros_like(totals)
    for place in range(cells.shape[1]):  # no two windows have one row in one place
        totals[starts + place] += np.nan_to_num(cells[:, place], posinf=np.inf, neginf=-np.inf)
        counts[starts + place] += ~np.isnan(cells[:, place])
    means = np.divide(totals, counts, out=np.full_like(totals, np.nan), where=counts > 0)
    return means.astype(cells.dtype, copy=False)


def _check_rows(rows: NDArray, X: Any, width: int) -> None:
    """Refuse infinity, too few rows, and times that are not in order."""
    check_infinity(rows)
    if len(rows) < width:
        raise ValueError(
            f"X must have at least width={width} rows, those of one window, but it has"
            f" n_samples={len(rows)}. Give more rows, or make the windows narrower."
        )
    index = getattr(X, "index", None)
    if isinstance(index, ORDERED) and not index.is_monotonic_increasing:
        times = index.asi8
        ahead = np.append(False, times[1:] < times[:-1])
        raise PlaceError(
            "The rows of a series must be in order of time, but row {row} comes before the row"
            " above it. Sort them with X.sort_index().",
            row=int(ahead.argmax()),
        )
