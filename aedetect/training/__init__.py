"""The one training loop, the one inference loop, devices and seeds."""

from aedetect.training.devices import (
    PRECISIONS,
    make_generator,
    move,
    resolve_device,
    seeded_globally,
)
from aedetect.training.inference import infer
from aedetect.training.loop import OPTIMIZERS, SCHEDULES, Epoch, train
from aedetect.training.objective import Objective

__all__ = [
    "OPTIMIZERS",
    "PRECISIONS",
    "SCHEDULES",
    "Epoch",
    "Objective",
    "infer",
    "make_generator",
    "move",
    "resolve_device",
    "seeded_globally",
    "train",
]
