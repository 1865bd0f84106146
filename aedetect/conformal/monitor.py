"""The monitor of a calibrated detector: drift and anomalies, with a guaranteed false-alarm rate."""

from __future__ import annotations

from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pandas import DataFrame, Index, MultiIndex
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.utils import _safe_indexing, gen_batches, indexable
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import _num_samples, check_is_fitted

from aedetect.conformal.changes import Change
from aedetect.conformal.detector import ConformalDetector
from aedetect.conformal.martingales import ALL, BULK, MAJORITY, TAIL
from aedetect.conformal.reference import Reference
from aedetect.conformal.status import Alarm, Status, advise, kind_of
from aedetect.conformal.watch import READ, Crossing, State, find_change, levels_of, start, take
from aedetect.estimators.splitting import draw_seed, local_random_state
from aedetect.places import names_places, rows_of
from aedetect.scoring import FloatArray


class Monitor(BaseEstimator):
    """Watch the rows that a calibrated detector is given, and tell drift from anomalies.

    :meth:`update` takes new rows as they come. Each gets p-values: ranks of its score and of the
    values in its columns among those of the calibration rows and of all rows before it. Test
    martingales bet against their uniform distribution (Vovk, Nouretdinov & Gammerman, "Testing
    exchangeability on-line", ICML 2003; Vovk et al., "Retrain or not retrain", COPA 2021).

    **Guarantee.** While all rows are exchangeable with the calibration rows, the probability of
    *any* alarm, ever, is at most ``alpha``: for any detector, any distribution, any number of rows
    and columns, and however often one looks (Ville's inequality, with a Bonferroni correction for
    the number of martingales).

    A change is called ``drift`` if the rows above the detector's threshold changed. While these are
    exchangeable with the calibration rows above it, the probability of ever calling a change so is
    at most ``alpha``, however odd the other rows are. This holds as long as each row is below the
    threshold with a probability of at most one half.

    **Assumption.** Exchangeable rows are, for example, drawn independently from one distribution.
    Rows of a time series that depend on their neighbours are not, and raise alarms.

    Memory, and the cost of a row, are constant. The result does not depend on how the rows are
    divided into calls. With scores that do not depend on their batch, this holds to the last bit.

    Parameters
    ----------
    detector : ConformalDetector
        Calibrated, without ``cv``. Of tables of up to 256 columns it keeps bins of the columns of
        at most 10,000 calibration rows; rows of wider ones are monitored by their scores alone.
    alpha : float in (0, 1), default=0.01
        Probability of a false alarm, over all rows to come. A value set after the first rows has no
        effect before :meth:`reset` or :meth:`recalibrate`.
    random_state : int, RandomState instance or None, default=None
        Draws the random numbers that break ties.

    Attributes
    ----------
    n_rows_ : int
        Rows given to :meth:`update` so far.
    alarms_ : list of Alarm
        Alarms since the last calibration, at most one a martingale.

    See Also
    --------
    ConformalDetector : The detector that it watches.
    plotting.MonitorDisplay : Draws the martingales over time.

    References
    ----------
    V. Vovk, I. Nouretdinov & A. Gammerman, "Testing exchangeability on-line", ICML 2003.

    V. Vovk, I. Petej, I. Nouretdinov, E. Ahlberg, L. Carlsson & A. Gammerman, "Retrain or not
    retrain: conformal test martingales for change-point detection", COPA 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.ensemble import IsolationForest
    >>> from aedetect import ConformalDetector, Monitor
    >>> rng = np.random.RandomState(0)
    >>> forest = IsolationForest(random_state=0)
    >>> detector = ConformalDetector(forest, random_state=0).fit(rng.randn(2000, 3))
    >>> monitor = Monitor(detector, random_state=0)
    >>> monitor.update(rng.randn(1000, 3))  # nothing has changed
    []
    >>> alarms = monitor.update(rng.randn(500, 3) + [0, 1, 0])
    >>> status = monitor.status()
    >>> status.verdict, [change.column for change in status.changes if change.column]
    ('drift', ['x1'])
    >>> abs(status.since - 1000) < 20
    True
    """

    _parameter_constraints: dict[str, Any] = {
        "detector": "no_validation",  # _reference has a remedy to give
        "alpha": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        detector: ConformalDetector,
        *,
        alpha: float = 0.01,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.detector = detector
        self.alpha = alpha
        self.random_state = random_state

    @names_places
    def update(self, X: ArrayLike, *, scores: ArrayLike | None = None) -> list[Alarm]:
        """Take the next rows, and return the alarms that they raise.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in the order in which they came. Columns of frames are matched by name.
        scores : array-like of shape (n_samples,) or None, default=None
            ``detector.score_samples(X)``, if they are known already; None computes them.

        Returns
        -------
        alarms : list of Alarm
            In the order of their rows. Each martingale raises one alarm at most.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the detector is not calibrated.
        ValueError
            If the detector has been calibrated anew since the first rows, if it refuses the rows,
            or if columns are missing. The monitor then is as before.
        """
        reference = self._reference()
        before = state = self._state if hasattr(self, "_state") else self._begin(reference)
        self._check_calibration(reference)
        (X,) = indexable(X)
        all_scores = self._scores(X, scores)
        crossings: list[Crossing] = []
        for rows in gen_batches(len(all_scores), READ):
            numbers = _numbers(reference, X, np.arange(rows.start, rows.stop))
            state, found = take(state, reference, all_scores[rows], numbers)
            crossings += found
        first_row, known = getattr(self, "_first_row", 0), getattr(self, "alarms_", [])
        crossed = np.flatnonzero(before["crossed"]).tolist()
        new = [
            alarm._replace(row=alarm.row + first_row, since=alarm.since + first_row)
            for alarm in _alarms(crossings, crossed, known, reference.n_columns)
        ]
        n_rows = first_row + state["streams"]["n_rows"]
        fitted = {"_state": state, "_first_row": first_row, "n_rows_": n_rows}
        self.__dict__.update({**fitted, "alarms_": [*known, *new]})
        return new

    def status(self) -> Status:
        """Return the verdict on all rows since the calibration, the changes, and advice.

        Returns
        -------
        status : Status
            ``print(status)`` shows it in words.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If :meth:`update` has not been called.
        """
        reference, state = self._started()
        evidence = state["streams"]["moments"][0].sum(axis=0) / levels_of(state, reference)
        crossed = [stream for stream in np.argsort(-evidence).tolist() if state["crossed"][stream]]
        verdict = kind_of(crossed, reference.n_columns)
        changes: dict[Any, Change] = {}
        if {BULK, TAIL, MAJORITY} & {*crossed}:
            crossed = [stream for stream in crossed if stream != ALL]  # the others say more
        for stream in crossed if verdict != "stable" else []:
            change = find_change(state, reference, stream)
            moved = change._replace(since=change.since + self._first_row)
            changes.setdefault(change.column or change.measure, moved)
        listed = sorted(changes.values(), key=lambda change: change.column is not None)
        return Status(
            verdict,
            state["streams"]["n_rows"],
            next((change.since for change in changes.values()), None),
            listed,
            advise(verdict, listed),
        )

    def recalibrate(self, X_normal: ArrayLike) -> Self:
        """Calibrate the detector with other normal rows, and start again with them.

        Parameters
        ----------
        X_normal : array-like of shape (n_samples, n_features)
            Normal rows that the inner detector was not fitted to, as for
            :meth:`ConformalDetector.calibrate`, which changes ``detector`` itself. Not those that
            are given to :meth:`update` afterwards.

        Returns
        -------
        self : object
        """
        self._calibrated().calibrate(X_normal)
        return self.reset()

    def reset(self) -> Self:
        """Forget all rows and alarms, for example after the detector was fitted again.

        Rows are still numbered from the first that this monitor was ever given.

        Returns
        -------
        self : object
        """
        state, n_rows = self._begin(self._reference()), getattr(self, "n_rows_", 0)
        fitted = {"_state": state, "_first_row": n_rows, "n_rows_": n_rows}
        self.__dict__.update({**fitted, "alarms_": []})
        return self

    def trajectory(self) -> DataFrame:
        """Return the martingales over time, thinned out to at most 256 points.

        Returns
        -------
        log_martingales : DataFrame of shape (n_points, n_martingales)
            Natural logarithms, divided by that of the level: 1 is the alarm line. The index holds
            the number of rows. Of all rows there are ``("scores", "")``, ``("flagged", "")`` and
            ``("column", name)``; to tell drift from anomalies, ``("unflagged", "")`` and
            ``("unflagged column", name)`` of the rows that are not flagged, and ``("most flagged",
            "")``.
        """
        reference, state = self._started()
        trajectory = state["trajectory"]
        n_points, stride = trajectory["n_points"], trajectory["stride"]
        martingales = trajectory["martingales"][:n_points]
        rows = self._first_row + stride * np.arange(1, n_points + 1)
        names = [] if reference.marginals is None else reference.marginals.labels
        labels = [(kind, "") for kind in ("unflagged", "most flagged", "scores", "flagged")]
        labels += [(kind, name) for kind in ("unflagged column", "column") for name in names]
        logs = np.log(martingales) / np.log(levels_of(state, reference))
        return DataFrame(logs, Index(rows, name="row"), MultiIndex.from_tuples(labels))

    def _calibrated(self) -> ConformalDetector:
        """Return the detector, which must be one that can be monitored."""
        detector = self.detector
        if not isinstance(detector, ConformalDetector):
            raise TypeError(
                f"detector must be a ConformalDetector, but it is a {type(detector).__name__}. Wrap"
                " it: ConformalDetector(detector, prefit=True).calibrate(X_normal)."
            )
        check_is_fitted(detector, "estimators_")
        detector._refuse_folds("Monitor")
        detector._refuse_blocks("Monitor")
        return detector

    def _reference(self) -> Reference:
        """Return the calibration rows of the detector as they are compared."""
        state = getattr(self._calibrated(), "_reference", None)
        if state is None:
            raise ValueError(
                "The detector was calibrated by an earlier version of aedetect, which kept only"
                " scores. Call recalibrate(X_normal)."
            )
        return Reference.from_state(state)

    def _begin(self, reference: Reference) -> State:
        """Return the state before the first row after a calibration."""
        self._validate_params()
        return start(reference, self.alpha, draw_seed(local_random_state(self.random_state)))

    def _started(self) -> tuple[Reference, State]:
        """Return the calibration rows and the state after the rows so far."""
        if not hasattr(self, "_state"):
            raise NotFittedError("This Monitor has been given no rows yet. Call update(X) first.")
        reference = self._reference()
        self._check_calibration(reference)
        return reference, self._state

    def _check_calibration(self, reference: Reference) -> None:
        if hasattr(self, "_state") and self._state["digest"] != reference.digest:
            raise ValueError(
                "The detector has other calibration rows than those that the first"
                f" {self.n_rows_:,} rows were compared with: it was calibrated or fitted again, or"
                " it is another one. Call reset() to start again with it, or set the former"
                " detector; until then the monitor is as it was."
            )

    def _scores(self, X: Any, scores: ArrayLike | None) -> FloatArray:
        if scores is None:
            return self.detector.score_samples(X)
        given = np.asarray(scores, dtype=np.float64)
        if given.shape != (_num_samples(X),) or np.isnan(given).any():
            raise ValueError(
                f"scores must hold a number for each of the {_num_samples(X)} rows of X, but their"
                f" shape is {given.shape} with {np.isnan(given).sum()} NaN. Leave them out, or pass"
                " detector.score_samples(X)."
            )
        return given

    def __getstate__(self) -> dict[str, Any]:
        """Return NumPy arrays and plain Python, beside the detector."""
        state = super().__getstate__()
        if "alarms_" in state:
            state = {**state, "alarms_": [alarm._asdict() for alarm in self.alarms_]}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the attributes that ``__getstate__`` returned."""
        if "alarms_" in state:
            state = {**state, "alarms_": [Alarm(**alarm) for alarm in state["alarms_"]]}
        super().__setstate__(state)


def _numbers(reference: Reference, X: Any, rows: NDArray[np.intp]) -> FloatArray:
    """Return the columns of some rows, ``(n_columns, n_rows)``."""
    if reference.marginals is None:
        return np.empty((0, len(rows)))
    part = X if len(rows) == _num_samples(X) else _safe_indexing(X, rows)
    with rows_of(rows):
        return reference.marginals.to_numbers(part).T


def _alarms(
    crossings: list[Crossing], crossed: list[int], known: list[Alarm], n_columns: int
) -> list[Alarm]:
    """Return the alarms of crossings, which follow those of the streams ``crossed``.

    A column raises one of a kind, and none after drift.
    """
    alarms: list[Alarm] = []
    for crossing in crossings:
        crossed = [*crossed, crossing.stream]
        kind, change = kind_of(crossed, n_columns), crossing.change
        told = {alarm.kind for alarm in [*known, *alarms] if alarm.column == change.column}
        is_told = change.column is not None and {kind, "drift"} & told
        if kind != "stable" and not is_told:
            row = crossing.n_rows - 1
            alarms.append(Alarm(kind, row, *change, crossing.martingale, crossing.level))
    return alarms
