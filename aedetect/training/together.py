"""Training of several dense networks side by side."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from functools import partial

import joblib
import numpy as np
import torch
from torch import Tensor

from aedetect.training.batches import batches_of
from aedetect.training.dense import DenseStep, architecture
from aedetect.training.devices import one_thread
from aedetect.training.job import Job
from aedetect.training.joining import can_be_joined, noise_in_common
from aedetect.training.loop import read, take_steps
from aedetect.training.precision import set_precision
from aedetect.training.stacks import Joined, Member, SideBySide, Stack
from aedetect.training.state import Best, Run

AT_ONCE = 32  # networks on a CPU: more do not fit in the caches, fewer share less of a call's cost
# Not measured yet: 64 default networks move about as many bytes a step as a GPU does in the time
# that the kernels of a step take to start. Fewer leave more chunks to several GPUs.
AT_ONCE_ON_DEVICE = 64


def train_together(jobs: Sequence[Job]) -> list[Run | None]:
    """Train networks in place, side by side where they allow it.

    Each network has its own rows, learning rate, penalties, patience and best weights, and leaves
    when it is done. On a CPU it also has its own draws, and gets the weights, to the last bit, that
    :func:`train` gives it alone. On another device all networks of a group are members of one, with
    one generator: a network gets the weights of a training alone up to rounding and draws, and
    equal calls give equal weights.

    Parameters
    ----------
    jobs : sequence of Job
        In float32.

    Returns
    -------
    runs : list of Run or None
        None for a job that is left to :func:`train`: it diverges, or :class:`DenseStep` cannot
        train it, or it would use several threads, or no other can be trained beside it on its
        device, or the device cannot hold the group. Its network may have changed.
    """
    runs: list[Run | None] = [None] * len(jobs)
    for numbers in _groups(jobs):
        group = [jobs[number] for number in numbers]
        with one_thread(), set_precision("float32", group[0].generator.device):
            for number, run in zip(numbers, _train_group(group), strict=True):
                runs[number] = run
    return runs


def is_exact(job: Job) -> bool:
    """Return whether a network is to get the bits that it gets alone."""
    return job.generator.device.type == "cpu"


def _groups(jobs: Sequence[Job]) -> Iterator[list[int]]:
    """Yield the numbers of jobs that can be trained side by side."""
    alike: dict[tuple, list[int]] = {}
    for number, job in enumerate(jobs):
        if DenseStep.accepts(job.network, job.objective) and (is_exact(job) or _is_joinable(job)):
            alike.setdefault(_kind(job), []).append(number)
    for numbers in alike.values():
        exact = is_exact(jobs[numbers[0]])
        parts = np.array_split(
            numbers, -(-len(numbers) // (AT_ONCE if exact else AT_ONCE_ON_DEVICE))
        )
        yield from (part.tolist() for part in parts if exact or len(part) > 1)


def _is_joinable(job: Job) -> bool:
    places = {job.rows.device, job.x_val.device, job.generator.device}
    return len(places) == 1 and can_be_joined(job.network, job.objective)


def _kind(job: Job) -> tuple:
    """Return a key that is equal for jobs whose steps can be taken together."""
    objective = job.objective
    fixed = dataclasses.replace(
        objective, corrupt=None, l1_activity=float(objective.is_sparse), beta=1.0
    )
    joined = () if is_exact(job) else (tuple(job.x_val.shape), *noise_in_common(objective))
    return (
        str(job.generator.device),
        architecture(job.network),
        joblib.hash(fixed),
        objective.corrupt is None,
        job.optimizer,
        job.batch_size,
        tuple(job.rows.shape),
        *joined,
    )


def _train_group(jobs: Sequence[Job]) -> list[Run | None]:
    """Train networks of one kind; return None for those that diverge."""
    if is_exact(jobs[0]) and _work_of(jobs[0]) >= DenseStep.shared_work:
        return [None] * len(jobs)
    members = [Member(job) for job in jobs]
    try:
        stack: Stack | None = SideBySide(members) if is_exact(jobs[0]) else Joined(members)
        while stack is not None:
            _train_epoch(stack)
            stack = stack.without_done()
    except (MemoryError, torch.OutOfMemoryError):
        return [None] * len(jobs)  # alone they need less
    return [None if member.diverged else member.run for member in members]


def _work_of(job: Job) -> int:
    """Return the multiplications and additions of a step of one network."""
    step = DenseStep([job.network], [job.objective], [job.generator])
    return step.count_work(job.rows[:1]) * job.batch_size


def _train_epoch(stack: Stack) -> None:
    for member in stack.members:
        member.epochs.load()
    epochs = stack.members[0].epochs  # whose batches have the sizes of all others
    stack.update.begin_epoch(epochs.batch_sizes)
    orders = stack.draw_orders()
    totals = torch.zeros(len(orders), device=orders.device)
    batches = batches_of(stack.x, orders, epochs.bounds)
    batches = map(partial(_shift, stack.members), itertools.count(), batches)
    take_steps(stack.update, batches, stack.rates(), totals)
    losses, held_out = read(totals, stack.held_out_losses())
    n = len(losses) // len(stack.members)
    best: list[Best] = []
    for number, member in enumerate(stack.members):
        if not member.is_done:
            own = slice(number * n, (number + 1) * n)
            best += member.end_epoch(losses[own], held_out[own])
    stack.keep(best)


def _shift(members: Sequence[Member], number: int, x: Tensor) -> Tensor:
    """Return the rows of a batch, shifted as the job of each network says."""
    if all(member.job.shifts is None for member in members):
        return x
    parts = zip(members, x.chunk(len(members)), strict=True)
    return torch.cat([member.epochs.shift(number, own) for member, own in parts])
