"""A training, as plain values."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator, Tensor

from aedetect.networks import Autoencoder
from aedetect.training.objective import Objective
from aedetect.training.pools import Pools
from aedetect.training.shifts import Shifts


@dataclass(frozen=True, eq=False)
class Job:
    """A network, its rows, and how it is trained. :func:`train` describes the fields."""

    network: Autoencoder
    objective: Objective
    x: Tensor | Pools
    x_val: Tensor
    generator: Generator
    optimizer: str
    learning_rate: float
    weight_decay: float
    schedule: str
    batch_size: int
    max_epochs: int
    patience: int
    shifts: Shifts | None = None

    @property
    def rows(self) -> Tensor:
        """The rows of a job whose rows are all in memory."""
        assert isinstance(self.x, Tensor)
        return self.x
