"""Alarms and the status of a Monitor, in plain words."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from aedetect.conformal.changes import Change
from aedetect.conformal.martingales import BULK, FIRST, MAJORITY, TAIL

Verdict = Literal["drift", "anomalies", "change", "stable"]
MOST_NAMED = 5  # columns in a sentence


class Alarm(NamedTuple):
    """A martingale that has reached its level.

    Attributes
    ----------
    kind : {"drift", "anomalies", "change"}
        ``"drift"``: rows that are not flagged have changed, or most rows are flagged now.
        ``"anomalies"``: more rows are flagged than calibrated, and the others have not changed so
        far. ``"change"``: a column of all rows has changed, and it is not certain yet whether in
        few rows or in all.
    row : int
        Number of the row that raised it, from 0 in all rows that the monitor was given.
    since : int
        Number of the first changed row, estimated.
    column : str or None
        Name of a changed column; None for the scores.
    measure : str
        The measure that changed, as in :class:`Change`.
    before, after : float
        Its values in the calibration rows and from ``since`` to ``row``.
    size : float or None
        Change of a mean, in deviations of the calibration rows.
    martingale, level : float
        The martingale, and the level that it has reached.

    Examples
    --------
    >>> from aedetect.conformal import Alarm
    >>> alarm = Alarm("drift", 1234, 1200, "pressure", "mean", 2.0, 2.5, 1.1, 4e3, 3e3)
    >>> print(alarm)
    drift at row 1,234: mean of column 'pressure' 2 -> 2.5 (+1.1 deviations) since row 1,200
    """

    kind: Verdict  # never "stable"
    row: int
    since: int
    column: str | None
    measure: str
    before: float
    after: float
    size: float | None
    martingale: float
    level: float

    @property
    def change(self) -> Change:
        """The change that it reports."""
        return Change(*(getattr(self, name) for name in Change._fields))

    def __str__(self) -> str:
        """Return the alarm in one line."""
        return f"{self.kind} at row {self.row:,}: {self.change} since row {self.since:,}"


class Status(NamedTuple):
    """The answer of a Monitor after all rows so far.

    Attributes
    ----------
    verdict : {"stable", "drift", "anomalies", "change"}
    n_rows : int
        Rows since the calibration.
    since : int or None
        Number of the first changed row, estimated by the strongest evidence; None if stable.
    changes : list of Change
        Changes whose tests have raised an alarm, those of the scores first; their sizes are those
        of all rows since.
    advice : list of str
        Steps to take, in sentences.

    Examples
    --------
    >>> from aedetect.conformal import Change, Status
    >>> change = Change(1200, "pressure", "mean", 2.0, 2.5, 1.1)
    >>> print(Status("drift", 1500, 1200, [change], ["Look at column 'pressure'."]))
    drift since row 1,200 (1,500 rows)
    - mean of column 'pressure' 2 -> 2.5 (+1.1 deviations)
    Look at column 'pressure'.
    """

    verdict: Verdict
    n_rows: int
    since: int | None
    changes: list[Change]
    advice: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {**self._asdict(), "changes": [change._asdict() for change in self.changes]}

    def __str__(self) -> str:
        """Return the status in a few lines."""
        since = "" if self.since is None else f" since row {self.since:,}"
        lines = [f"{self.verdict}{since} ({self.n_rows:,} rows)"]
        lines += [f"- {change}" for change in self.changes]
        return "\n".join([*lines, *self.advice])


def is_of_bulk(stream: int, n_columns: int) -> bool:
    """Return whether a stream tells drift from anomalies: of unflagged rows, or of most rows."""
    return stream in (BULK, MAJORITY) or FIRST <= stream < FIRST + n_columns


def kind_of(crossed: list[int], n_columns: int) -> Verdict:
    """Return the verdict, given the streams whose martingales have reached their levels."""
    of_bulk = [is_of_bulk(stream, n_columns) for stream in crossed]
    if all(of_bulk):  # no change of all rows is certain
        return "stable"
    if any(of_bulk):
        return "drift"
    return "anomalies" if TAIL in crossed else "change"


def advise(verdict: str, changes: list[Change]) -> list[str]:
    """Return the steps to take."""
    columns = [repr(change.column) for change in changes if change.column is not None]
    named = ", ".join(columns[:MOST_NAMED]) + (", ..." if len(columns) > MOST_NAMED else "")
    look = f"Look at {'columns' if len(columns) > 1 else 'column'} {named}." if columns else ""
    if verdict == "stable":
        return ["Nothing to do."]
    if verdict == "change":
        return [look, "More rows will tell whether few rows have changed or all."]
    if verdict == "anomalies":
        return [
            "More rows are flagged than before, and the others have not changed: look at the"
            f" flagged rows. {look}".rstrip(),
            "Do not recalibrate with them, or such rows will count as normal.",
        ]
    return [
        look or "No column alone shows the change: it is in how they go together.",
        "The bound on the share of false alarms no longer holds. If the new rows are normal,"
        " recalibrate with some of them. Fit the detector again if it is to find anomalies as well"
        " as before.",
    ]
