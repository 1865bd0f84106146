"""Checks of tables in memory and of Rows, by one set of functions."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from aedetect.estimators import tables
from aedetect.estimators.categories import aligned_to, categorical_columns, check_known_levels
from aedetect.estimators.row_levels import fit_row_coding, open_reader
from aedetect.estimators.tables import Table, check_missing
from aedetect.model import Coding, row_blocks
from aedetect.places import columns_of, rows_of
from aedetect.rows import Reader, Rows


def check_training_rows(estimator: Any, X: ArrayLike | Rows) -> Table:
    """Return training rows, two or more; ``estimator``, which is not fitted, stays as it is."""
    if not isinstance(X, Rows):
        return tables.check_training_rows(estimator, X)
    takes_missing = estimator.missing == "mask"
    columns = categorical_columns(_stand_in(X, X.levels), estimator.categorical_features)
    coding = fit_row_coding(X, columns, takes_missing=takes_missing) if columns else None
    order = range(X.shape[1])
    reader = open_reader(X, order, coding, takes_missing=takes_missing, fitting=True)
    table = tables.check_training_rows(estimator, _stand_in(X, columns))
    _check_cells(reader, takes_missing=takes_missing, fitting=True)
    return table._replace(X=reader, coding=coding, given=X)


def check_more_training_rows(estimator: Any, X: ArrayLike | Rows) -> Table:
    """Return training rows for a fitted estimator; their columns must be those of its fit."""
    if not isinstance(X, Rows):
        return tables.check_more_training_rows(estimator, X)
    tables.check_number_of_rows(X, min_rows=2)
    names = getattr(estimator, "feature_names_in_", None)
    coding = estimator.detector_.model.columns.coding
    reader = _open_like(estimator, X, fitting=True)
    return Table(reader, names, estimator._column_numbers, coding, X)


def check_new_rows(estimator: Any, X: ArrayLike | Rows) -> NDArray[np.floating]:
    """Return rows for a fitted estimator as an array of floats, or a Reader of them."""
    if not isinstance(X, Rows):
        return tables.check_new_rows(estimator, X)
    rows = _open_like(estimator, X, fitting=False)
    model = estimator.detector_.model
    if model.loss == "bce":
        check_unit_interval(rows, model.columns.coding)
    return rows


def _open_like(estimator: Any, X: Rows, *, fitting: bool) -> NDArray[np.floating]:
    """Return a Reader of rows whose columns must be those that a fitted estimator was given."""
    model, order = estimator.detector_.model, range(X.shape[1])
    coding, stand_in = model.columns.coding, _stand_in(X)
    if coding is not None and hasattr(estimator, "feature_names_in_") and X.column_names:
        _, order = aligned_to(estimator.feature_names_in_, stand_in)
    else:
        tables.check_new_rows(estimator, stand_in)
    options = {"takes_missing": model.takes_missing, "fitting": fitting}
    reader = open_reader(X, order, coding, **options)
    with columns_of(order):
        _check_cells(reader, coding if fitting else None, **options)
    return reader


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


def _stand_in(rows: Rows, categorical: Collection[int] = ()) -> NDArray | pd.DataFrame:
    """Return one or two rows of zeros with the columns of ``rows``, for checks of names."""
    zeros = np.zeros((min(2, len(rows)), rows.shape[1]), dtype=np.float32)
    if rows.column_names is None:
        return zeros
    frame = pd.DataFrame(zeros, columns=rows.column_names)
    return frame.astype({rows.column_names[column]: "category" for column in categorical})


def _check_cells(
    rows: NDArray[np.floating], coding: Coding | None = None, *, takes_missing: bool, fitting: bool
) -> None:
    """Refuse cells that are not finite, as in arrays, and levels that ``coding`` has not."""
    reader = cast(Reader, rows)
    if not (reader.rows.n_missing.any() or reader.conversions):
        return
    observed = np.zeros(reader.shape[1], dtype=bool)
    for block, cells in _blocks(reader):
        with rows_of(block):
            tables.check_cells(cells, takes_missing=takes_missing, fitting=False)
            if coding is not None:
                check_known_levels(cells, coding)
        observed |= ~np.isnan(cells).all(axis=0)
    check_missing(np.where(observed, 0, np.nan)[None], allowed=True, fitting=fitting)


def _blocks(reader: Reader) -> Iterator[tuple[range, NDArray[np.floating]]]:
    """Yield the numbers and the cells of some rows at a time."""
    for block in row_blocks(*reader.shape):
        yield range(len(reader))[block], reader[block]
