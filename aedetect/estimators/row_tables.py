"""Checks of tables in memory and of Rows, by one set of functions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from aedetect.estimators import tables
from aedetect.estimators.categories import categorical_columns
from aedetect.estimators.tables import Table, check_missing
from aedetect.model import Coding, row_blocks
from aedetect.places import rows_of
from aedetect.rows import Reader, Rows


def check_training_rows(estimator: Any, X: ArrayLike | Rows) -> Table:
    """Return training rows, two or more; ``estimator``, which is not fitted, stays as it is."""
    if not isinstance(X, Rows):
        return tables.check_training_rows(estimator, X)
    stand_in = _stand_in(X)
    _refuse_categories(bool(categorical_columns(stand_in, estimator.categorical_features)))
    table = tables.check_training_rows(estimator, stand_in)
    _check_cells(X, takes_missing=estimator.missing == "mask", fitting=True)
    return table._replace(X=X.reader(), given=X)


def check_more_training_rows(estimator: Any, X: ArrayLike | Rows) -> Table:
    """Return training rows for a fitted estimator; their columns must be those of its fit."""
    if not isinstance(X, Rows):
        return tables.check_more_training_rows(estimator, X)
    _refuse_categories(estimator.detector_.model.columns.coding is not None)
    table = tables.check_more_training_rows(estimator, _stand_in(X))
    _check_cells(X, takes_missing=estimator.detector_.model.takes_missing, fitting=True)
    return table._replace(X=X.reader(), given=X)


def check_new_rows(estimator: Any, X: ArrayLike | Rows) -> NDArray[np.floating]:
    """Return rows for a fitted estimator as an array of floats, or a Reader of them."""
    if not isinstance(X, Rows):
        return tables.check_new_rows(estimator, X)
    model = estimator.detector_.model
    _refuse_categories(model.columns.coding is not None)
    tables.check_new_rows(estimator, _stand_in(X))
    _check_cells(X, takes_missing=model.takes_missing, fitting=False)
    rows = X.reader()
    if model.loss == "bce":
        check_unit_interval(rows, None)
    return rows


def check_unit_interval(X: NDArray, coding: Coding | None) -> None:
    """Refuse numbers outside [0, 1], which have no cross-entropy."""
    if not isinstance(X, Reader):
        tables.check_unit_interval(X, coding)
    elif X.rows.low.min() < 0 or X.rows.high.max() > 1:
        for block, cells in _blocks(X):
            with rows_of(block):
                tables.check_unit_interval(cells, coding)


def refuse_rows(X: Any, method: str) -> None:
    """Refuse Rows where a method needs an array."""
    if isinstance(X, Rows):
        raise TypeError(
            f"{method} takes an array or a frame, but X holds {len(X)} rows on disk. Take some and"
            " read them, such as rows[:1000].to_pandas()."
        )


def _refuse_categories(has_categories: bool) -> None:
    if has_categories:
        raise ValueError(
            "Rows on disk hold numbers, but categorical_features names columns of categories."
            " Encode them before the rows are opened and set categorical_features=None, or pass a"
            " frame."
        )


def _stand_in(rows: Rows) -> NDArray | pd.DataFrame:
    """Return one or two rows of zeros with the columns of ``rows``, for checks of names."""
    zeros = np.zeros((min(2, len(rows)), rows.shape[1]), dtype=np.float32)
    return zeros if rows.column_names is None else pd.DataFrame(zeros, columns=rows.column_names)


def _check_cells(rows: Rows, *, takes_missing: bool, fitting: bool) -> None:
    """Refuse NaN, or where it is allowed rows without a value, and columns in ``fit``."""
    if not rows.n_missing.any():
        return
    observed = np.zeros(rows.shape[1], dtype=bool)
    for block, cells in _blocks(Reader(rows)):
        with rows_of(block):
            check_missing(cells, allowed=takes_missing, fitting=False)
        observed |= ~np.isnan(cells).all(axis=0)
    check_missing(np.where(observed, 0, np.nan)[None], allowed=True, fitting=fitting)


def _blocks(reader: Reader) -> Iterator[tuple[range, NDArray[np.float32]]]:
    """Yield the numbers and the cells of some rows at a time."""
    for block in row_blocks(*reader.shape):
        yield range(len(reader))[block], reader[block]
