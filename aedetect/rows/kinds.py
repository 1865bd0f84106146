"""Kinds of columns in frames: numbers, true and false, and text or other levels."""

from __future__ import annotations

from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

NUMBERS, BOOLEANS, TEXT = "numbers", "true and false", "text"  # kinds of columns
INFERRED = {  # by pandas' names for the objects of a column
    **dict.fromkeys(("integer", "floating", "mixed-integer-float", "decimal"), NUMBERS),
    **{"boolean": BOOLEANS, "empty": NUMBERS},
    **dict.fromkeys(("datetime64", "datetime", "date", "timedelta64", "timedelta"), None),
    **dict.fromkeys(("time", "period", "complex"), None),
}
ARROW_NUMBERS = {
    *("float", "double", "int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64"),
}
PLAIN = "iuf"  # kinds of NumPy's types that are numbers in frames


def plain_columns(frame: Any, columns: list[Any]) -> list[NDArray] | None:
    """Return columns of a frame of pandas or Arrow fast; None unless all hold plain numbers."""
    if isinstance(frame, pd.DataFrame):
        plain = all(isinstance(kind, np.dtype) and kind.kind in PLAIN for kind in frame.dtypes)
        return list(frame[columns].to_numpy(dtype=np.float64).T) if plain else None
    if nw.dependencies.is_pyarrow_table(frame):
        plain = all(str(kind) in ARROW_NUMBERS for kind in frame.schema.types)
        return [frame.column(name).to_numpy() for name in columns] if plain else None
    return None


def kind_of(cells: Any) -> str | None:
    """Return the kind of a column; None for dates and all that is neither number nor level."""
    if isinstance(cells, np.ndarray):
        return NUMBERS if cells.dtype.kind in "biuf" else None
    if isinstance(cells, nw.Series):
        return _kind_of_series(cells)
    dtype = cells.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in PLAIN:
        return NUMBERS
    if pd.api.types.is_bool_dtype(dtype):
        return BOOLEANS
    if isinstance(dtype, pd.CategoricalDtype):
        return TEXT
    if pd.api.types.is_object_dtype(dtype):
        return INFERRED.get(pd.api.types.infer_dtype(cells, skipna=True), TEXT)
    if pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_complex_dtype(dtype):
        return NUMBERS
    return TEXT if pd.api.types.is_string_dtype(dtype) else None


def _kind_of_series(cells: nw.Series[Any]) -> str | None:
    dtype = cells.dtype
    if dtype.is_numeric():
        return NUMBERS
    if dtype == nw.Boolean:
        return BOOLEANS
    if dtype == nw.Object:
        return INFERRED.get(pd.api.types.infer_dtype(cells.to_numpy(), skipna=True), TEXT)
    return TEXT if isinstance(dtype, (nw.String, nw.Categorical, nw.Enum)) else None


def as_objects(cells: Any) -> NDArray:
    """Return the cells of a column as they are."""
    return cells if isinstance(cells, np.ndarray) else cells.to_numpy()


def as_numbers(cells: Any) -> NDArray:
    """Return a column of numbers, with NaN for missing cells."""
    if isinstance(cells, np.ndarray):
        return cells
    if isinstance(cells, nw.Series):
        if cells.dtype in (nw.Float32, nw.Float64):
            return cells.to_numpy()  # with NaN for null
        if cells.dtype != nw.Object:
            return cells.cast(nw.Float64).to_numpy()
        cells = pd.Series(cells.to_numpy())
    if isinstance(cells.dtype, np.dtype) and cells.dtype.kind in PLAIN:
        return cells.to_numpy()
    numbers = pd.to_numeric(cells) if cells.dtype == object else cells
    return numbers.to_numpy(dtype=np.float64, na_value=np.nan)


def first_other(values: NDArray, there: NDArray[np.bool_], kind: str) -> int:
    """Return the first cell that is not of a kind."""
    if kind == NUMBERS:
        others = there & pd.isna(pd.to_numeric(pd.Series(values), errors="coerce")).to_numpy()
    else:  # text may stand for true and false, since pandas sets one type for a whole chunk
        others = there & ~np.isin(values.astype(str), ["True", "False"])
    return int((others if others.any() else there).argmax())
