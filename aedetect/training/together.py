"""Training of several dense networks side by side."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import joblib
import numpy as np
import torch
from torch import Tensor

from aedetect.training.batches import batches_of
from aedetect.training.dense import DenseStep, architecture
from aedetect.training.devices import one_thread
from aedetect.training.job import Job
from aedetect.training.loop import Epochs, prepare, release
from aedetect.training.optimizers import make_optimizer
from aedetect.training.precision import set_precision
from aedetect.training.state import Run

AT_ONCE = 32  # networks: more do not fit in the caches, fewer share less of the cost of a call


def train_together(jobs: Sequence[Job]) -> list[Run | None]:
    """Train networks in place, side by side where they allow it.

    Every network gets the weights, to the last bit, that :func:`train` gives it alone. Each has
    its own rows, draws, learning rate, penalties, patience and best weights, and leaves when it is
    done.

    Parameters
    ----------
    jobs : sequence of Job
        On the CPU, in float32.

    Returns
    -------
    runs : list of Run or None
        None for a job that is left to :func:`train`: it diverges, or :class:`DenseStep` cannot
        train it, or it would use several threads. Its network may have changed.
    """
    runs: list[Run | None] = [None] * len(jobs)
    with one_thread(), set_precision("float32", torch.device("cpu")):
        for numbers in _groups(jobs):
            group = _train_group([jobs[number] for number in numbers])
            for number, run in zip(numbers, group, strict=True):
                runs[number] = run
    return runs


def _groups(jobs: Sequence[Job]) -> Iterator[list[int]]:
    """Yield the numbers of jobs that can be trained side by side."""
    alike: dict[tuple, list[int]] = {}
    for number, job in enumerate(jobs):
        if DenseStep.accepts(job.network, job.objective):
            alike.setdefault(_kind(job), []).append(number)
    for numbers in alike.values():
        parts = np.array_split(numbers, -(-len(numbers) // AT_ONCE))
        yield from (part.tolist() for part in parts)


def _kind(job: Job) -> tuple:
    """Return a key that is equal for jobs whose steps can be taken together."""
    objective = job.objective
    fixed = dataclasses.replace(
        objective,
        corrupt=None,
        l1_activity=float(objective.l1_activity > 0),
        beta=1.0,
    )
    return (
        architecture(job.network),
        joblib.hash(fixed),
        objective.corrupt is None,
        job.optimizer,
        job.batch_size,
        tuple(job.rows.shape),
    )


class _Member:
    """A job in a group."""

    def __init__(self, job: Job) -> None:
        prepare(job.network, job.generator)
        self.job = job
        self.run = Run(job.network, None, [job.generator])
        self.epochs = Epochs(job, self.run)
        self.state: dict[str, Any] = {}  # of the optimiser
        self.diverged = False

    @property
    def is_done(self) -> bool:
        return self.diverged or self.epochs.are_over()


def _train_group(jobs: Sequence[Job]) -> list[Run | None]:
    """Train networks of one kind; return None for those that diverge."""
    members = [_Member(job) for job in jobs]
    stack = _Stack(members)
    if stack.work_of_a_network >= DenseStep.shared_work:
        return [None] * len(jobs)
    while stack.members:
        stack.train_epoch()
        left = [member for member in stack.members if not member.is_done]
        if len(left) < len(stack.members):
            stack.keep_states()
            stack = _Stack(left)
    for member in members:
        member.run.restore_best()
        release(member.job.network)
    return [None if member.diverged else member.run for member in members]


class _Stack:
    """The members of a group that are still trained, with one step and one optimiser."""

    def __init__(self, members: Sequence[_Member]) -> None:
        self.members = members
        if not members:
            return
        jobs = [member.job for member in members]
        self._step = DenseStep(
            [job.network for job in jobs],
            [job.objective for job in jobs],
            [job.generator for job in jobs],
        )
        vectors = self._step.parameters
        self._optimizer = make_optimizer(
            jobs[0].optimizer, vectors, learning_rate=0.0, weight_decay=0.0
        )
        for member, vector in zip(members, vectors, strict=True):
            if member.state:
                self._optimizer.state[vector] = member.state
        self._x, self._firsts = _pool([job.rows for job in jobs])

    @property
    def work_of_a_network(self) -> int:
        """Multiplications and additions of a step of one network."""
        job = self.members[0].job
        return self._step.count_work(job.rows[:1]) // len(self.members) * job.batch_size

    def keep_states(self) -> None:
        """Give every member its state of the optimiser."""
        for member, vector in zip(self.members, self._step.parameters, strict=True):
            member.state = self._optimizer.state[vector]

    def train_epoch(self) -> None:
        """Train all members for one epoch."""
        for member in self.members:
            member.epochs.load()
        epochs = self.members[0].epochs  # whose batches have the sizes of all others
        self._step.begin_epoch(epochs.batch_sizes)
        orders, rates = zip(*[member.epochs.begin() for member in self.members], strict=True)
        numbers = torch.cat([o + first for o, first in zip(orders, self._firsts, strict=True)])
        totals = torch.zeros(1)
        batches = batches_of(self._x, numbers, epochs.bounds)
        batches = map(self._shift, itertools.count(), batches)
        for x, *rates_of_step in zip(batches, *rates, strict=True):
            losses = self._step.backpropagate(x)
            self._set_rates(rates_of_step)
            self._optimizer.step()
            totals = totals + losses.sum(dim=-1)
        for member, own in zip(self.members, totals.chunk(len(self.members)), strict=True):
            self._end_epoch(member, own)

    def _shift(self, number: int, x: Tensor) -> Tensor:
        """Return the rows of a batch, shifted as each member's job says."""
        if all(member.job.shifts is None for member in self.members):
            return x
        parts = zip(self.members, x.chunk(len(self.members)), strict=True)
        return torch.cat([member.epochs.shift(number, own) for member, own in parts])

    def _set_rates(self, rates: Sequence[float]) -> None:
        """Have the optimiser update the networks of one rate and weight decay together."""
        alike: dict[tuple[float, float], list[Tensor]] = {}
        for member, vector, rate in zip(self.members, self._step.parameters, rates, strict=True):
            alike.setdefault((rate, member.job.weight_decay), []).append(vector)
        options = self._optimizer.param_groups[0]
        self._optimizer.param_groups = [
            {**options, "params": vectors, "lr": rate, "weight_decay": decay}
            for (rate, decay), vectors in alike.items()
        ]

    def _end_epoch(self, member: _Member, totals: Tensor) -> None:
        try:
            member.epochs.end(totals, member.epochs.held_out_losses())
        except ValueError:  # the loss is not finite; ``train`` will raise it
            member.diverged = True


def _pool(tables: Sequence[Tensor]) -> tuple[Tensor, list[int]]:
    """Return all rows of several tables, and the place of the first row of each.

    Networks of one fold share their table, which is there once.
    """
    places: dict[int, int] = {}
    distinct: list[Tensor] = []
    for table in tables:
        if table.data_ptr() not in places:
            places[table.data_ptr()] = sum(map(len, distinct))
            distinct.append(table)
    return torch.cat(distinct), [places[table.data_ptr()] for table in tables]
