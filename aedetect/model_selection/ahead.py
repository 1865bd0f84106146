"""Training of all candidates and folds of a search, ahead of its fits."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from joblib import effective_n_jobs
from joblib.parallel import get_active_backend
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils import _safe_indexing
from sklearn.utils.parallel import Parallel, delayed

from aedetect.estimators.memo import autoencoders_in, batches_of, rehearse
from aedetect.training import AT_ONCE, AT_ONCE_ON_DEVICE, Job, resolve_devices

Task = tuple[
    dict[str, Any], NDArray
]  # parameters of a candidate, and the rows that it is fitted to
# Networks that differ in these alone can be trained side by side.
OWN_TO_A_NETWORK = {
    *("learning_rate", "weight_decay", "schedule", "max_epochs", "patience", "random_state"),
    *("noise", "noise_level", "beta", "l1_activity", "dropout", "anomaly_score", "contamination"),
}


class SplitsAhead:
    """A splitter for one use, which passes its splits on before it returns them.

    Parameters
    ----------
    cv : cross-validation splitter
    train : callable
        Called with ``(X, y, splits)``.
    """

    def __init__(self, cv: Any, train: Callable[[Any, Any, list], None]) -> None:
        self._cv, self._train = cv, train

    def split(self, X: Any, y: Any = None, **params: Any) -> list[tuple[NDArray, NDArray]]:
        """Return the splits of ``cv`` as a list."""
        splits = list(self._cv.split(X, y, **params))
        self._train(X, y, splits)
        return splits


def train_ahead(
    estimator: Any, X: Any, y: Any, tasks: Sequence[Task], *, n_jobs: int | None
) -> None:
    """Train the networks of candidates and folds, and store them in the memo of the estimator.

    Parameters
    ----------
    estimator : object
        As ``with_memo`` returns it.
    X, y
        All rows and labels.
    tasks : sequence of (dict, ndarray)
        Parameters of a candidate, and the numbers of the rows that it is fitted to.
    n_jobs : int or None
        Processes, which take chunks of the tasks. If they are fewer than the estimator's devices,
        a thread for each device trains them.
    """
    if len(tasks) < 2:
        return
    n_devices, n_workers = _count_devices(estimator), effective_n_jobs(n_jobs)
    # The networks of a chunk share draws on a device, so chunks do not depend on who takes them.
    size = (1, AT_ONCE_ON_DEVICE) if n_devices else (n_workers, AT_ONCE)
    chunks = divide(tasks, *size)
    if n_devices > n_workers:
        _train_in_threads(estimator, X, y, chunks, n_devices)
        return
    parallel = Parallel(n_jobs=n_jobs, backend=_own_backend())
    parallel(
        delayed(_train_chunk)(estimator, X, y, chunk, turn) for turn, chunk in enumerate(chunks)
    )


def _train_in_threads(
    estimator: Any, X: Any, y: Any, chunks: Sequence[Sequence[Task]], n_devices: int
) -> None:
    """Train chunks in a thread for each device, while this thread rehearses those to come."""
    memo = autoencoders_in(estimator)[0]._memo
    assert memo is not None
    batches = (
        batch
        for turn, chunk in enumerate(chunks)
        for batch in batches_of(_rehearse_task(estimator, X, y, *task, turn) for task in chunk)
    )
    with ThreadPoolExecutor(n_devices, "aedetect-search") as threads:
        running = []
        for batch in batches:
            running.append(threads.submit(memo.train_batch, batch))
            if len(running) > n_devices:  # the rows of more would fill the memory
                running.pop(0).result()
        for task in running:
            task.result()


def _count_devices(estimator: Any) -> int:
    """Return the number of the estimator's devices, 0 for the CPU."""
    try:
        devices = resolve_devices(autoencoders_in(estimator)[0].device)
    except ValueError:  # the fits will raise it
        return 0
    return 0 if devices[0].type == "cpu" else len(devices)


def _own_backend() -> Any:
    """Return joblib's backend, or a copy if it has a pool: the search goes on to use that one."""
    backend, _ = get_active_backend()
    return copy.copy(backend) if hasattr(backend, "_pool") else backend


def divide(tasks: Sequence[Task], n_jobs: int, at_once: int) -> list[list[Task]]:
    """Return chunks of tasks, of which each holds networks that are much alike."""
    ordered = sorted(tasks, key=_likeness)
    n_chunks = min(len(tasks), n_jobs * -(-len(tasks) // (n_jobs * at_once)))
    bounds = [len(tasks) * index // n_chunks for index in range(n_chunks + 1)]
    return [ordered[first:last] for first, last in itertools.pairwise(bounds)]


def _likeness(task: Task) -> tuple[int, str]:
    """Return a key by which tasks whose networks are alike come together."""
    parameters, rows = task
    shared = {
        name: value
        for name, value in parameters.items()
        if name.rpartition("__")[2] not in OWN_TO_A_NETWORK
    }
    return len(rows), repr(sorted(shared.items()))


def _train_chunk(estimator: Any, X: Any, y: Any, tasks: Sequence[Task], turn: int) -> None:
    memo = autoencoders_in(estimator)[0]._memo
    assert memo is not None
    memo.train(_rehearse_task(estimator, X, y, *task, turn) for task in tasks)


def _rehearse_task(
    estimator: Any, X: Any, y: Any, parameters: dict[str, Any], rows: NDArray, turn: int
) -> Job | None:
    """Return the training of one fit as scikit-learn's searches do it."""
    try:
        candidate = clone(estimator).set_params(**clone(parameters, safe=False))
    except Exception:  # the search will raise it
        return None
    y_rows = None if y is None else _safe_indexing(y, rows)
    return rehearse(candidate, _safe_indexing(X, rows), y_rows, turn=turn)
