"""The nearest normal version of a row, with few features changed.

After ARCANA (Roelofs, Lutz, Faulstich & Vogt, "Autoencoder-based anomaly root cause analysis for
wind turbines", Energy and AI, 2021): a bias is added to the row, and its entries are driven to
zero while the row with its bias becomes normal. Differs from ARCANA: the score itself is
minimised, all rows at once, and the bias ends on the fewest features that suffice.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from aedetect.scoring.explanations import COPIES, MEASURED, log_slope

LogScore = Callable[[Tensor], Tensor]  # logarithm of the measure of scaled rows, differentiable
Restore = Callable[[Tensor], Tensor]

SPARSITY = 0.1  # of the bias, in scaled units, against the logarithm of the score
SPARSE_STEPS = 100
TOGETHER = 16  # attempts at a time where rows are few: they take little longer than one
STEPS = 25  # for each number of features that is tried
RATE = 0.1  # of a step, in scaled units
SLACK = 0.05  # below the limit, where a row is left alone
CHEAP = [(1, 0), (1, 1)]  # attempts that suffice for most rows and need no sparse bias
HALVINGS = 6  # of the way back to the row


def repair(
    log_score: LogScore,
    restore: Restore,
    x: Tensor,
    typical: Tensor,
    members: Tensor,
    is_number: Tensor,
    limit: float,
    bounds: tuple[float, float] | None = None,
) -> Tensor:
    """Return rows moved until their score is within the limit, few features of each.

    Parameters
    ----------
    log_score : callable
        Logarithm of the measure of rows.
    restore : callable
        Returns the reconstruction of rows.
    x : Tensor of shape (rows, width)
        Scaled rows beyond the limit.
    typical : Tensor of shape (width,)
        A typical value of each entry.
    members : Tensor of shape (n_features, width), bool
        The entries of each feature.
    is_number : Tensor of shape (width,), bool
        Entries that may be moved by any distance. All others jump to the reconstruction or back,
        with all entries of their feature.
    limit : float
        Highest logarithm of the score of a normal row.
    bounds : (float, float) or None
        Limits of the numbers.

    Returns
    -------
    repaired : Tensor of shape (rows, width)
        Unchanged features are equal bit for bit. For a row that cannot be brought within the
        limit, the most normal version found.
    """
    search = _Search(log_score, limit, members, is_number, bounds)
    starts = _Starts(search, log_score, restore, x, typical)
    best, best_score = x.clone(), log_score(x).detach()
    attempts = _attempts(len(members))
    while attempts and len(rows := (best_score > limit).nonzero()[:, 0]):  # not normal yet
        n_tried = 1 if attempts[0] in CHEAP else max(1, TOGETHER // len(rows))
        tried, attempts = attempts[:n_tried], attempts[n_tried:]
        guesses, free = zip(*(starts.take(*attempt, rows) for attempt in tried), strict=True)
        copies = x[rows].repeat(len(tried), 1)
        moved = search.descend(copies, torch.cat(guesses), torch.cat(free))
        found = search.apply(copies, moved).unflatten(0, (len(tried), -1))
        scores = log_score(found.flatten(0, 1)).detach().unflatten(0, (len(tried), -1))
        # The first that is normal has the fewest features; without one, the closest counts.
        normal = scores <= limit
        chosen = torch.where(normal.any(dim=0), normal.int().argmax(dim=0), scores.argmin(dim=0))
        each = torch.arange(len(rows), device=x.device)
        score, row = scores[chosen, each], found[chosen, each]
        closer = score < best_score[rows]
        best[rows[closer]], best_score[rows[closer]] = row[closer], score[closer]
    return search.approach(x, search.drop(x, best))


class _Search:
    """Moves rows within the limit, and then as close to the given rows as it allows."""

    def __init__(
        self,
        log_score: LogScore,
        limit: float,
        members: Tensor,
        is_number: Tensor,
        bounds: tuple[float, float] | None,
    ) -> None:
        self._log_score, self._limit, self._bounds = log_score, limit, bounds
        self.members, self._is_number = members, is_number

    def apply(self, x: Tensor, bias: Tensor) -> Tensor:
        """Return rows plus their bias, inside the bounds; a bias of zero changes no bit."""
        if self._bounds is None:
            return x + bias
        return torch.where(self._is_number, (x + bias).clamp(*self._bounds), x + bias)

    def of_features(self, values: Tensor) -> Tensor:
        """Return the sum over the entries of each feature, ``(rows, n_features)``."""
        return values if self._are_numbers else values @ self.members.to(values).mT

    def of_entries(self, values: Tensor) -> Tensor:
        """Return the value of each entry's feature, ``(rows, width)``."""
        return values if self._are_numbers else values[:, self.members.int().argmax(dim=0)]

    @property
    def _are_numbers(self) -> bool:
        return bool(self._is_number.all())

    def sparsify(self, x: Tensor) -> Tensor:
        """Return a sparse bias that moves rows towards the limit."""
        bias, adam = torch.zeros_like(x), _Adam(x)
        for _ in range(SPARSE_STEPS):
            bias = adam.step(bias, self._slope(x, bias)[1])
            bias = bias.sign() * (bias.abs() - RATE * SPARSITY).clamp_min(0)
        return bias

    def descend(self, x: Tensor, bias: Tensor, free: Tensor) -> Tensor:
        """Return the bias on the ``free`` features, of each row where it gets within the limit."""
        bias, adam = bias * free, _Adam(x)
        left = torch.arange(len(x), device=x.device)  # rows beyond the limit
        for step in range(STEPS + 1):
            excess, slope = self._slope(x[left], bias[left])
            beyond = excess > -SLACK
            left, slope = left[beyond], slope[beyond]
            if step == STEPS or not len(left):
                break
            adam.keep(beyond)
            bias[left] = adam.step(bias[left], slope * free[left])
        return bias

    @torch.enable_grad()
    def _slope(self, x: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Return the excess of rows over the limit, and its gradient."""
        bias = bias.detach().requires_grad_()
        excess = self._log_score(self.apply(x, bias)) - self._limit
        (slope,) = torch.autograd.grad(excess.clamp_min(-SLACK).sum(), bias)
        return excess.detach(), slope.nan_to_num(0.0, 0.0, 0.0) * self._is_number

    @torch.no_grad()
    def drop(self, x: Tensor, rows: Tensor) -> Tensor:
        """Return rows with every change undone that is not needed, smallest changes first."""
        moved = self.of_features((rows - x).abs())
        order = moved.argsort(dim=1, stable=True)
        n_moved = int((moved > 0).sum(dim=1).max())
        for column in order.T[len(self.members) - n_moved :]:
            trial = torch.where(self.members[column], x, rows)
            changed = (trial != rows).any(dim=1)
            if not changed.any():
                continue
            fits = changed.clone()
            fits[changed] = self._log_score(trial[changed]) <= self._limit
            rows = torch.where(fits[:, None], trial, rows)
        return rows

    @torch.no_grad()
    def approach(self, x: Tensor, rows: Tensor) -> Tensor:
        """Return rows moved back towards ``x`` as far as they stay within the limit."""
        normal = (self._log_score(rows) <= self._limit)[:, None]
        near, far = x.new_zeros(len(x), 1), x.new_ones(len(x), 1)
        for _ in range(HALVINGS):
            middle = (near + far) / 2
            fits = (self._log_score(self._between(x, rows, middle)) <= self._limit)[:, None]
            near, far = torch.where(fits, near, middle), torch.where(fits, middle, far)
        moved = torch.where(rows == x, x, self._between(x, rows, far))
        return torch.where(normal, moved, rows)

    def _between(self, x: Tensor, rows: Tensor, share: Tensor) -> Tensor:
        """Return rows whose numbers lie between ``x`` and ``rows``."""
        return torch.where(self._is_number, torch.lerp(x, rows, share), rows)


class _Adam:
    """Steps of Adam, scaled so that the longest step of a row is about ``RATE``."""

    def __init__(self, x: Tensor) -> None:
        self._mean, self._square, self._n_steps = torch.zeros_like(x), torch.zeros_like(x), 0

    def keep(self, rows: Tensor) -> None:
        """Keep the moments of these rows alone."""
        self._mean, self._square = self._mean[rows], self._square[rows]

    def step(self, bias: Tensor, gradient: Tensor) -> Tensor:
        """Return the bias, one step on."""
        self._n_steps += 1
        self._mean = 0.9 * self._mean + 0.1 * gradient
        self._square = 0.99 * self._square + 0.01 * gradient.square()
        pace = (self._square / (1 - 0.99**self._n_steps)).sqrt().amax(dim=1, keepdim=True)
        return bias - RATE * self._mean / (1 - 0.9**self._n_steps) / (pace + 1e-12)


class _Starts:
    """Starting points of the search: restored features, and the features of a sparse bias."""

    def __init__(
        self, search: _Search, log_score: LogScore, restore: Restore, x: Tensor, typical: Tensor
    ) -> None:
        self._search, self._x = search, x
        with torch.no_grad():
            restored = [restore(x), _unseen(restore, x, typical, search.members)]
        slope = log_slope(log_score, x)
        falls = [_falls(log_score, slope, x, r, search) for r in restored]
        self._starts = [(r - x, self._ranks(f)) for r, f in zip(restored, falls, strict=True)]

    def take(self, size: int, start: int, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bias of a starting point, and 1 for its ``size`` most important features."""
        if start == len(self._starts):  # only for rows that restored features leave odd
            bias = torch.zeros_like(self._x)
            bias[rows] = self._search.sparsify(self._x[rows])
            self._starts.append((bias, self._ranks(self._search.of_features(bias.abs()))))
        guess, ranks = self._starts[start]
        return guess[rows], (ranks[rows] < size).to(guess)

    def _ranks(self, importance: Tensor) -> Tensor:
        """Return the rank by importance of the feature of each entry, from 0."""
        ranks = importance.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        return self._search.of_entries(ranks)


def _unseen(restore: Restore, x: Tensor, typical: Tensor, members: Tensor) -> Tensor:
    """Return the reconstruction of each feature with a typical value in the feature's place.

    The reconstruction of a value that is far outside is far outside too.
    """
    values = torch.empty_like(x)
    for own in members.split(max(1, COPIES // x.shape[1])):  # (n_asked, width)
        for row, value in zip(x, values, strict=True):
            restored = restore(torch.where(own, typical, row))
            asked, entries = own.nonzero(as_tuple=True)
            value[entries] = restored[asked, entries]
    return values


@torch.no_grad()
def _falls(
    log_score: LogScore, slope: Tensor, x: Tensor, restored: Tensor, search: _Search
) -> Tensor:
    """Return the fall of the score for every restored feature.

    As in an explanation, the features that move most are scored; the slope stands for the others.
    """
    move = restored - x
    falls = search.of_features(-slope * move)
    n_measured = min(MEASURED, falls.shape[1])
    measured = search.of_features(move.abs()).topk(n_measured, dim=1).indices
    copies = torch.where(search.members[measured], restored[:, None], x[:, None])
    left = log_score(copies.flatten(0, 1)).to(x).unflatten(0, measured.shape)
    return falls.scatter(1, measured, log_score(x).to(x)[:, None] - left)


def _attempts(n_features: int) -> list[tuple[int, int]]:
    """Return pairs of a number of features (1, 2, 3, 4, 6, ..., all) and a starting point."""
    sizes, size = [], 1.0
    while size < n_features:
        sizes.append(int(size))
        size = max(size + 1, 1.4 * size)
    return [(size, start) for size in (*sizes, n_features) for start in range(3)]
