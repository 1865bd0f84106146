"""The one training loop, devices and seeds."""

from aedetect.training.checkpoint import Checkpoint
from aedetect.training.devices import (
    find_device,
    gather_members,
    limit_threads,
    make_generator,
    move,
    one_blas_thread,
    one_thread,
    place_members,
    resolve_device,
    resolve_devices,
    seeded_globally,
)
from aedetect.training.interrupt import Interrupt
from aedetect.training.job import Job
from aedetect.training.loop import Watcher, train
from aedetect.training.objective import Objective
from aedetect.training.optimizers import OPTIMIZERS, SCHEDULES
from aedetect.training.pools import Pools
from aedetect.training.precision import PRECISIONS, exact
from aedetect.training.shards import Exchange
from aedetect.training.shifts import Shifts
from aedetect.training.state import Epoch, Run
from aedetect.training.together import AT_ONCE, AT_ONCE_ON_DEVICE, train_together

__all__ = [
    "AT_ONCE",
    "AT_ONCE_ON_DEVICE",
    "OPTIMIZERS",
    "PRECISIONS",
    "SCHEDULES",
    "Checkpoint",
    "Epoch",
    "Exchange",
    "Interrupt",
    "Job",
    "Objective",
    "Pools",
    "Run",
    "Shifts",
    "Watcher",
    "exact",
    "find_device",
    "gather_members",
    "limit_threads",
    "make_generator",
    "move",
    "one_blas_thread",
    "one_thread",
    "place_members",
    "resolve_device",
    "resolve_devices",
    "seeded_globally",
    "train",
    "train_together",
]
