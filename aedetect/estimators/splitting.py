"""Which rows are held out, and the generator that draws them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state


class Split(NamedTuple):
    """Numbers of the held-out rows, and of those that the network is fitted to.

    Of rows that do not fit into memory together, the second has some, drawn at random.
    """

    held_out: NDArray[np.intp]
    fitted: NDArray[np.intp]


def local_random_state(seed: int | np.random.RandomState | None) -> np.random.RandomState:
    """Return scikit-learn's generator for ``seed``, but a fresh one, not the global, for None."""
    return np.random.RandomState() if seed is None else check_random_state(seed)


def draw_seed(random_state: np.random.RandomState) -> int:
    """Return a seed for one of PyTorch's generators."""
    return int(random_state.randint(np.iinfo(np.int32).max))
