"""Scores by the likelihood of a variational autoencoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aedetect.losses import kl_divergence, negative_log_likelihood
from aedetect.model import mean_of_members, require, require_floats, require_number
from aedetect.scoring.score import Reference, Score

if TYPE_CHECKING:
    from aedetect.model import Model, View

EVIDENCE_SCORES = ("elbo", "reconstruction_probability")  # of variational autoencoders alone
N_PAIRS = 4  # of draws from the posterior: each with its mirror image


@dataclass(frozen=True, eq=False)
class Evidence(Score):
    """The negative evidence lower bound, or its first term alone.

    The mean of -log p(x | z) over codes z drawn from the posterior (An & Cho, "Variational
    autoencoder based anomaly detection using reconstruction probability", 2015), plus ``beta``
    times the divergence from the prior. The standard normal draws are fixed and shared by all
    rows, so scores are deterministic. Differs from An & Cho: the decoder's variance is fixed.
    """

    needs_variational: ClassVar[bool] = True

    beta: float  # 0 leaves the divergence out
    draws: NDArray[np.float32]  # (n_draws, latent_dim)

    @classmethod
    def fit(cls, name: str, model: Model, reference: Reference) -> Self:
        """Return the score with its draws."""
        draws = np.random.RandomState(0).standard_normal((N_PAIRS, model.latent_dim))
        pairs = np.concatenate([draws, -draws]).astype(np.float32)
        return cls(name, model.beta if name == "elbo" else 0.0, pairs)

    def __call__(self, view: View) -> Tensor:
        """Return the negative bound in nats, up to a constant; the mean over the members."""
        mean, log_var = view.posterior
        deviation = torch.exp(0.5 * log_var)
        errors = [self._error(view, mean + deviation * draw) for draw in self._draws_for(view)]
        bounds = torch.stack(errors).mean(dim=0) + self.beta * kl_divergence(mean, log_var)
        return mean_of_members(bounds)

    def _draws_for(self, view: View) -> Tensor:
        return torch.from_numpy(self.draws).to(view.x.device)

    def _error(self, view: View, z: Tensor) -> Tensor:
        decoded = view.model.placed_network.decode(z)
        model = view.model
        return negative_log_likelihood(decoded, view.x, model.loss, model.blocks).double()

    def check(self, model: Model) -> None:
        """Raise a StateError unless the draws are of the code's width."""
        require(model.spec.is_variational, f"{self.name} needs a variational autoencoder")
        require_number("beta", self.beta, above=-1e-9)
        require_floats("the draws", self.draws, (2 * N_PAIRS, model.latent_dim), np.float32)
