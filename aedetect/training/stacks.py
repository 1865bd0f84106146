"""Networks that are trained together, and what is done for all of them at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Generator, Tensor

from aedetect.training.batches import batches_of
from aedetect.training.dense import DenseStep
from aedetect.training.devices import make_generator
from aedetect.training.job import Job
from aedetect.training.joining import join_networks, join_objectives, tensors_of
from aedetect.training.loop import Epochs, count_repeats, draw_orders, prepare, release
from aedetect.training.rates import GroupedRates, StackedRates
from aedetect.training.rates import State as Moments
from aedetect.training.state import Best, Run, keep
from aedetect.training.updates import Rate, Update, is_capturable, make_update

HELD_OUT_ROWS = 2**18  # of all networks at a time


class Member:
    """A job in a group."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.run = Run(job.network, None, [job.generator])
        self.epochs = Epochs(job, self.run)
        self.moments: Moments = {}  # of the optimiser
        self.diverged = False

    @property
    def is_done(self) -> bool:
        """Whether no epoch is left."""
        return self.diverged or self.epochs.are_over()

    def end_epoch(self, totals: Sequence[float], held_out: Sequence[float]) -> list[Best]:
        """Return the records of the network's members whose weights are to be kept.

        Those without any held-out loss are among them.
        """
        try:
            _, best = self.epochs.end(totals, held_out)
        except ValueError:  # the loss is not finite; ``train`` will raise it
            self.diverged = True
            return []
        return best + [record for record in self.run.best if record.epoch < 0]


class Stack(Protocol):
    """Networks of a group that are trained together, until some leave."""

    members: Sequence[Member]  # some may be done
    x: Tensor  # the rows of all
    update: Update

    def draw_orders(self) -> Tensor:
        """Return numbers of rows in ``x``, ``(all members, n_rows)``."""

    def rates(self) -> Sequence[Rate]:
        """Return the learning rates of every step of the epoch."""

    def held_out_losses(self) -> Tensor:
        """Return those of all members."""

    def keep(self, best: Sequence[Best]) -> None:
        """Keep the present weights of members, given their records."""

    def without_done(self) -> Self | None:
        """Return the stack for the next epoch; None if all are done.

        Networks that leave get their best weights.
        """


