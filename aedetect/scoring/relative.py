"""The default score of images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from aedetect.model import infer, require, require_floats, require_number
from aedetect.scoring.layerwise import Layerwise
from aedetect.scoring.neighbors import Bank, fit_bank
from aedetect.scoring.score import Reference, Score
from aedetect.scoring.thresholds import FloatArray

if TYPE_CHECKING:
    from aedetect.model import Model, View

N_CLOSE = 5  # nearest codes, whose mean distance is the spacing of a code
SMALLEST = 1e-2  # of the usual contrast: the least that a distance is divided by


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Codes of training rows, and how far each of them lies from the others."""

    bank: Bank
    spacings: FloatArray  # (n_points,), logarithms

    def __call__(self, z: Tensor) -> Tensor:
        """Return the spacing of codes, divided by that of the training codes around them.

        A local outlier factor (Breunig et al., "LOF: identifying density-based local outliers",
        SIGMOD 2000), squared, ``(B,)``. Differs from Breunig et al.: spacings are geometric means
        of distances. The weights of the codes around fall to 0 at the farthest, so that rounding,
        which may replace it, changes next to nothing.
        """
        distances, places = self.bank.nearest(z)
        spacings = torch.from_numpy(self.spacings).to(z.device)
        squares = (distances + self.bank.smoothing).square()
        weights = squares[:, -1:] - squares + self.bank.smoothing**2
        around = (weights * spacings[places]).sum(dim=1) / weights.sum(dim=1)
        return torch.exp(2 * (_spacing(distances, self.bank.smoothing) - around))

    def without_first(self, n_points: int) -> Self:
        """Return the surroundings without the first codes, as long as two are left."""
        kept = np.arange(len(self.spacings)) >= n_points
        return self._select(kept)

    def without(self, z: Tensor) -> Self:
        """Return the surroundings without codes equal to some ``z``, as long as two are left."""
        return self._select(self.bank.differ(z))

    def _select(self, kept: np.ndarray) -> Self:
        if kept.sum() < 2:
            return self
        bank = replace(self.bank, points=self.bank.points[kept])
        return replace(self, bank=bank, spacings=self.spacings[kept])

    def check(self, width: int) -> None:
        """Raise a StateError unless there are two codes or more, each with its spacing."""
        self.bank.check(width)
        require_floats("the spacings", self.spacings, (len(self.bank.points),))


def fit_surroundings(codes: np.ndarray, device: torch.device) -> Surroundings:
    """Return the surroundings with these codes, each of which is left out of its own spacing."""
    bank = fit_bank(codes, device)
    spacings = infer(lambda z: _spacing(bank.nearest(z)[0], bank.smoothing), codes, device=device)
    return Surroundings(bank, spacings)


def _spacing(distances: Tensor, smoothing: float) -> Tensor:
    """Return the mean logarithm of the smallest distances, ``(B,)``."""
    return torch.log(distances[:, :N_CLOSE] + smoothing).mean(dim=1)


@dataclass(frozen=True, eq=False)
class Relative(Score):
    """The geometric mean of ``"sap"``, divided by the contrast, and of a local outlier factor.

    The distances of ``"sap"`` grow with the contrast of an image, the standard deviation of its
    pixels. Undivided, an odd image with few bright pixels looks normal, and a normal one with many
    looks odd. The factor compares the distance between an image's code and the nearest training
    codes with the distances among these: classes of training rows may differ in density.
    """

    sap: Layerwise
    surroundings: Surroundings
    contrast: float  # of the reference rows, root mean square

    @classmethod
    def fit(cls, name: str, model: Model, reference: Reference) -> Self:
        """Return the score with its parts fitted."""
        sap = Layerwise.fit("sap", model, reference)
        codes = model.map_scaled(lambda view: view.codes_side_by_side, reference.x, "codes")
        contrasts = model.map_scaled(_contrast, reference.x)
        contrast = float(np.sqrt(np.square(contrasts).mean())) or 1.0
        return cls(name, sap, fit_surroundings(codes, model.device), contrast)

    def __call__(self, view: View) -> Tensor:
        """Return the geometric mean of both parts."""
        contrast = (_contrast(view) / self.contrast).clamp_min(SMALLEST)
        return (self.sap(view) / contrast * self.surroundings(view.codes_side_by_side)).sqrt()

    def without_first(self, n_rows: int) -> Self:
        """Return the score without the codes of the first reference rows."""
        return replace(self, surroundings=self.surroundings.without_first(n_rows))

    def leaving_out(self, view: View) -> Self:
        """Return the score without the codes of a view."""
        return replace(self, surroundings=self.surroundings.without(view.codes_side_by_side))

    def check(self, model: Model) -> None:
        """Raise a StateError if a part does not fit the model."""
        require(self.sap.name == "sap", "the score combines others than it should")
        require_number("the usual contrast", self.contrast, above=0)
        self.sap.check(model)
        self.surroundings.check(model.spec.n_members * model.latent_dim)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Return the score of a state."""
        surroundings = state["surroundings"]
        return cls(
            state["name"],
            Layerwise(**state["sap"]),
            Surroundings(Bank(**surroundings["bank"]), surroundings["spacings"]),
            state["contrast"],
        )


def _contrast(view: View) -> Tensor:
    """Return the standard deviation over the pixels of each image, ``(B,)``, float64.

    Of pixels before scaling, in units of the mean scale and up to a constant: pixels of a scaled
    image have all lost their own mean.
    """
    scaling = view.model.columns.scaling
    unit = scaling.scale.mean()
    scale = scaling.scale / unit
    location = (scaling.location - scaling.location.mean()) / unit
    scale, location = (torch.from_numpy(a).to(view.x) for a in (scale, location))
    pixels = torch.addcmul(location, view.x, scale)
    centred = pixels - pixels.mean(dim=1, keepdim=True)
    return centred.double().square().mean(dim=1).sqrt()  # a fifth of the time of Tensor.std
