"""The fitted detector: a model, a score, a threshold and reasons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aedetect.model import (
    MAPPED_VALUES,
    Model,
    View,
    check_finite,
    require,
    require_floats,
    require_keys,
    require_number,
    row_blocks,
    writable,
)
from aedetect.networks import Autoencoder
from aedetect.scoring.explanations import (
    Surprise,
    local_errors,
    surprises,
    usual_surprise,
)
from aedetect.scoring.labelled import with_labels
from aedetect.scoring.missing import Levels, fit_levels, parts_of_observed
from aedetect.scoring.registry import SCORES, score_from_state
from aedetect.scoring.repair import repair
from aedetect.scoring.score import Reference, Score
from aedetect.scoring.thresholds import FloatArray, carry_over, threshold
from aedetect.training import exact, limit_threads

N_REFERENCE = 10_000  # training rows at most that a score is fitted to
N_LEFT_OUT = 2_000  # of these whose scores are kept where no threshold needs more
MIN_LEVELLED = 20  # reference rows from which the level of rows with missing cells is estimated
N_USUAL = 512  # values of normal rows, about, whose mean surprise is the unit of explanations
REPAIRED = 256  # rows at a time
REPAIRED_ON_DEVICE = 1024
SHARED = 2**16  # values of rows from which threads share a repair: it takes many small operations
MARGIN = 1e-3  # of the threshold, for the rounding on the way back to the units of X
N_SAMPLE = 256  # reference rows at most that known rows are compared with
SAMPLED = 2**17  # values of these, about
LEAST_WIDE = 32  # of these rows, however wide
ENTRIES = {
    *("model", "score", "levels", "offset", "left_out_scores", "typical", "usual_rows", "sample")
}
Labels = tuple[NDArray, NDArray[np.int64]]  # rows in the units of X; +1 normal, -1 anomaly, 0


@dataclass(frozen=True, eq=False)
class Detector:
    """A fitted model with a score, a threshold and reasons. It is immutable.

    Scores are minus the measure of ``score``: higher is more normal.

    Parameters
    ----------
    model : Model
    score : Score
        A measure of complete rows.
    levels : Levels or None
        Bring the scores of rows with missing cells to the level of complete rows.
    offset : float
        Rows that score below it are anomalies.
    left_out_scores : ndarray of shape (n_scores,), float64
        Scores of training rows, each left out of covariances and neighbours, in ascending order.
    typical : ndarray of shape (n_features,), float32
        The mean of the scaled training rows.
    usual_rows : ndarray of shape (n_rows, n_features), float32
        Scaled normal rows, the first of the reference. Their mean surprise is the unit of
        explanations.
    sample : ndarray of shape (n_rows, n_features), float32
        Scaled training rows, the first of the reference, which labels are compared with.
    """

    model: Model
    score: Score
    levels: Levels | None
    offset: float
    left_out_scores: FloatArray
    typical: NDArray[np.float32]
    usual_rows: NDArray[np.float32]
    sample: NDArray[np.float32]

    @classmethod
    def fit(
        cls,
        model: Model,
        X: NDArray,
        order: NDArray[np.intp],
        n_held_out: int,
        *,
        score: str,
        contamination: float | Literal["auto"],
        labels: Labels | None = None,
    ) -> Self:
        """Return the detector of a trained model.

        Parameters
        ----------
        model : Model
        X : ndarray of shape (n_rows, n_features)
            The training rows.
        order : ndarray of shape (n_fitted,), int
            Numbers of the rows to fit to in random order, held-out rows first. The first of them
            are the reference.
        n_held_out : int
            Rows that the network was not fitted to.
        score : str
            Key of ``SCORES``.
        contamination : float in [0, 0.5] or "auto"
            Where the threshold lies; see :func:`~aedetect.scoring.threshold`.
        labels : pair of ndarray or None, default=None
            Known rows, and their labels; see :meth:`with_labels`.

        Returns
        -------
        detector : Detector
        """
        order = order[:N_REFERENCE]
        n_held_out = min(n_held_out, len(order))
        x = model.scale(model.columns.tame(X[order]))
        reference = Reference(model.fill(x), n_held_out)
        fitted = SCORES[score].fit(score, model, reference)
        levels = _fit_levels(score, model, x, reference) if model.takes_missing else None
        n_usual = min(n_held_out or len(x), max(4, N_USUAL // x.shape[1]))
        n_sample = min(N_SAMPLE, max(LEAST_WIDE, SAMPLED // x.shape[1]))
        detector = cls(
            model,
            fitted,
            levels,
            offset=-np.inf,
            left_out_scores=np.empty(0),
            typical=reference.x.mean(axis=0),
            usual_rows=reference.x[:n_usual].copy(),
            sample=reference.x[:n_sample].copy(),
        )
        if labels is not None:
            detector = detector._labelled(labels)
        return detector._with_threshold(X, order, n_held_out, contamination)

    def _with_threshold(
        self,
        X: NDArray,
        order: NDArray[np.intp],
        n_held_out: int,
        contamination: float | Literal["auto"],
    ) -> Self:
        if contamination == "auto":
            scores = left_out = self.score_samples(X[order])
        else:
            scores = self.score_samples(X)
            left_out = scores[order[:N_LEFT_OUT]]
        offset = threshold(scores, contamination, np.arange(n_held_out))
        return replace(self, offset=offset, left_out_scores=np.sort(left_out))

    def to(self, device: torch.device, *also: torch.device) -> Self:
        """Return the detector with its network on a device, where it computes from here.

        Blocks of rows are computed on the other devices, too.
        """
        return replace(self, model=self.model.to(device, *also))

    def computing_on(self, place: torch.device | None, *also: torch.device) -> Self:
        """Return the detector with its network where it is, and rows computed on devices."""
        return replace(self, model=self.model.computing_on(place, *also))

    def with_labels(self, labels: Labels) -> Self:
        """Return the detector with known rows, without a fit of the network.

        The threshold moves with the scores of the sample of training rows: about as many of them
        are flagged as before.

        Parameters
        ----------
        labels : pair of ndarray of shapes (n_rows, n_features) and (n_rows,)
            Rows in the units of X, and their labels: +1 normal, -1 anomaly, 0 to take one back.

        Raises
        ------
        ValueError
            If no anomaly is known.
        """
        labelled = self._labelled(labels)
        before, after = (
            self.model.map_scaled(detector.score.judge, self.sample)
            for detector in (self, labelled)
        )
        return replace(
            labelled,
            offset=-carry_over(-self.offset, before, after),
            left_out_scores=-np.sort(after)[::-1],
        )

    def _labelled(self, labels: Labels) -> Self:
        rows, y = labels
        x = self.model.fill(self.model.scale(rows))
        return replace(self, score=with_labels(self.model, self.score, self.sample, x, y))

    def with_offset(self, offset: float) -> Self:
        """Return the detector with another threshold."""
        return replace(self, offset=float(offset))

    # Scores.

    def score_samples(self, X: NDArray) -> FloatArray:
        """Return how normal each row is, ``(n_rows,)``, higher is more normal.

        Raises
        ------
        PlaceError
            If a score is not finite.
        """
        # Known rows are found in a tile where they must be filled first, and on a GPU.
        if self.model.takes_missing or self.model.device.type != "cpu":
            return -check_finite(self.model.map(self.measure, X, self._name))
        blocks = row_blocks(*X.shape, n_values=MAPPED_VALUES)
        scores = [self._judge(self.model.scale(X[rows])) for rows in blocks]
        return -check_finite(np.concatenate(scores))

    def measure(self, view: View) -> Tensor:
        """Return how odd each row of a view is, ``(B,)``, float64; missing cells are filled."""
        return self._levelled(self.score.judge(view.filled), view)

    def _judge(self, x: NDArray[np.float32]) -> FloatArray:
        """Return the measure of scaled complete rows; those of known rows are looked up."""
        known = self.score.known
        if known is None:  # or it finds them in a tile
            return self.model.map_scaled(self.score.judge, x, self._name)
        scores = known.find(x)
        unknown = np.isnan(scores)
        if unknown.all():
            return self.model.map_scaled(self.score, x, self._name)
        if unknown.any():
            scores[unknown] = self.model.map_scaled(self.score, x[unknown], self._name)
        return scores

    @property
    def _name(self) -> str:
        """The name of the scoring function: that of a model is another one with labels."""
        return f"{self.score.name} score"

    def _levelled(self, scores: Tensor, view: View) -> Tensor:
        """Return the scores of filled rows at the level of complete rows."""
        if self.levels is None:
            return scores
        return self.levels.apply(scores, self.model.columns.missing_cells(view.x))

    # Reasons.

    @cached_property
    def is_sum(self) -> bool:
        """Whether the score is a sum over features."""
        return type(self.score).parts is not Score.parts

    def explain(self, X: NDArray) -> FloatArray:
        """Return how much each feature adds to the anomaly of each row, at least 0.

        The summands of a score that is a sum; otherwise surprises in units of the mean surprise of
        normal rows.
        """
        if self.is_sum:
            return check_finite(self.model.map(self._parts, X, "parts"))
        contributions = self._surprises(self.model.fill(self.model.scale(X))) / self.usual_surprise
        contributions[np.isnan(X)] = 0
        return check_finite(contributions)

    @cached_property
    def usual_surprise(self) -> float:
        """The mean surprise of a feature of normal rows: the unit of explanations."""
        rows = self.usual_rows
        if self.model.spec.image_shape is not None:
            return float(self._surprises(rows).mean()) or 1.0
        surprise = self._surprise(self.score.without_first(len(rows)), is_complete=False)
        return usual_surprise(surprise, rows, N_USUAL) or 1.0

    def _parts(self, view: View) -> Tensor:
        parts = self.score.parts(view.filled)
        assert parts is not None  # asked for sums alone
        if not self.model.takes_missing:
            return parts
        missing = self.model.columns.missing_cells(view.x)
        return parts_of_observed(parts, self.measure(view), missing)

    def _surprises(self, x: NDArray[np.float32]) -> FloatArray:
        """Return the surprises of scaled complete rows, not yet divided by the usual one."""
        shape = self.model.spec.image_shape
        if shape is None:
            return surprises(self._surprise(self.score, is_complete=True), x)
        return self.model.map_scaled(
            lambda view: local_errors((view.x_hat - view.x).double().square(), shape),
            x,
            "local errors",
        )

    def _surprise(self, score: Score, *, is_complete: bool) -> Surprise:
        floor = 1e-6 * -self.offset or 1.0
        return Surprise(self.model, score, self.typical, floor, is_complete)

    def repair(self, X: NDArray) -> tuple[NDArray, int]:
        """Return rows made normal with few features changed, and how many could not be.

        Normal rows and features that are not changed keep their bits.
        """
        odd = self.score_samples(X) < self.offset
        repaired = X.copy()
        if not odd.any():
            return repaired, 0
        repaired[odd] = self._repair(X[odd])
        return repaired, int((self.score_samples(repaired[odd]) < self.offset).sum())

    def _repair(self, X: NDArray) -> NDArray:
        scaled = self.model.scale(X)
        device = self.model.device
        size = REPAIRED if device.type == "cpu" else REPAIRED_ON_DEVICE  # to bound the memory
        blocks = torch.from_numpy(scaled).to(device).split(size)
        moved = torch.cat([self._repair_scaled(x) for x in blocks]).cpu().numpy()
        columns = self.model.columns
        is_changed = columns.sum_entries(torch.from_numpy(moved != scaled).float()).numpy() > 0
        return np.where(is_changed, columns.invert(moved), X).astype(X.dtype)

    def _repair_scaled(self, x: Tensor) -> Tensor:
        score = self._leaving_out(x)
        limit, columns = max((1 - MARGIN) * -self.offset, np.finfo(float).tiny), self.model.columns
        with exact(x.device), limit_threads(x.numel(), SHARED):
            return repair(
                self._of(lambda view: torch.log(self._levelled(score(view.filled), view))),
                self._of(lambda view: columns.with_levels(view.x_hat)),
                x,
                torch.from_numpy(self.typical).to(x.device),
                torch.from_numpy(columns.members).to(x.device),
                torch.from_numpy(columns.is_number).to(x.device),
                float(np.log(limit)),
                (0.0, 1.0) if self.model.loss == "bce" else None,
            )

    @torch.inference_mode()
    def _leaving_out(self, x: Tensor) -> Score:
        return self.score.leaving_out(View(self.model, x).filled)

    def _of(self, function: Callable[[View], Tensor]) -> Callable[[Tensor], Tensor]:
        return lambda x: function(View(self.model, x))

    # State.

    def to_state(self) -> dict[str, Any]:
        """Return the detector as NumPy arrays and plain Python."""
        return {
            "model": self.model.to_state(),
            "score": self.score.to_state(),
            "levels": None if self.levels is None else self.levels.to_state(),
            **{
                name: getattr(self, name)
                for name in ("offset", "left_out_scores", "typical", "usual_rows", "sample")
            },
        }

    @classmethod
    def from_state(cls, state: Any, own: Autoencoder | None = None) -> Self:
        """Return the detector of a state; everything in it is checked.

        Parameters
        ----------
        state : dict
            The return value of :meth:`to_state`.
        own : Autoencoder or None, default=None
            The user's network, for a model that needs one.

        Raises
        ------
        StateError
            If values are missing or contradict each other.
        """
        require_keys("the detector", state, ENTRIES)
        state = writable(state)
        model = Model.from_state(state.pop("model"), own)
        score = score_from_state(state.pop("score"), model)
        levels = state.pop("levels")
        detector = cls(model, score, None if levels is None else Levels.from_state(levels), **state)
        detector._check()
        return detector

    def _check(self) -> None:
        n_features = self.model.spec.n_features
        require(
            self.model.takes_missing or self.levels is None,
            "levels belong to a network that takes missing cells",
        )
        if self.levels is not None:
            self.levels.check(self.model)
        require_number("the threshold", self.offset, above=-np.inf)
        n_scores, n_usual = np.size(self.left_out_scores), len(self.usual_rows)
        n_sample = len(self.sample)
        require(min(n_scores, n_usual, n_sample) > 0, "scores, usual rows or sample are missing")
        require_floats("the scores of training rows", self.left_out_scores, (n_scores,))
        require_floats("the typical row", self.typical, (n_features,), np.float32)
        require_floats("the usual rows", self.usual_rows, (n_usual, n_features), np.float32)
        require_floats("the sample", self.sample, (n_sample, n_features), np.float32)


def _fit_levels(
    name: str, model: Model, x: NDArray[np.float32], reference: Reference
) -> Levels | None:
    """Return the levels, estimated by rows that a second fit of the score leaves out."""
    if len(x) < MIN_LEVELLED:
        return None
    half = Reference(reference.x[::2], -(-reference.n_held_out // 2))
    return fit_levels(SCORES[name].fit(name, model, half), model, x[1::2])
