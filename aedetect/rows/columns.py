"""The columns that are taken from every file of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

SHOWN = 20  # names that a message lists


class ColumnError(ValueError):
    """Columns that are missing, not those of the other files, or of another kind than asked for."""


class Selection:
    """Chooses the columns of the first file, and finds them in every other file.

    Parameters
    ----------
    columns : sequence or None
        Names to take, in this order; numbers where the columns have no names. None takes all.
    drop : sequence
        Names to leave out.
    categorical : sequence, default=()
        Names of columns whose cells are levels, of whatever kind.

    Attributes
    ----------
    categorical : list
    names : list or None
        The columns that were chosen; None before the first file.
    """

    def __init__(
        self,
        columns: Sequence[Any] | None,
        drop: Sequence[Any],
        categorical: Sequence[Any] = (),
    ) -> None:
        if any(isinstance(given, str) for given in (columns, drop, categorical)):
            raise TypeError(
                f"columns, drop and categorical are lists of names, but they are {columns!r},"
                f" {drop!r} and {categorical!r}. Put a name into brackets."
            )
        self.categorical = list(categorical)
        self._columns = None if columns is None else list(columns)
        self._drop = list(drop)
        self._given: list[Any] = []  # of the last file
        self.names: list[Any] | None = None

    def choose(self, names: Sequence[Any], place: str) -> list[Any]:
        """Return the columns to take from a file with these names.

        Raises
        ------
        ColumnError
            If a name is missing or is there twice, if no column is left, or if the columns are not
            those of the files before.
        """
        if self.names is not None and list(names) == self._given:
            return self.names
        self._given = list(names)
        _check_unique(names, place)
        if self.names is None:
            asked = [*(self._columns or []), *self._drop, *self.categorical]
            self._refuse_missing(asked, names, place)
            wanted = names if self._columns is None else self._columns
            chosen = [name for name in wanted if name not in self._drop]
            if not chosen:
                raise ColumnError(f"No column of {place} is left. Drop fewer, or name some.")
            self.names = chosen
        elif self._columns is None:
            self._refuse_others(names, place)
        else:
            self._refuse_missing(self.names, names, place)
        return self.names

    def _refuse_missing(self, wanted: Sequence[Any], names: Sequence[Any], place: str) -> None:
        missing = [name for name in wanted if name not in names]
        if missing:
            raise ColumnError(f"{place} has no column {_listed(missing)}; it has {_listed(names)}.")

    def _refuse_others(self, names: Sequence[Any], place: str) -> None:
        assert self.names is not None
        found = [name for name in names if name not in self._drop]
        missing = [name for name in self.names if name not in found]
        more = [name for name in found if name not in self.names]
        if missing or more:
            differences = [f"lacks {_listed(missing)}"] * bool(missing)
            differences += [f"also has {_listed(more)}"] * bool(more)
            raise ColumnError(
                f"All files must have equal columns, but {place} {' and '.join(differences)}."
                " Name the columns to take with columns=, or open the file by itself."
            )


def _check_unique(names: Sequence[Any], place: str) -> None:
    if len(set(names)) == len(names):
        return
    twice = [name for name in dict.fromkeys(names) if list(names).count(name) > 1]
    if twice:
        raise ColumnError(f"{place} has the column {_listed(twice)} twice. Rename one.")


def _listed(names: Sequence[Any]) -> str:
    text = ", ".join(repr(name) for name in list(names)[:SHOWN])
    return text if len(names) <= SHOWN else f"{text} and {len(names) - SHOWN} more"
