"""Errors that name a place in X as the caller has it: the row, and the column by its name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

Method = TypeVar("Method", bound=Callable[..., Any])


class PlaceError(ValueError):
    """An error about a row of X, a column or a cell.

    A check has numbers of rows and columns only, within the rows that it was given. Callers
    complete them: :func:`names_places` adds names, :func:`rows_of` restores the numbers before a
    split.

    Parameters
    ----------
    rule : str
        The message, with ``{row}`` and ``{column}`` where it names the place.
    row, column : int or None, default=None
        Numbers, from 0.
    """

    def __init__(self, rule: str, *, row: int | None = None, column: int | None = None) -> None:
        super().__init__(rule)
        self.row = row
        self.column = column
        self.row_label: Any = None  # of the row in the index of a DataFrame
        self.column_name: Any = None
        self.place: str | None = None  # of the row in a file

    def __str__(self) -> str:
        """Return the message with the place in it."""
        row, label = str(self.row), _quoted(self.row_label)
        if self.row_label is not None and label != row:
            row = f"{row} (index {label})"
        if self.place is not None:
            row = f"{row} ({self.place})"
        name = self.column if self.column_name is None else self.column_name
        return self.args[0].replace("{row}", row).replace("{column}", _quoted(name))

    def name(self, X: Any) -> None:
        """Take the names of row and column from ``X``, if it has any."""
        if self.row is not None and isinstance(X, pd.DataFrame):
            self.row_label = X.index[self.row]
        if self.row is not None and hasattr(X, "locate"):  # rows on disk
            self.place = X.locate(self.row)
        names = column_names(X)
        if self.column is not None and names is not None:
            self.column_name = names[self.column]


class PlaceTypeError(PlaceError, TypeError):
    """A PlaceError about a cell whose type is not numeric."""


def names_places(method: Method) -> Method:
    """Let errors about places in ``X``, the first argument, name them as ``X`` does."""

    @functools.wraps(method)
    def named(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except PlaceError as error:
            error.name(args[0] if args else kwargs["X"])
            raise

    return cast(Method, named)


@contextmanager
def rows_of(numbers: Sequence[int] | NDArray[np.integer] | pd.Index) -> Iterator[None]:
    """Let errors about some rows of a table name their numbers in the whole of it."""
    try:
        yield
    except PlaceError as error:
        if error.row is not None:
            error.row = int(numbers[error.row])
        raise


@contextmanager
def columns_of(numbers: Sequence[int] | NDArray[np.integer]) -> Iterator[None]:
    """Let errors about some columns of a table name their numbers in the whole of it."""
    try:
        yield
    except PlaceError as error:
        if error.column is not None:
            error.column = int(numbers[error.column])
        raise


def column_names(X: Any) -> list[Any] | None:
    """Return the names of the columns of a frame of any library; None for all else."""
    if nw.dependencies.is_into_dataframe(X):
        return list(nw.from_native(X).columns)
    return getattr(X, "column_names", None)  # of a batch of Arrow, or of rows on disk


def _quoted(name: Any) -> str:
    return repr(str(name)) if isinstance(name, str) else str(name)
