"""The one training loop, devices and seeds."""

from aedetect.training.checkpoint import Checkpoint
from aedetect.training.devices import (
    PRECISIONS,
    limit_threads,
    make_generator,
    move,
    one_blas_thread,
    one_thread,
    resolve_device,
    seeded_globally,
)
from aedetect.training.interrupt import Interrupt
from aedetect.training.loop import train
from aedetect.training.objective import Objective
from aedetect.training.optimizers import OPTIMIZERS, SCHEDULES
from aedetect.training.pools import Pools
from aedetect.training.state import Epoch, Run

__all__ = [
    "OPTIMIZERS",
    "PRECISIONS",
    "SCHEDULES",
    "Checkpoint",
    "Epoch",
    "Interrupt",
    "Objective",
    "Pools",
    "Run",
    "limit_threads",
    "make_generator",
    "move",
    "one_blas_thread",
    "one_thread",
    "resolve_device",
    "seeded_globally",
    "train",
]
