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

LogScore = Callable[[Tensor], Tensor]  # logarithm of the measure of scaled rows, differentiable
Restore = Callable[[Tensor], Tensor]

SPARSITY = 0.1  # of the bias, in scaled units, against the logarithm of the score
SPARSE_STEPS = 100
STEPS = 40  # for each number of features that is tried
RATE = 0.1  # of a step, in scaled units
SLACK = 0.05  # below the limit, where a row is left alone
HALVINGS = 6  # of the way back to the row


def repair(
    log_score: LogScore,
    restore: Restore,
    x: Tensor,
    typical: Tensor,
    limit: float,
    bounds: tuple[float, float] | None = None,
) -> Tensor:
    """Return rows moved until their score is within the limit, few features of each.

    Parameters
    ----------
    log_score : callable
        Logarithm of the measure of rows.
    restore : callable
        What the network makes of rows.
    x : Tensor of shape (rows, n_features)
        Scaled rows beyond the limit.
    typical : Tensor of shape (n_features,)
        A value that is usual for each feature.
    limit : float
        Highest logarithm of the score of a normal row.
    bounds : (float, float) or None
        Where values must stay.

    Returns
    -------
    repaired : Tensor of shape (rows, n_features)
        Features that are left alone are equal bit for bit. A row that no bias brings within the
        limit comes as close as was found.
    """
    search = _Search(log_score, limit, bounds)
    bias = search.minimise(x, torch.zeros_like(x), torch.ones_like(x), SPARSE_STEPS, SPARSITY)
    starts = [(bias, _ranks(bias.abs()))]
    for restored in (restore(x).detach(), _unseen(restore, x, typical)):
        starts.append((restored - x, _ranks(_falls(log_score, x, restored))))
    best, best_score = x.clone(), log_score(x).detach()
    for size in _sizes(x.shape[1]):
        for guess, ranks in starts:
            rows = (best_score > limit).nonzero()[:, 0]  # that are not normal yet
            if not len(rows):
                continue
            free = (ranks[rows] < size).to(x)
            moved = search.minimise(x[rows], guess[rows] * free, free, STEPS, 0.0)
            found = search.apply(x[rows], moved)
            scores = log_score(found).detach()
            closer = scores < best_score[rows]
            best[rows[closer]], best_score[rows[closer]] = found[closer], scores[closer]
    return search.approach(x, search.drop(x, best))


class _Search:
    """What brings rows within the limit, and then as near to themselves as it allows."""

    def __init__(
        self, log_score: LogScore, limit: float, bounds: tuple[float, float] | None
    ) -> None:
        self._log_score, self._limit, self._bounds = log_score, limit, bounds

    def apply(self, x: Tensor, bias: Tensor) -> Tensor:
        """Return rows with their bias, inside the bounds; where it is zero, the same bits."""
        return x + bias if self._bounds is None else (x + bias).clamp(*self._bounds)

    @torch.enable_grad()
    def minimise(
        self, x: Tensor, bias: Tensor, free: Tensor, steps: int, sparsity: float
    ) -> Tensor:
        """Return the bias on the ``free`` features after proximal steps of Adam."""
        mean, square = torch.zeros_like(x), torch.zeros_like(x)
        for step in range(1, steps + 1):
            bias = bias.detach().requires_grad_()
            excess = (self._log_score(self.apply(x, bias)) - self._limit).clamp_min(-SLACK)
            if not sparsity and bool((excess == -SLACK).all()):
                break
            (gradient,) = torch.autograd.grad(excess.sum(), bias)
            gradient = gradient.nan_to_num(0.0, 0.0, 0.0) * free
            mean = 0.9 * mean + 0.1 * gradient
            square = 0.99 * square + 0.01 * gradient.square()
            pace = (square / (1 - 0.99**step)).sqrt().amax(dim=1, keepdim=True) + 1e-12
            with torch.no_grad():
                bias = bias - RATE * mean / (1 - 0.9**step) / pace
                bias = bias.sign() * (bias.abs() - RATE * sparsity).clamp_min(0)
        return bias.detach()

    @torch.no_grad()
    def drop(self, x: Tensor, rows: Tensor) -> Tensor:
        """Return rows with every feature put back that need not be changed, least moved first."""
        order = (rows - x).abs().argsort(dim=1, stable=True)
        for column in order.T:
            feature = column[:, None]
            trial = rows.scatter(1, feature, x.gather(1, feature))
            changed = (trial != rows).any(dim=1)
            if not changed.any():
                continue
            fits = changed.clone()
            fits[changed] = self._log_score(trial[changed]) <= self._limit
            rows = torch.where(fits[:, None], trial, rows)
        return rows

    @torch.no_grad()
    def approach(self, x: Tensor, rows: Tensor) -> Tensor:
        """Return rows on the way back to ``x``, as far as they stay within the limit."""
        normal = (self._log_score(rows) <= self._limit)[:, None]
        near, far = x.new_zeros(len(x), 1), x.new_ones(len(x), 1)
        for _ in range(HALVINGS):
            middle = (near + far) / 2
            fits = (self._log_score(torch.lerp(x, rows, middle)) <= self._limit)[:, None]
            near, far = torch.where(fits, near, middle), torch.where(fits, middle, far)
        moved = torch.where(rows == x, x, torch.lerp(x, rows, far))
        return torch.where(normal, moved, rows)


@torch.no_grad()
def _unseen(restore: Restore, x: Tensor, typical: Tensor) -> Tensor:
    """Return what the network makes of each feature where it is given a typical value for it.

    Where a value is far outside, what the network makes of it is too.
    """
    values = torch.empty_like(x)
    for feature in range(x.shape[1]):
        given = x.clone()
        given[:, feature] = typical[feature]
        values[:, feature] = restore(given)[:, feature]
    return values


@torch.no_grad()
def _falls(log_score: LogScore, x: Tensor, x_hat: Tensor) -> Tensor:
    """Return how far the score falls when each feature is restored."""
    left = torch.empty_like(x)
    for feature in range(x.shape[1]):
        restored = x.clone()
        restored[:, feature] = x_hat[:, feature]
        left[:, feature] = log_score(restored).float()
    return log_score(x).float()[:, None] - left


def _ranks(importance: Tensor) -> Tensor:
    """Return the place of each feature in the order of importance, the first is 0."""
    return importance.argsort(dim=1, descending=True, stable=True).argsort(dim=1)


def _sizes(n_features: int) -> list[int]:
    """Return how many features are tried: 1, 2, 3, 4, 6, 8, 12, ... and all."""
    sizes, size = [], 1.0
    while size < n_features:
        sizes.append(int(size))
        size = max(size + 1, 1.4 * size)
    return [*sizes, n_features]
