"""Rows on disk: a lazy view that is indexed like an array, and a reader that reads."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from types import EllipsisType, MappingProxyType
from typing import Any, NoReturn, cast, overload

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from aedetect.model import Level
from aedetect.rows.cache import Cache

Numbers = NDArray[np.intp]
Conversion = Callable[[NDArray[np.float32]], NDArray[np.floating]]  # of cells of a column
Key = slice | ArrayLike | tuple[Any, EllipsisType | slice]

GAP = 2**14  # bytes that are read and thrown away rather than skipped
RUN = 4096  # numbers of rows that are read at a time, at most
REFUSAL = (
    "Rows do not turn into an array by themselves: it may not fit into memory. Pass them as they"
    " are to fit, score_samples, predict, transform or aedetect.rows.score; for all else take some"
    " and read them, such as rows[:1000].to_numpy()."
)


class Rows:
    """A table on disk that is sliced like an array and read in blocks.

    :func:`open_rows` makes it. Slices, masks and arrays of row numbers give views, which read
    nothing.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns.
    column_names : list or None
        Names of the columns; None for arrays.
    levels : dict of int to list
        Levels of the columns that hold text, true and false, or other categories.
    memory : int
        Bytes that ``fit`` may fill with rows.
    digest : str
        SHA-256 of the rows and their order.

    Examples
    --------
    >>> import pandas as pd
    >>> from aedetect import open_rows
    >>> rows = open_rows(pd.DataFrame({"width": [1.0, 2.0, 3.0], "height": [4.0, 5.0, 6.0]}))
    >>> rows.shape, rows.column_names
    ((3, 2), ['width', 'height'])
    >>> rows[1:].to_numpy()  # reads two rows
    array([[2., 5.],
           [3., 6.]], dtype=float32)
    """

    ndim = 2

    def __init__(self, cache: Cache, numbers: range | Numbers, memory: int) -> None:
        self._cache, self._numbers, self.memory = cache, numbers, memory

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self._numbers), self._cache.description.width

    @property
    def column_names(self) -> list[Any] | None:
        """Names of the columns; None for arrays."""
        return self._cache.description.columns

    @property
    def levels(self) -> dict[int, list[Level]]:
        """Levels of the columns that are no numbers, by the number of the column."""
        levels = self._cache.description.levels
        return {number: of_one for number, of_one in enumerate(levels) if of_one is not None}

    @property
    def dtype(self) -> np.dtype:
        """Type of the array that :meth:`to_numpy` returns."""
        return np.dtype(object if self.levels else np.float32)

    @property
    def low(self) -> NDArray[np.float32]:
        """Minimum of each column in the whole file, ``(n_columns,)``."""
        return np.array(self._cache.description.low, dtype=np.float32)

    @property
    def high(self) -> NDArray[np.float32]:
        """Maximum of each column in the whole file, ``(n_columns,)``."""
        return np.array(self._cache.description.high, dtype=np.float32)

    @property
    def n_missing(self) -> NDArray[np.int64]:
        """Number of missing cells of each column in the whole file, ``(n_columns,)``."""
        return np.array(self._cache.description.n_missing, dtype=np.int64)

    @property
    def digest(self) -> str:
        """SHA-256 of the rows and their order, in hexadecimal digits."""
        whole = self._cache.description.digest
        if isinstance(self._numbers, range):
            place = f"{self._numbers}".encode()
        else:
            place = np.ascontiguousarray(self._numbers).data
        return hashlib.sha256(whole.encode() + place).hexdigest()

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, key: Key) -> Rows:
        """Return a view of some rows: by a slice, a mask, or an array of row numbers."""
        if isinstance(key, tuple):  # scikit-learn indexes arrays so
            key = self._without_columns(key)
        return Rows(self._cache, self._select(key), self.memory)

    def to_numpy(self) -> NDArray:
        """Read the rows, ``(n_rows, n_columns)``: float32, or objects where columns hold levels."""
        return self.to_pandas().to_numpy(dtype=object) if self.levels else self.read_cells()

    def to_pandas(self) -> pd.DataFrame:
        """Read the rows as a DataFrame, whose index has their numbers; levels as categories."""
        index = pd.Index(np.asarray(self._numbers)) if len(self) else None
        cells, levels = self.read_cells(), self.levels
        frame = pd.DataFrame(cells, columns=self.column_names, index=index)
        if not levels:
            return frame
        series = [
            _with_levels(frame.iloc[:, number], levels[number])
            if number in levels
            else frame.iloc[:, number]
            for number in range(frame.shape[1])
        ]
        return pd.concat(series, axis=1)

    def read_cells(self) -> NDArray[np.float32]:
        """Read the rows, with the number of its level in ``levels`` for every level."""
        return self._read(self._numbers)

    def reader(self, **options: Any) -> NDArray[np.floating]:
        """Return an array-like object whose indexing reads rows from the disk.

        It passes for an array where only ``shape``, ``dtype`` and ``X[rows]`` are used. The options
        are those of :class:`Reader`.
        """
        return cast(NDArray[np.floating], Reader(self, **options))

    def locate(self, row: int) -> str:
        """Return the file of a row and its number there, as text."""
        number = self._numbers[row]
        for place, n_rows in self._cache.description.places:
            if number < n_rows:
                return f"row {number} of {place}"
            number -= n_rows
        raise IndexError(f"There is no row {row}: there are {len(self)}.")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        raise TypeError(REFUSAL)

    def __iter__(self) -> NoReturn:
        raise TypeError(REFUSAL)

    def __repr__(self) -> str:
        n_rows, width = self.shape
        places = self._cache.description.places
        more = f" and {len(places) - 1} more" if len(places) > 1 else ""
        return f"Rows({n_rows:,} x {width} of {places[0][0]}{more})"

    def _without_columns(self, key: tuple) -> Any:
        rows, *columns = key
        if len(columns) != 1 or columns[0] not in (Ellipsis, slice(None)):
            raise IndexError(
                "Rows are indexed by rows alone. Choose columns as they are opened, with"
                " open_rows(..., columns=...)."
            )
        return rows

    def _select(self, key: Any) -> range | Numbers:
        if isinstance(key, slice):
            return self._numbers[key]
        chosen = np.asarray(key)
        if chosen.ndim == 1 and chosen.dtype == bool:
            if len(chosen) != len(self):
                raise IndexError(f"The mask has {len(chosen)} entries for {len(self)} rows.")
            chosen = np.flatnonzero(chosen)
        if chosen.ndim != 1 or (len(chosen) and chosen.dtype.kind not in "iu"):
            raise IndexError(
                "Rows are indexed by slices, masks and arrays of row numbers, but the index is"
                f" {key!r:.80}."
            )
        return self._numbers_of(chosen.astype(np.intp, copy=False))

    def _numbers_of(self, chosen: Numbers) -> Numbers:
        n_rows = len(self)
        if len(chosen) and not (-n_rows <= chosen.min() and chosen.max() < n_rows):
            raise IndexError(f"Row numbers run to {chosen.max()}, but there are {n_rows} rows.")
        chosen = np.where(chosen < 0, chosen + n_rows, chosen)
        if isinstance(self._numbers, range):
            return self._numbers.start + self._numbers.step * chosen
        return self._numbers[chosen]

    # Reading.

    def _read(self, numbers: range | Numbers) -> NDArray[np.float32]:
        """Return rows of the file, in the order of their numbers."""
        out = np.empty((len(numbers), self.shape[1]), dtype=np.float32)
        if isinstance(numbers, range) and numbers.step == 1:
            self._cache.read_into(numbers.start, out)
            return out
        numbers = np.asarray(numbers, dtype=np.intp)
        ascends = bool((numbers[1:] >= numbers[:-1]).all())
        order = slice(None) if ascends else np.argsort(numbers, kind="stable")
        self._read_ascending(numbers[order], order, out)
        return out

    def _read_ascending(
        self, numbers: Numbers, order: slice | Numbers, out: NDArray[np.float32]
    ) -> None:
        far = np.diff(numbers) > GAP // self._cache.description.row_bytes
        far |= numbers[1:] // RUN != numbers[:-1] // RUN
        edges = [0, *(np.flatnonzero(far) + 1).tolist(), len(numbers)]
        places = np.arange(len(numbers))[order]
        for start, stop in itertools.pairwise(edges):
            if start == stop:
                continue
            first, last = int(numbers[start]), int(numbers[stop - 1])
            run = np.empty((last + 1 - first, out.shape[1]), dtype=np.float32)
            self._cache.read_into(first, run)
            out[places[start:stop]] = run[numbers[start:stop] - first]


class Reader:
    """Rows as an array-like object whose indexing reads from the disk.

    Parameters
    ----------
    rows : Rows
    columns : sequence of int or None, default=None
        Numbers of the columns to give, in this order. None gives all.
    conversions : dict of int to callable, default={}
        Turn the cells of a column, by its number in ``rows``, into others.
    dtype : dtype, default=float32
        Of the rows.
    """

    ndim = 2

    def __init__(
        self,
        rows: Rows,
        columns: Sequence[int] | Numbers | None = None,
        conversions: Mapping[int, Conversion] = MappingProxyType({}),
        dtype: Any = np.float32,
    ) -> None:
        self.rows, self.dtype = rows, np.dtype(dtype)
        self._columns = np.arange(rows.shape[1]) if columns is None else np.asarray(columns)
        self._is_whole = np.array_equal(self._columns, np.arange(rows.shape[1]))
        self.conversions = conversions
        self.shape = len(rows), len(self._columns)

    def __len__(self) -> int:
        return self.shape[0]

    @overload
    def __getitem__(self, key: slice | Numbers) -> NDArray[np.floating]: ...

    @overload
    def __getitem__(self, key: tuple[slice, Sequence[int] | Numbers]) -> Reader: ...

    def __getitem__(self, key: Any) -> Any:
        """Read some rows; ``reader[:, columns]`` is a Reader of some columns."""
        if isinstance(key, tuple):
            rows, columns = key
            assert rows == slice(None)
            return Reader(self.rows, self._columns[columns], self.conversions, self.dtype)
        cells = self.rows[key].read_cells()
        if self._is_whole and not self.conversions and cells.dtype == self.dtype:
            return cells
        given = cells[:, self._columns].astype(self.dtype)
        for place, column in enumerate(self._columns.tolist()):
            if column in self.conversions:
                given[:, place] = self.conversions[column](cells[:, column])
        return given

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        raise TypeError(REFUSAL)


def _with_levels(codes: pd.Series, levels: list[Level]) -> pd.Series:
    """Return a column with its levels; as objects where pandas takes some for equal."""
    numbers = np.nan_to_num(codes.to_numpy(), nan=-1).astype(np.intp)
    if len(set(levels)) == len(levels):
        cells: Any = pd.Categorical.from_codes(numbers, categories=pd.Index(levels))
    else:  # true and 1
        cells = np.array([*levels, None], dtype=object)[numbers]
    return pd.Series(cells, index=codes.index, name=codes.name)
