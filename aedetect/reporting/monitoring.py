"""The rows that a Monitor was given: its verdict, its alarms, and its martingales over time."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from aedetect.conformal import Alarm, Change, Monitor
from aedetect.plotting import MonitorDisplay
from aedetect.plotting.style import short
from aedetect.reporting.drawing import Picture, draw
from aedetect.reporting.text import number

MOST_COLUMNS = 6  # in small plots
MOST_ALARMS = 20


class Monitoring(NamedTuple):
    """The status of a monitor."""

    verdict: str
    n_rows: int
    alpha: float
    since: int | None
    changes: list[Change]
    advice: list[str]
    alarms: list[Alarm]
    n_alarms: int
    picture: Picture
    columns: list[Picture]


def describe_monitor(monitor: Any) -> Monitoring | None:
    """Return the status of a monitor; None without one, or if it was given no rows."""
    if not isinstance(monitor, Monitor) or getattr(monitor, "n_rows_", 0) == 0:
        return None
    status, display = monitor.status(), MonitorDisplay(monitor.trajectory())
    return Monitoring(
        verdict=status.verdict,
        n_rows=status.n_rows,
        alpha=monitor.alpha,
        since=status.since,
        changes=status.changes,
        advice=status.advice,
        alarms=monitor.alarms_[:MOST_ALARMS],
        n_alarms=len(monitor.alarms_),
        picture=draw(
            display.plot_scores,
            f"Martingales of the scores over {number(status.n_rows)} rows.",
            legend_columns=2,
        ),
        columns=[
            draw(
                partial(display.plot_column, name),
                f"Martingales of column {short(name)} over {number(status.n_rows)} rows.",
                size=(2.4, 1.7),
            )
            for name in display.top_columns(MOST_COLUMNS)
        ],
    )
