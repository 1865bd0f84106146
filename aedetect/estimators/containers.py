"""Containers of rows that scikit-learn does not read: tensors, masked arrays, Arrow batches."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from aedetect.places import PlaceError, PlaceTypeError

DATES = (
    *(np.datetime64, np.timedelta64, pd.Period),
    *(datetime.date, datetime.time, datetime.timedelta),  # pandas' own are kinds of these
)
LONGEST = 40  # characters of a value that a message quotes


def unpack(X: Any) -> Any:
    """Return a tensor or a masked array as an array, a batch of Arrow as a table; else ``X``.

    Masked cells become NaN: NumPy would drop the mask and use the values under it. Dates are
    refused: beside numbers they cannot be converted, alone they would become nanoseconds.
    """
    if isinstance(X, Tensor):
        return _array_of(X)
    if hasattr(X, "__arrow_c_array__") and hasattr(X, "schema"):
        import pyarrow as pa

        X = pa.table(X)  # scikit-learn reads the names of tables alone
    if nw.dependencies.is_into_dataframe(X):
        _check_frame(nw.from_native(X, eager_only=True))
    elif isinstance(X, np.ndarray):
        _check_array(X)
    elif isinstance(X, list | tuple):
        _check_array(np.asarray(X))
    if isinstance(X, np.ma.MaskedArray):
        floating = X.dtype.kind in "fc"
        return np.ma.filled(X if floating else X.astype(np.float64), np.nan)
    return X


def _array_of(x: Tensor) -> np.ndarray:
    if x.requires_grad:
        raise ValueError("X is a tensor that requires its gradient. Pass X.detach().")
    if x.device.type != "cpu":
        raise ValueError(f"X is a tensor on {x.device}, but it must be on the CPU. Pass X.cpu().")
    if x.layout != torch.strided:
        raise ValueError(f"X is a tensor of layout {x.layout}. Pass X.to_dense().")
    known = x.dtype in (torch.float64, torch.float32, torch.float16)
    return (x if known or not x.is_floating_point() else x.float()).numpy()  # bfloat16 is unknown


# Dates and spans of time.


def _check_frame(frame: nw.DataFrame[Any]) -> None:
    if frame.shape[1] == 0:
        raise ValueError(
            f"Found array with 0 feature(s) (shape={frame.shape}) while a minimum of 1 is required."
        )
    native = frame.to_native()
    if isinstance(native, pd.DataFrame) and all(d.kind in "biuf" for d in set(native.dtypes)):
        return  # at a glance: the schema takes long
    for number, column in enumerate(frame.iter_columns()):
        if column.dtype.is_temporal():
            held = column.to_native()
            kind = getattr(held, "dtype", None) or held.type  # Arrow's has no dtype
            raise _refusal(f"column {{column}} holds {kind}", number)
        if column.dtype == nw.Object:
            _check_cells(column.to_numpy()[:, None], first_column=number)


def _check_array(array: NDArray) -> None:
    if array.dtype.kind in "mM":
        raise _refusal(f"it holds {array.dtype}")
    if array.dtype == object and array.ndim == 2:
        _check_cells(array)


def _check_cells(cells: NDArray, first_column: int = 0) -> None:
    """Refuse objects that are dates, after a fast look at the types that there are."""
    if not any(issubclass(kind, DATES) for kind in set(map(type, cells.flat))):
        return
    for (row, column), cell in np.ndenumerate(cells):
        if isinstance(cell, DATES):
            what = f"column {{column}} holds {type(cell).__name__} in row {{row}}"
            raise _refusal(what, first_column + column, row)


def _refusal(what: str, column: int | None = None, row: int | None = None) -> PlaceError:
    return PlaceError(
        f"X must hold numbers, but {what}.{DATES_TO_NUMBERS}",
        row=row,
        column=column,
    )


DATES_TO_NUMBERS = (
    " Turn dates into numbers: t = pd.to_datetime(X[column]), then the days since the first date,"
    " (t - t.min()) / pd.Timedelta(days=1), or the hour t.dt.hour and the weekday t.dt.dayofweek."
    " A duration becomes pd.to_timedelta(X[column]).dt.total_seconds(). Or leave the column out."
)


# Text and other objects.


def explain_refusal(X: Any, *, fitting: bool) -> None:
    """Raise an error about the first cell that is no number, after ``X`` could not be converted.

    Parameters
    ----------
    X : object
        The value that :func:`unpack` returned.
    fitting : bool
        Whether it holds training rows, whose text may become categories.

    Raises
    ------
    PlaceError
        If there is such a cell; a TypeError too, where it is not even text.
    """
    for row, column, cell in _objects(X):
        try:
            float(cell)
        except ValueError:
            remedy = (
                "For a column of categories, pass a DataFrame, or its number in"
                ' categorical_features; in a Pipeline, set_output(transform="pandas") makes a'
                " DataFrame. Or leave the column out."
                if fitting
                else "fit was given numbers in this column. Convert it, with pd.to_numeric(column,"
                " errors='coerce') for example."
            )
            raise _no_number(PlaceError, row, column, cell, f". {remedy}") from None
        except TypeError as error:
            reason = f": {error}. Turn it into a number, or leave the column out."
            raise _no_number(PlaceTypeError, row, column, cell, reason) from None


def _no_number(
    kind: type[PlaceError], row: int, column: int, cell: object, reason: str
) -> PlaceError:
    text = repr(cell.item() if isinstance(cell, np.generic) else cell)
    text = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    rule = f"X must hold numbers, but column {{column}} holds {text} in row {{row}}{reason}"
    return kind(rule, row=row, column=column)


def _objects(X: Any) -> Iterator[tuple[int, int, Any]]:
    """Yield row, column and value of all cells that need not be numbers, but for missing ones."""
    if nw.dependencies.is_into_dataframe(X):
        frame = nw.from_native(X, eager_only=True)
        columns = [column.to_numpy() for column in frame.iter_columns()]
    else:  # as objects, lest numbers in lists with text become text
        cells = np.asarray(X, dtype=object if isinstance(X, list | tuple) else None)
        columns = list(cells.T) if cells.ndim == 2 else []
    for number, values in enumerate(columns):
        if values.dtype.kind in "OUS":
            for row, cell in enumerate(values):
                if cell is not None:
                    yield row, number, cell
