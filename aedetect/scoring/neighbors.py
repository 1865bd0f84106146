"""Scores by the nearest training rows, on any device and inside an ONNX graph."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from aedetect.model import Fitted, infer, require, require_floats, require_number
from aedetect.scoring.score import Reference, Score

if TYPE_CHECKING:
    from aedetect.model import Model, View

N_NEIGHBORS = 20
SPARE = 4  # candidates beyond those needed: products of float32 may swap a few
GROUP = 20  # points of which the nearest is found first
SMOOTHING = 0.01  # of the mean distance, added to each: a copy of a row is not infinitely normal
SAME = 2e-6  # of a row's length: nearer points differ by rounding, in another runtime say
CACHED = 2**18  # differences that are squared at a time


@dataclass(frozen=True, eq=False)
class RowNeighbors(Score):
    """The distance to the nearest training rows, in scaled features."""

    bank: Bank

    @classmethod
    def fit(cls, name: str, model: Model, reference: Reference) -> Self:
        """Return the score with the reference rows as its bank."""
        return cls(name, fit_bank(reference.x, model.device))

    def __call__(self, view: View) -> Tensor:
        """Return the squared geometric mean of the distances."""
        return self.bank(view.x)

    def without_first(self, n_rows: int) -> Self:
        """Return the score without the first rows of the bank."""
        return replace(self, bank=self.bank.without_first(n_rows))

    def leaving_out(self, view: View) -> Self:
        """Return the score without the rows of a view in its bank."""
        return replace(self, bank=self.bank.without(view.x))

    def check(self, model: Model) -> None:
        """Raise a StateError unless the bank holds rows of the model's width."""
        self.bank.check(model.spec.n_features)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Return the score of a state."""
        return cls(state["name"], Bank(**state["bank"]))


@dataclass(frozen=True, eq=False)
class CodeNeighbors(Score):
    """The distance to the nearest codes of training rows, all members' codes side by side."""

    bank: Bank

    @classmethod
    def fit(cls, name: str, model: Model, reference: Reference) -> Self:
        """Return the score with the codes of the reference rows as its bank."""
        return cls(name, fit_bank(model.map_scaled(_codes, reference.x, "codes"), model.device))

    def __call__(self, view: View) -> Tensor:
        """Return the squared geometric mean of the distances."""
        return self.bank(_codes(view))

    def without_first(self, n_rows: int) -> Self:
        """Return the score without the first rows of the bank."""
        return replace(self, bank=self.bank.without_first(n_rows))

    def leaving_out(self, view: View) -> Self:
        """Return the score without the codes of a view in its bank."""
        return replace(self, bank=self.bank.without(_codes(view)))

    def check(self, model: Model) -> None:
        """Raise a StateError unless the bank holds codes of the model's width."""
        self.bank.check(model.spec.n_members * model.latent_dim)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Return the score of a state."""
        return cls(state["name"], Bank(**state["bank"]))


def _codes(view: View) -> Tensor:
    return view.codes_side_by_side


@dataclass(frozen=True, eq=False)
class Bank:
    """Points, and the distances to the nearest of them.

    A training row must not be its own neighbour. A point at distance 0, but for rounding, is taken
    for the row itself, once.
    """

    points: NDArray[np.float32]  # (n_points, width)
    smoothing: float

    def __call__(self, x: Tensor) -> Tensor:
        """Return the squared geometric mean of each row's distances, ``(rows,)``, float64."""
        distances, _ = self.nearest(x)
        return torch.exp(2 * torch.log(distances + self.smoothing).mean(dim=1))

    def nearest(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the distances to the nearest points and their numbers, see :func:`nearest`."""
        points, half_squares = self._tensors.on(x.device)
        return nearest(points, half_squares, x, 0.1 * self.smoothing)

    def without_first(self, n_points: int) -> Self:
        """Return the bank without its first points, as long as two are left."""
        if len(self.points) - n_points < 2:
            return self
        return replace(self, points=self.points[n_points:])

    def without(self, x: Tensor) -> Self:
        """Return the bank without points that are equal to a row, as long as two are left."""
        others = self.differ(x)
        return replace(self, points=self.points[others]) if others.sum() > 1 else self

    def differ(self, x: Tensor) -> NDArray[np.bool_]:
        """Return whether each point is unequal to all rows, ``(n_points,)``."""
        bank, rows = torch.from_numpy(self.points).double(), x.cpu().double()
        rounding = SAME * rows.norm(dim=1, keepdim=True)
        return (torch.cdist(rows, bank) > rounding).all(dim=0).numpy()

    def check(self, width: int) -> None:
        """Raise a StateError unless there are two points or more of this width."""
        require_number("the smoothing", self.smoothing, above=0)
        require(len(self.points) > 1, "the bank has less than two points")
        require_floats("the bank", self.points, (len(self.points), width), np.float32)

    @cached_property
    def _tensors(self) -> Fitted:
        """The points, and half of each point's squared length."""
        with np.errstate(over="ignore"):  # a score that is not finite is refused later
            half_squares = np.square(self.points).sum(axis=1) / 2
        return Fitted(self.points, half_squares)


def fit_bank(points: NDArray[np.float32], device: torch.device) -> Bank:
    """Return the bank of ``points``, of shape (n_points, width), fitted on a device."""
    bank, half_squares = Bank(points, 0.0)._tensors.on(device)
    distances = infer(lambda x: nearest(bank, half_squares, x)[0], points[:1000], device=device)
    return Bank(points, SMOOTHING * float(distances.mean()) or 1e-6)


def nearest(
    bank: Tensor, half_squares: Tensor, x: Tensor, tolerance: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return the distances to the nearest points other than the row itself, and their numbers.

    Parameters
    ----------
    bank : Tensor of shape (n_points, width)
    half_squares : Tensor of shape (n_points,)
        Half of each point's squared length.
    x : Tensor of shape (rows, width)
    tolerance : float
        The largest distance that can be rounding.

    Returns
    -------
    distances : Tensor of shape (rows, min(20, n_points - 1)), float64
        In ascending order.
    places : Tensor of the shape of ``distances``, int
        Numbers of the points in the bank.
    """
    n_neighbors = min(N_NEIGHBORS, len(bank) - 1)
    # -|x - b|^2 / 2 without |x|^2, which all points share.
    closeness = F.linear(x, bank, -half_squares)
    n_candidates = min(n_neighbors + 1 + SPARE, len(bank))
    candidates = _largest(closeness, n_candidates)
    distances, order = _distances(bank, candidates, x).sort(dim=1)
    places = candidates.gather(1, order)
    rounding = (SAME * x.double().square().sum(dim=1, keepdim=True).sqrt()).clamp_max(tolerance)
    is_itself = distances[:, :1] <= rounding
    others, all_ = slice(1, n_neighbors + 1), slice(n_neighbors)
    return (
        torch.where(is_itself, distances[:, others], distances[:, all_]),
        torch.where(is_itself, places[:, others], places[:, all_]),
    )


def _largest(values: Tensor, n: int) -> Tensor:
    """Return the places of the ``n`` largest values of each row, unsorted, ``(rows, n)``.

    They lie in the ``n`` groups with the largest maxima: a third of the time.
    """
    n_groups = -(-values.shape[1] // GROUP)
    if n_groups < 4 * n:
        return values.topk(n, dim=1, sorted=False).indices
    if rest := -values.shape[1] % GROUP:
        values = F.pad(values, (0, rest), value=-torch.inf)
    groups = values.unflatten(1, (GROUP, n_groups))
    chosen = groups.amax(dim=1).topk(n, dim=1, sorted=False).indices[:, None]
    best = groups.gather(2, chosen.expand(-1, GROUP, -1)).flatten(1).topk(n, dim=1, sorted=False)
    places = chosen + n_groups * torch.arange(GROUP, device=values.device)[:, None]
    return places.flatten(1).gather(1, best.indices)


def _distances(bank: Tensor, candidates: Tensor, x: Tensor) -> Tensor:
    """Return the distances of rows to their candidates, ``(rows, candidates)``, float64."""
    # Of wide rows, a few candidates at a time: their differences stay in the processor's cache.
    size = candidates.shape[1]
    if not torch.compiler.is_exporting():
        size = min(size, max(1, CACHED // max(1, x.numel())))
    gaps = ((bank[part] - x[:, None]).double() for part in candidates.split(size, dim=1))
    squares = torch.cat([gap.square().sum(dim=2) for gap in gaps], dim=1)
    is_zero = squares == 0  # where the square root has no gradient
    return torch.where(is_zero, 0.0, torch.where(is_zero, 1.0, squares).sqrt())
