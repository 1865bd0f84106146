"""Test martingales of a Monitor over time, with their alarm line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pandas import DataFrame

from aedetect.plotting.style import COLORS, LINE_STYLES, new_figure, plain, text_color

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_ACROSS = 4  # columns of the table in a line of small plots
LOWEST = -0.6  # of the vertical axis; a martingale that loses says no more
HIGHEST = 2.5


class MonitorDisplay:
    """The martingales of a Monitor over time: those of the scores, and each column in a small plot.

    The height is the logarithm of the martingale over that of its level, so a line that reaches 1
    raises an alarm. Heights beyond 2.5 are cut. Dashed lines tell drift from anomalies.

    Make one with :meth:`from_estimator`.

    Parameters
    ----------
    trajectory : DataFrame
        As :meth:`aedetect.Monitor.trajectory` returns it.

    Attributes
    ----------
    figure_ : matplotlib Figure
    axes_ : list of matplotlib Axes
        Those of the scores first, then those of the columns.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.ensemble import IsolationForest
    >>> from aedetect import ConformalDetector, Monitor
    >>> from aedetect.plotting import MonitorDisplay
    >>> X = np.random.RandomState(0).randn(400, 3)
    >>> forest = IsolationForest(n_estimators=10, random_state=0)
    >>> monitor = Monitor(ConformalDetector(forest, random_state=0).fit(X[:300]), random_state=0)
    >>> alarms = monitor.update(X[300:])
    >>> len(MonitorDisplay.from_estimator(monitor).axes_)
    4
    """

    def __init__(self, trajectory: DataFrame) -> None:
        self.trajectory = trajectory

    @classmethod
    def from_estimator(
        cls, monitor: Any, *, max_columns: int = 12, figure: Figure | None = None
    ) -> Self:
        """Plot the martingales of a monitor.

        Parameters
        ----------
        monitor : Monitor
            After :meth:`~aedetect.Monitor.update`.
        max_columns, figure
            As in :meth:`plot`.

        Returns
        -------
        display : MonitorDisplay
        """
        return cls(monitor.trajectory()).plot(max_columns=max_columns, figure=figure)

    def plot(self, *, max_columns: int = 12, figure: Figure | None = None) -> Self:
        """Plot the martingales.

        Parameters
        ----------
        max_columns : int, default=12
            Columns at most, those whose martingales rose highest.
        figure : matplotlib Figure or None, default=None
            None makes a new one.

        Returns
        -------
        display : MonitorDisplay
            Itself, with ``figure_`` and ``axes_``.
        """
        columns = self.top_columns(max_columns)
        n_across = min(MOST_ACROSS, max(len(columns), 1))
        n_lines = -(-len(columns) // n_across)
        figure = figure or new_figure(2.2 * max(n_across, 3), 2.8 + 1.5 * n_lines)
        grid = figure.add_gridspec(1 + n_lines, n_across, height_ratios=[2, *[1] * n_lines])
        scores = figure.add_subplot(grid[0, :])
        self.plot_scores(scores)
        self.axes_ = [scores]
        for number, column in enumerate(columns):
            place = grid[1 + number // n_across, number % n_across]
            ax = figure.add_subplot(place)
            self.plot_column(column, ax)
            self.axes_.append(ax)
        self.figure_ = figure
        return self

    def top_columns(self, max_columns: int) -> list[str]:
        """Return the names of the columns whose martingales rose highest, in the table's order.

        Parameters
        ----------
        max_columns : int
        """
        kinds = self.trajectory.columns.get_level_values(0)
        heights = self.trajectory.loc[:, kinds == "column"].max().droplevel(0)
        top = set(heights.sort_values(ascending=False, kind="stable").index[:max_columns])
        return [name for name in heights.index if name in top]

    def plot_scores(self, ax: Axes) -> None:
        """Plot the martingales of the scores.

        Parameters
        ----------
        ax : matplotlib Axes
        """
        kinds = ["scores", "flagged", "unflagged", "most flagged"]
        names = ["scores", "share flagged", "unflagged rows", "most rows flagged"]
        for number, (kind, name) in enumerate(zip(kinds, names, strict=True)):
            style = {"color": COLORS[number], "linestyle": LINE_STYLES[number // 2]}
            self._plot_line(ax, (kind, ""), label=name, **style)
        ax.set(xlabel="rows", ylabel="log martingale / log level")
        ax.legend(fontsize="small")

    def plot_column(self, name: str, ax: Axes) -> None:
        """Plot the martingales of a column of the table.

        Parameters
        ----------
        name : str
        ax : matplotlib Axes
        """
        self._plot_line(ax, ("column", name), color=COLORS[0])
        self._plot_line(ax, ("unflagged column", name), color=COLORS[2], linestyle="--")
        ax.set_title(plain(name), fontsize="small")
        ax.locator_params(nbins=3)
        ax.tick_params(labelsize="x-small")

    def _plot_line(self, ax: Axes, key: tuple[str, str], **style: Any) -> None:
        heights = self.trajectory[key].clip(LOWEST, HIGHEST)
        ax.plot(heights.index, heights, linewidth=1.3, **style)
        if len(ax.lines) == 1:
            ax.axhline(1, color=text_color(), linewidth=1, linestyle=":", label="alarm")
        ax.set_ylim(LOWEST, HIGHEST)
