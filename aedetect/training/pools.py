"""The rows that each epoch trains on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Rows(Protocol):
    """Rows of which some are taken by their numbers: a tensor, or one that is not there yet."""

    device: torch.device

    def __len__(self) -> int:
        """Return the number of rows."""

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """Return rows by their numbers; ``dim`` is 0."""


class Pools(Protocol):
    """Training rows of which an epoch has a pool in memory."""

    def count(self, epoch: int) -> int:
        """Return the number of rows of an epoch."""

    def load(self, epoch: int) -> Rows:
        """Return the rows of an epoch, ``(n_rows, n_features)``, until the next call."""


@dataclass(frozen=True)
class OnePool:
    """Training rows that are in memory, all of them in every epoch."""

    x: Tensor

    def count(self, epoch: int) -> int:
        """Return the number of rows."""
        return len(self.x)

    def load(self, epoch: int) -> Tensor:
        """Return the rows."""
        return self.x
