"""One fit by several processes."""

from __future__ import annotations

import os
from numbers import Integral
from typing import Any, TypeVar

import joblib
import torch
from numpy.typing import ArrayLike

from aedetect.estimators.base import FITTED, BaseAutoencoder
from aedetect.estimators.fingerprint import describe
from aedetect.estimators.splitting import local_random_state
from aedetect.rows import Rows
from aedetect.scale.processes import Processes

Estimator = TypeVar("Estimator", bound=BaseAutoencoder)


def fit(estimator: Estimator, X: ArrayLike | Rows, *, n_shards: int = 8) -> Estimator:
    """Fit an estimator in all processes of ``torchrun`` or Ray's ``TorchTrainer`` together.

    Every process calls this function with equal arguments. Each batch is divided into ``n_shards``
    shards, of which each process computes the gradients of some, and every process takes the step
    with the sum. The shards, their noise and the order of the sum do not depend on the number of
    processes, so 1, 2 and 4 of them give equal bits on CPUs of one kind.

    Parameters
    ----------
    estimator : AutoencoderTransformer, DenoisingAutoencoder or VAEDetector
        Without batch normalisation and callbacks. With a ``checkpoint``, which all machines must
        find under its path, a training that was killed is resumed, also by another number of
        processes.
    X : array-like of shape (n_samples, n_features), or Rows
        All training rows: equal ones in every process.
    n_shards : int, default=8
        Parts of a batch: a power of two, and at least the number of processes. The weights depend
        on it.

    Returns
    -------
    estimator : object
        Fitted in every process, to the state of the first.

    Raises
    ------
    TypeError
        If ``estimator`` is of another class.
    ValueError
        If processes have different rows or parameters, if ``n_shards`` does not suit their number,
        and as ``fit`` does.

    Notes
    -----
    Training is divided. Checks, scaling, score and threshold are computed by every process, since
    that takes no longer than waiting for one of them. Ctrl-C ends all processes at once.

    Examples
    --------
    Under ``torchrun --nproc-per-node 4 train.py``, or as here in one process:

    >>> import numpy as np
    >>> from aedetect import DenoisingAutoencoder, scale
    >>> X = np.random.default_rng(0).normal(size=(500, 4))
    >>> detector = scale.fit(DenoisingAutoencoder(max_epochs=2, random_state=0), X)
    >>> detector.n_iter_
    2
    """
    _check(estimator)
    processes = Processes(n_shards)
    _check_shards(n_shards, processes.size)
    _check_equal(processes, estimator, X)
    _choose_gpu(estimator.device)
    given = estimator.random_state
    if not isinstance(given, Integral):
        estimator.random_state = processes.share(local_random_state(given))
    estimator._exchange = processes
    try:
        estimator.fit(X)
    finally:
        estimator.random_state = given
        estimator.__dict__.pop("_exchange", None)
    first = vars(processes.share(estimator))
    if processes.rank > 0:
        estimator._set_fitted({name: first[name] for name in FITTED if name in first})
    return estimator


def _check(estimator: Any) -> None:
    if not isinstance(estimator, BaseAutoencoder):
        raise TypeError(
            "scale.fit takes AutoencoderTransformer, DenoisingAutoencoder and VAEDetector, but it"
            f" was given {type(estimator).__name__}."
        )
    if getattr(estimator, "_skl_callbacks", None):
        raise ValueError(
            "A callback may end training in one of several processes. Remove the callbacks with"
            " set_callbacks()."
        )

    if isinstance(estimator.device, list | tuple):
        raise ValueError(
            f"device={list(map(str, estimator.device))} is a list, but scale.fit gives each process"
            " of a machine a GPU of its own. Set device='cuda'."
        )


def _check_shards(n_shards: int, n_processes: int) -> None:
    if n_shards < 1 or n_shards & (n_shards - 1) or n_shards % n_processes:
        raise ValueError(
            f"n_shards={n_shards} must be a power of two and a multiple of the number of processes,"
            f" which is {n_processes}."
        )


def _check_equal(processes: Processes, estimator: BaseAutoencoder, X: Any) -> None:
    """Refuse rows and parameters that are not those of the first process."""
    rows = X.digest if isinstance(X, Rows) else joblib.hash(X)
    own = {"rows": rows, **describe(estimator, estimator.get_params(deep=False))}
    first = processes.share(own)
    names = [name for name in own if own[name] != first.get(name)]
    if names:
        raise ValueError(
            f"Processes that train together need equal arguments, but {', '.join(names)} of process"
            f" {processes.rank} differ from those of process 0."
        )


def _choose_gpu(device: Any) -> None:
    """Let ``device="auto"`` be a GPU of this process's own."""
    if str(device) in ("auto", "cuda") and torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())
