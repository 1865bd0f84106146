"""The martingales over time, thinned out as they grow longer, in constant memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from aedetect.scoring import FloatArray

MOST_POINTS = 256
Trajectory = dict[str, Any]  # stride, n_points, and martingales (MOST_POINTS, n_streams)


def start_trajectory(n_streams: int) -> Trajectory:
    """Return a trajectory without points."""
    return {"stride": 1, "n_points": 0, "martingales": np.ones((MOST_POINTS, n_streams))}


def extend(trajectory: Trajectory, n_rows: int, martingales: FloatArray) -> Trajectory:
    """Return the trajectory with the martingales after some more rows.

    Point number i is that after ``(i + 1) * stride`` rows. Once all points are used, every other
    one is dropped, and the stride is doubled.

    Parameters
    ----------
    trajectory : dict
    n_rows : int
        Rows before these.
    martingales : ndarray of shape (n_new_rows, n_streams)
    """
    stride, n_points = trajectory["stride"], trajectory["n_points"]
    points = trajectory["martingales"].copy()
    while (n_points + 1) * stride <= n_rows + len(martingales):
        if n_points == MOST_POINTS:
            n_points, stride = n_points // 2, 2 * stride
            points[:n_points] = points[1::2]
            continue
        points[n_points] = martingales[(n_points + 1) * stride - n_rows - 1]
        n_points += 1
    points[n_points:] = 1
    return {"stride": stride, "n_points": n_points, "martingales": points}
