"""The state of a Monitor: it takes rows, and finds the martingales that reach their level."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import gen_batches

from aedetect.conformal.changes import Change, count_sums, describe, make_summands
from aedetect.conformal.martingales import (
    BLOCK,
    best_bet,
    bet,
    draw_p_values,
    start_streams,
)
from aedetect.conformal.order import find_bins, in_lexical_order
from aedetect.conformal.reference import Reference
from aedetect.conformal.snapshots import STEPS, sums_at, with_sums
from aedetect.conformal.trajectory import extend, start_trajectory
from aedetect.scoring import FloatArray

READ = 32 * BLOCK  # rows that are taken at a time
State = dict[str, Any]  # of NumPy arrays and plain Python
# Streams of all rows open the gate to alarms: together they reach their levels with a probability
# of at most alpha. Those of the rows that are not flagged, together too, tell drift from anomalies.
SHARES_OF_ALL = {"scores": 0.15, "tail": 0.1, "columns": 0.75}
SHARES_OF_BULK = {"scores": 0.15, "majority": 0.05, "columns": 0.8}


class Crossing(NamedTuple):
    """A martingale that reaches its level for the first time."""

    n_rows: int  # up to then
    stream: int
    martingale: float
    level: float
    change: Change


def start(reference: Reference, alpha: float, seed: int) -> State:
    """Return the state before the first row."""
    n_streams, n_sums = len(reference.kinds), count_sums(reference.marginals)
    return {
        "digest": reference.digest,
        "alpha": float(alpha),
        "random_state": np.random.RandomState(seed),
        "streams": start_streams(reference),
        "sums": np.zeros(n_sums),
        "snapshots": np.zeros((2 * len(STEPS), n_sums)),
        "crossed": np.zeros(n_streams, dtype=bool),
        "trajectory": start_trajectory(n_streams),
    }


def levels_of(state: State, reference: Reference) -> FloatArray:
    """Return the level of each martingale: 1 over its share of ``alpha`` (Bonferroni)."""
    of_bulk, of_all = (
        _share_out(shares, reference.n_columns) for shares in (SHARES_OF_BULK, SHARES_OF_ALL)
    )
    shares = np.concatenate([of_bulk[:2], of_all[:2], of_bulk[2:], of_all[2:]])
    return 1 / (state["alpha"] * shares)


def _share_out(shares: dict[str, float], n_columns: int) -> FloatArray:
    """Return the shares of two streams of scores, and of each column; they add up to 1."""
    *of_scores, of_columns = shares.values()
    parts = np.array([*of_scores, *[of_columns / max(n_columns, 1)] * n_columns])
    return parts / parts.sum()


def take(
    state: State, reference: Reference, scores: FloatArray, numbers: FloatArray
) -> tuple[State, list[Crossing]]:
    """Return the state after some rows, and the crossings in them; ``state`` stays as it is.

    Parameters
    ----------
    state : dict
    reference : Reference
    scores : ndarray of shape (n_rows,)
    numbers : ndarray of shape (n_columns, n_rows)
    """
    random_state = np.random.RandomState(0)
    random_state.set_state(state["random_state"].get_state())  # much faster than deepcopy
    uniform = random_state.random_sample((len(scores), 2, 1 + len(numbers)))
    values = np.concatenate([scores[None], numbers])
    p_values, is_tail, counts = _rank(reference, state["streams"]["counts"], values, uniform)
    summands = make_summands(reference.marginals, numbers, p_values, is_tail)
    sums = np.add.accumulate(np.concatenate([state["sums"][None], summands]), axis=0)
    streams, martingales, crossings = _bet(state, reference, p_values, sums)
    n_before = state["streams"]["n_rows"]
    after = {
        **state,
        "random_state": random_state,
        "streams": {**streams, "counts": counts},
        "sums": sums[-1].copy(),
        "snapshots": with_sums(state["snapshots"], n_before, sums),
        "crossed": state["crossed"] | (martingales >= levels_of(state, reference)).any(axis=0),
        "trajectory": extend(state["trajectory"], n_before, martingales),
    }
    return after, crossings


def _rank(
    reference: Reference, counts: NDArray[np.int64], values: FloatArray, uniform: FloatArray
) -> tuple[FloatArray, NDArray[np.bool_], NDArray[np.int64]]:
    """Return the p-values of rows, whether they are in the tail, and the counts after them."""
    ties, smooth = np.moveaxis(uniform, 0, 2)
    n = reference.n_columns
    lines = [0, *range(1, n + 1), *range(1, n + 1)]  # of the reference, by place in ``values``
    keys = in_lexical_order(values, ties)
    bins = find_bins(reference.edges, [keys[line] for line in lines])
    is_tail = bins[0] < reference.n_tail_bins
    smooth = np.ascontiguousarray(smooth)[lines]
    p_values = []
    for rows in gen_batches(len(is_tail), BLOCK):
        part, counts = draw_p_values(
            reference, counts, bins[:, rows], is_tail[rows], smooth[:, rows]
        )
        p_values.append(part)
    return np.concatenate(p_values, axis=1), is_tail, counts


def _bet(
    state: State, reference: Reference, p_values: FloatArray, sums: FloatArray
) -> tuple[State, FloatArray, list[Crossing]]:
    """Return the streams after some rows, the martingales on the way, and their crossings."""
    streams, n_before = state["streams"], state["streams"]["n_rows"]
    levels, crossed = levels_of(state, reference), state["crossed"].copy()
    martingales, crossings = [], []
    for rows in gen_batches(p_values.shape[1], BLOCK):
        streams, step = bet(streams, reference.kinds, p_values[:, rows])
        martingales.append(step.martingales)
        is_high = (step.martingales >= levels) & ~crossed
        found = np.flatnonzero(is_high.any(axis=0)).tolist()
        for row, stream in sorted((int(is_high[:, stream].argmax()), stream) for stream in found):
            end = rows.start + row + 1
            ended = {  # a state as if this row were the last
                "streams": {"n_rows": n_before + end, "moments": step.moments[row]},
                "sums": sums[end],
                "snapshots": with_sums(state["snapshots"], n_before, sums[: end + 1]),
            }
            change = find_change(ended, reference, stream)
            reached = float(step.martingales[row, stream])
            level = float(levels[stream])
            crossings.append(Crossing(n_before + end, stream, reached, level, change))
        crossed[found] = True
    return streams, np.concatenate(martingales), crossings


def find_change(state: State, reference: Reference, stream: int) -> Change:
    """Return the change that a stream shows after all rows."""
    n_rows = state["streams"]["n_rows"]
    best, since = best_bet(state["streams"]["moments"], stream)
    before = sums_at(state["snapshots"], n_rows, since)
    return describe(reference, stream, best, since, state["sums"] - before)