class SideBySide:
    """Networks that get the bits that they get alone."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = members
        jobs = [member.job for member in members]
        for job in jobs:
            prepare(job.network, job.generator)
        networks, generators = [j.network for j in jobs], [j.generator for j in jobs]
        step = DenseStep(networks, [job.objective for job in jobs], generators)
        self._rates = GroupedRates(
            jobs[0].optimizer,
            step.parameters,
            [job.weight_decay for job in jobs],
            [member.moments for member in members],
        )
        self.update = make_update(step, self._rates, generators)
        self.x, self._firsts = _pool([job.rows for job in jobs])

    def draw_orders(self) -> Tensor:
        """Draw, as :class:`Stack` says."""
        pairs = zip(self.members, self._firsts, strict=True)
        return torch.cat([member.epochs.draw_orders() + first for member, first in pairs])

    def rates(self) -> Sequence[Rate]:
        """Return rates, as :class:`Stack` says."""
        return list(zip(*[member.epochs.rates() for member in self.members], strict=True))

    def held_out_losses(self) -> Tensor:
        """Compute them, as :class:`Stack` says."""
        return torch.cat([member.epochs.held_out_losses() for member in self.members])

    def keep(self, best: Sequence[Best]) -> None:
        """Keep weights, as :class:`Stack` says."""
        keep([record for record in best if record.epoch >= 0])  # the others end with the last ones

    def without_done(self) -> Self | None:
        """Let networks leave, as :class:`Stack` says."""
        left = [member for member in self.members if not member.is_done]
        if len(left) == len(self.members):
            return self
        for member, moments in zip(self.members, self._rates.states, strict=True):
            member.moments = moments
            if member.is_done:
                member.run.restore_best()
                release(member.job.network)
        return type(self)(left) if left else None


class Joined:
    """Networks as the members of one, which draws for all of them.

    A network that is done is trained on, at the rate 0, until half of all are done: each change of
    the stack costs several epochs. Its best weights are kept.

    Parameters
    ----------
    members : sequence of Member
    generator : torch.Generator or None, default=None
        Draws orders of rows, dropout and noise; None for one that is seeded by those of the jobs.
    kept : sequence of Tensor or None, default=None
        The weights of each network's best epoch; None at the start.
    moments : dict, default={}
        The state of the optimiser.
    """

    def __init__(
        self,
        members: Sequence[Member],
        generator: Generator | None = None,
        kept: Sequence[Tensor] | None = None,
        moments: Moments | None = None,
    ) -> None:
        self.members = members
        jobs = [member.job for member in members]
        self._generator = generator or _joint_generator([job.generator for job in jobs])
        networks = [job.network for job in jobs]
        self._network = join_networks(networks)
        prepare(self._network, self._generator)
        self._objective = join_objectives([job.objective for job in jobs], networks)
        step = DenseStep([self._network], [self._objective], [self._generator])
        self._kept = kept or [t.detach().clone() for t in tensors_of(self._network)]
        self._n, self._device = networks[0].n_members, jobs[0].rows.device
        self._rates = StackedRates(
            jobs[0].optimizer,
            step.parameters[0],
            [job.weight_decay for job in jobs for _ in range(self._n)],
            capturable=is_capturable(step),
            state=moments or {},
        )
        self.update = make_update(step, self._rates, [self._generator])
        self.x, firsts = _pool([job.rows for job in jobs])
        self._firsts = self._of_members(firsts)[:, None]
        self._x_val, firsts = _pool([job.x_val for job in jobs])
        n_rows = len(jobs[0].x_val)
        turns = torch.arange(n_rows, device=self._device).repeat(count_repeats(jobs[0].x_val))
        self._held_out = self._of_members(firsts)[:, None] + turns  # numbers of rows

    def draw_orders(self) -> Tensor:
        """Draw, as :class:`Stack` says."""
        n_rows = len(self.members[0].job.rows)
        orders = self._firsts + draw_orders(n_rows, len(self._firsts), self._generator)
        for member in self.members:
            member.epochs.draw_moves(self._generator)
        return orders

    def rates(self) -> Sequence[Rate]:
        """Return rates, as :class:`Stack` says."""
        still = [0.0] * len(self.members[0].epochs.bounds)
        rates = [still if m.is_done else m.epochs.rates() for m in self.members]
        return self._of_members(rates).mT[..., None].contiguous().unbind()

    @torch.no_grad()
    def held_out_losses(self) -> Tensor:
        """Compute them, as :class:`Stack` says."""
        n_all, n_rows = self._held_out.shape
        if not n_rows:
            return torch.full((n_all,), math.nan, device=self._device)
        generator = make_generator(0, self._device)  # every epoch draws the same noise
        starts = range(0, n_rows, max(1, HELD_OUT_ROWS // n_all))
        bounds = list(zip(starts, [*starts[1:], n_rows], strict=True))
        self._network.eval()
        batches = batches_of(self._x_val, self._held_out, bounds)
        losses = [self._objective(self._network, x, generator) for x in batches]
        self._network.train()
        return torch.cat(losses, dim=-1).mean(dim=-1)

    @torch.no_grad()
    def keep(self, best: Sequence[Best]) -> None:
        """Keep weights, as :class:`Stack` says."""
        chosen = {id(record) for record in best}
        rows = [id(record) in chosen for member in self.members for record in member.run.best]
        mask = torch.tensor(rows, device=self._device)
        for kept, tensor in zip(self._kept, tensors_of(self._network), strict=True):
            kept.copy_(torch.where(mask.view(-1, *[1] * (kept.ndim - 1)), tensor, kept))

    def without_done(self) -> Self | None:
        """Let networks leave, as :class:`Stack` says."""
        left = [number for number, member in enumerate(self.members) if not member.is_done]
        done = [number for number, member in enumerate(self.members) if member.is_done]
        if 2 * len(left) > len(self.members):
            return self
        # Two at least: the layers of a lone member have no dimension of members.
        stay = sorted(left + done[:1] if len(left) == 1 else left)
        if len(stay) == len(self.members):
            return self
        self._write(left, tensors_of(self._network))
        self._write(done, self._kept)
        for number in done:
            release(self.members[number].job.network)
        if not left:
            return None
        rows = torch.tensor(stay, device=self._device)
        rows = (rows[:, None] * self._n + torch.arange(self._n, device=rows.device)).flatten()
        return type(self)(
            [self.members[number] for number in stay],
            self._generator,
            [kept[rows] for kept in self._kept],
            self._rates.state_of(rows),
        )

    @torch.no_grad()
    def _write(self, numbers: Sequence[int], tensors: Sequence[Tensor]) -> None:
        """Set the weights of some of the networks, given those of all."""
        pairs = [
            (own, tensor[number * self._n : (number + 1) * self._n])
            for number in numbers
            for own, tensor in zip(
                tensors_of(self.members[number].job.network), tensors, strict=True
            )
        ]
        if pairs:
            torch._foreach_copy_([own for own, _ in pairs], [new for _, new in pairs])

    def _of_members(self, numbers: Sequence[Any]) -> Tensor:
        """Return what is given of each network for each of its members, ``(all members, ...)``."""
        values = torch.tensor(numbers, device=self._device)
        return values.repeat_interleave(self._n, dim=0)


def _joint_generator(generators: Sequence[Generator]) -> Generator:
    """Return a generator whose seed depends on those of all networks, in their order."""
    seeds = [generator.initial_seed() for generator in generators]
    seed = int(np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0] >> 1)
    return make_generator(seed, generators[0].device)


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
