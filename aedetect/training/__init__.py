"""The one training loop, the one inference loop, devices and seeds."""

from aedetect.training.checkpoint import Checkpoint
from aedetect.training.devices import (
    PRECISIONS,
    limit_threads,
    make_generator,
    move,
    one_blas_thread,
    resolve_device,
    seeded_globally,
)
from aedetect.training.inference import align, aligned, infer
from aedetect.training.interrupt import Interrupt
from aedetect.training.loop import train
from aedetect.training.objective import Objective
from aedetect.training.optimizers import OPTIMIZERS, SCHEDULES
from aedetect.training.state import Epoch, Run

__all__ = [
    "OPTIMIZERS",
    "PRECISIONS",
    "SCHEDULES",
    "Checkpoint",
    "Epoch",
    "Interrupt",
    "Objective",
    "Run",
    "align",
    "aligned",
    "infer",
    "limit_threads",
    "make_generator",
    "move",
    "one_blas_thread",
    "resolve_device",
    "seeded_globally",
    "train",
]
