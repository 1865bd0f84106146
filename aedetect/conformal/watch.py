"""The state of a Monitor: it takes rows, and finds the martingales that reach their level."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import gen_batches

from aedetect.conformal.changes import Change, count_sums, describe, make_summands
from aedetect.conformal.martingales import (
    BLOCK,
    Step,
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
    n = reference.n_columns
    sizes = np.array([1, 1, n])
    (of_bulk, columns_of_bulk), (of_all, columns) = (
        np.split(np.repeat(shares / (shares @ (sizes > 0) * np.maximum(sizes, 1)), sizes), [2])
        for shares in map(_as_array, (SHARES_OF_BULK, SHARES_OF_ALL))
    )
    return 1 / (state["alpha"] * np.concatenate([of_bulk, of_all, columns_of_bulk, columns]))


def _as_array(shares: dict[str, float]) -> FloatArray:
    return np.array([*shares.values()])


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
    state = {**state, "random_state": random_state}
    uniform = random_state.random_sample((len(scores), 2, 1 + len(numbers)))
    ties, smooth = np.moveaxis(uniform, 0, 2)
    lines = [0, *range(1, len(numbers) + 1), *range(1, len(numbers) + 1)]  # of the reference
    keys = in_lexical_order(np.concatenate([scores[None], numbers]), ties)
    bins = find_bins(reference.edges, [keys[line] for line in lines])
    smooth = np.ascontiguousarray(smooth)[lines]
    is_tail = bins[0] < reference.n_tail_bins
    blocks = list(gen_batches(len(scores), BLOCK))
    p_values, counts = [], state["streams"]["counts"]
    for rows in blocks:
        of_block, counts = draw_p_values(
            reference, counts, bins[:, rows], is_tail[rows], smooth[:, rows]
        )
        p_values.append(of_block)
    summands = make_summands(
        reference.marginals, numbers, np.concatenate(p_values, axis=1), is_tail
    )
    sums = np.add.accumulate(np.concatenate([state["sums"][None], summands]), axis=0)
    state["streams"] = {**state["streams"], "counts": counts}
    levels, crossings = levels_of(state, reference), []
    for rows, of_block in zip(blocks, p_values, strict=True):
        part = sums[rows.start : rows.stop + 1]
        state, found = _take_block(state, reference, levels, of_block, part)
        crossings += found
    return state, crossings


def _take_block(
    state: State, reference: Reference, levels: FloatArray, p_values: FloatArray, sums: FloatArray
) -> tuple[State, list[Crossing]]:
    n_rows = state["streams"]["n_rows"]
    streams, step = bet(state["streams"], reference.kinds, p_values)
    crossings = list(_find_crossings(state, reference, levels, step, sums))
    crossed = state["crossed"].copy()
    crossed[[crossing.stream for crossing in crossings]] = True
    after = {
        **state,
        "streams": streams,
        "sums": sums[-1].copy(),
        "snapshots": with_sums(state["snapshots"], n_rows, sums),
        "crossed": crossed,
        "trajectory": extend(state["trajectory"], n_rows, step.martingales),
    }
    return after, crossings


def _find_crossings(
    state: State, reference: Reference, levels: FloatArray, step: Step, sums: FloatArray
) -> Iterator[Crossing]:
    """Yield the crossings in a block, in the order of their rows."""
    is_high = (step.martingales >= levels) & ~state["crossed"]
    n_before = state["streams"]["n_rows"]
    found = np.flatnonzero(is_high.any(axis=0)).tolist()
    for row, stream in sorted((int(is_high[:, stream].argmax()), stream) for stream in found):
        # A state as if the block had ended with this row.
        ended = {
            "streams": {"n_rows": n_before + row + 1, "moments": step.moments[row]},
            "sums": sums[row + 1],
            "snapshots": with_sums(state["snapshots"], n_before, sums[: row + 2]),
        }
        yield Crossing(
            n_before + row + 1,
            stream,
            float(step.martingales[row, stream]),
            float(levels[stream]),
            find_change(ended, reference, stream),
        )


def find_change(state: State, reference: Reference, stream: int) -> Change:
    """Return the change that a stream shows after all rows."""
    n_rows = state["streams"]["n_rows"]
    best, since = best_bet(state["streams"]["moments"], stream)
    before = sums_at(state["snapshots"], n_rows, since)
    return describe(reference, stream, best, since, state["sums"] - before)
