"""Networks that are trained side by side, ahead of the fits that they belong to.

A fit is rehearsed: it runs up to its training, which becomes a :class:`~aedetect.training.Job`.
Jobs are trained side by side, and the networks are stored in a folder under a digest of all that
went into them. The fit then runs as always and finds its network there. Where it finds none, it
trains.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from torch import Tensor

from aedetect.networks import Autoencoder
from aedetect.training import Epoch, Job, Run, Watcher, train_together

if TYPE_CHECKING:
    from aedetect.estimators.base import BaseAutoencoder

MAX_BYTES = 2**28  # of rows that are held at once
EPOCHS = "epochs"  # name of their measures beside the weights


class Trained(NamedTuple):
    """A trained network."""

    weights: dict[str, Tensor]  # and running statistics, by name
    epochs: list[Epoch]


@dataclass(frozen=True)
class Memo:
    """A folder of trained networks, and the seed of fits with ``random_state=None``.

    Estimators that are not fitted yet carry it, also into other processes.

    Parameters
    ----------
    folder : str
    entropy : int
        A fit without a seed and its rehearsal must make equal draws.
    owner : int
        Number of the process that opened it.
    """

    folder: str
    entropy: int
    owner: int

    def recall(self, job: Job | None) -> Trained | None:
        """Return the network that was trained for an equal job, if there is one.

        None stands for a training that cannot be done ahead.
        """
        if job is None or not (path := self._path(job)).exists():
            return None
        tensors = load_file(path)
        epochs = [Epoch(*row) for row in tensors.pop(EPOCHS).tolist()]
        return Trained(tensors, epochs)

    def train(self, jobs: Iterable[Job | None]) -> None:
        """Train networks side by side and store those that could be; None is passed over."""
        for batch in batches_of(jobs):
            self.train_batch(batch)

    def train_batch(self, batch: Sequence[Job]) -> None:
        """Train the networks of a list of :func:`batches_of`."""
        # Candidates that differ in the score alone have one network.
        found = {self._path(job): job for job in batch}
        new = {path: job for path, job in found.items() if not path.exists()}
        runs = train_together(list(new.values()))
        for (path, job), run in zip(new.items(), runs, strict=True):
            if run is not None:
                epochs = torch.tensor(run.epochs, dtype=torch.float64)
                save_file({**_weights_of(job), EPOCHS: epochs}, path)

    def choose(self, devices: tuple[torch.device, ...]) -> tuple[torch.device, ...]:
        """Return the devices of a fit: all in the process of the search, one in each of others."""
        if len(devices) == 1 or os.getpid() == self.owner:
            return devices
        return (devices[self._number_of_process() % len(devices)],)

    def _number_of_process(self) -> int:
        """Return the number of this process among those that have asked for one."""
        own = str(os.getpid())
        for number in itertools.count():
            path = Path(self.folder) / f"{number}.process"
            try:
                with path.open("x") as file:
                    file.write(own)
            except FileExistsError:
                if path.read_text() != own:
                    continue
            except OSError:  # another machine, without this folder
                return 0
            return number
        raise AssertionError

    def random_state(self, estimator: BaseAutoencoder, X: NDArray) -> np.random.RandomState:
        """Return the generator of a fit to ``X`` without a seed of its own."""
        digest = joblib.hash((self.entropy, estimator.get_params(deep=False), X))
        return np.random.RandomState(int(digest[:8], 16))

    def _path(self, job: Job) -> Path:
        return Path(self.folder) / f"{_digest(job)}.safetensors"


class Rehearsed(BaseException):
    """Ends a rehearsal. No handler of errors on the way takes it for one."""

    def __init__(self, job: Job | None) -> None:
        super().__init__()
        self.job = job  # None where it cannot be trained ahead


@dataclass(frozen=True)
class Rehearsal(Memo):
    """The memo of an estimator that is rehearsed.

    Parameters
    ----------
    turn : int, default=0
        Number of the device, of those of the estimator, on which its network will be trained.
    """

    turn: int = 0

    def choose(self, devices: tuple[torch.device, ...]) -> tuple[torch.device, ...]:
        """Return the one device of the training."""
        return (devices[self.turn % len(devices)],)

    def recall(self, job: Job | None) -> NoReturn:
        """End the rehearsal."""
        raise Rehearsed(job)


@torch.no_grad()
def replay(trained: Trained, network: Autoencoder, watcher: Watcher) -> Run:
    """Set the weights of a network and report the epochs, as if it was trained now."""
    network.load_state_dict(trained.weights)
    network.eval()
    run = Run(network, None, [])
    for epoch in trained.epochs:
        watcher.on_epoch_begin()
        run.epochs.append(epoch)
        watcher.on_epoch_end(epoch)
    return run


@contextmanager
def open_memo() -> Iterator[Memo]:
    """Yield an empty memo; its folder is removed afterwards."""
    folder = tempfile.mkdtemp(prefix="aedetect-")
    try:
        entropy = int(np.random.SeedSequence().entropy)  # type: ignore[arg-type]
        yield Memo(folder, entropy, os.getpid())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def with_memo(estimator: Any, memo: Memo) -> Any:
    """Return a clone of an estimator whose clones and fits use the memo."""
    copy = clone(estimator)
    for autoencoder in autoencoders_in(copy):
        autoencoder._memo = memo
    return copy


def autoencoders_in(estimator: Any) -> list[BaseAutoencoder]:
    """Return the estimators of this package in an estimator: itself, or steps of a Pipeline."""
    from aedetect.estimators.base import BaseAutoencoder

    if isinstance(estimator, Pipeline):
        return [found for _, step in estimator.steps for found in autoencoders_in(step)]
    return [estimator] if isinstance(estimator, BaseAutoencoder) else []


def rehearse(estimator: Any, X: Any, y: Any = None, *, turn: int = 0) -> Job | None:
    """Return the first training of a fit, or None if it cannot be trained ahead.

    Parameters
    ----------
    estimator : object
        A clone of what :func:`with_memo` returned. It must not be used afterwards.
    X, y
        As ``fit`` takes them.
    turn : int, default=0
        As :class:`Rehearsal` takes it.
    """
    autoencoders = autoencoders_in(estimator)
    if not autoencoders:
        return None
    for autoencoder in autoencoders:
        if autoencoder._memo is None:  # a step that a candidate has replaced
            return None
        autoencoder._memo = Rehearsal(**vars(autoencoder._memo), turn=turn)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the fit itself will warn
            estimator.fit(X, y)
    except Rehearsed as end:
        return end.job
    except Exception:  # the fit itself will raise it
        return None
    return None


def batches_of(jobs: Iterable[Job | None]) -> Iterator[list[Job]]:
    """Yield lists of jobs; those with equal rows hold them once, and all rows fit in memory."""
    batch: list[Job] = []
    known: dict[str, Tensor] = {}
    for job in jobs:
        if job is None:
            continue
        x, x_val = (
            known.setdefault(joblib.hash(x.cpu().numpy()), x) for x in (job.rows, job.x_val)
        )
        batch.append(dataclasses.replace(job, x=x, x_val=x_val))
        if sum(rows.nbytes for rows in known.values()) > MAX_BYTES:
            yield batch
            batch, known = [], {}
    if batch:
        yield batch


def _hash(x: Tensor) -> str:
    return joblib.hash(x.cpu().numpy())


def _weights_of(job: Job) -> dict[str, Tensor]:
    return {n: tensor.to("cpu", copy=True) for n, tensor in job.network.state_dict().items()}


def _digest(job: Job) -> str:
    """Return a digest of all that determines the trained weights."""
    values = {
        **vars(job),
        "network": (repr(job.network), _as_arrays(job.network.state_dict())),
        "generator": job.generator.get_state().numpy(),
        "x": job.rows.cpu().numpy(),
        "x_val": job.x_val.cpu().numpy(),
    }
    return joblib.hash(values, hash_name="sha1")


def _as_arrays(tensors: dict[str, Tensor]) -> dict[str, NDArray]:
    return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
