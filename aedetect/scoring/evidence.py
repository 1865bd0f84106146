"""Scores by what a variational autoencoder takes for likely."""

from __future__ import annotations

from typing import NamedTuple, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aedetect.losses import kl_divergence, negative_log_likelihood
from aedetect.networks import VariationalAutoencoder
from aedetect.scoring.measures import Members

EVIDENCE_SCORES = ("elbo", "reconstruction_probability")
N_PAIRS = 4  # of draws from the posterior: each with its mirror image


class Evidence(NamedTuple):
    """The negative evidence lower bound, or its first term alone.

    The mean of -log p(x | z) over codes z drawn from the posterior (An & Cho, "Variational
    autoencoder based anomaly detection using reconstruction probability", 2015), plus ``beta``
    times the divergence from the prior. All rows meet the same standard normal draws, so the score
    of a row is always the same. Differs from An & Cho: the decoder's variance is fixed.
    """

    loss: str
    beta: float
    draws: NDArray[np.float32]  # (n_draws, latent_dim)

    @classmethod
    def of(cls, score: str, loss: str, beta: float, latent_dim: int) -> Self:
        """Return the measure for one of ``EVIDENCE_SCORES``."""
        draws = np.random.RandomState(0).standard_normal((N_PAIRS, latent_dim))
        pairs = np.concatenate([draws, -draws]).astype(np.float32)
        return cls(loss, beta if score == "elbo" else 0.0, pairs)

    def __call__(self, members: Members, x: Tensor) -> Tensor:
        """Return the negative bound in nats, up to a constant; the mean over the members."""
        bounds = [self._negative_bound(cast(VariationalAutoencoder, m), x) for m in members]
        return torch.stack(bounds).mean(dim=0)

    def _negative_bound(self, member: VariationalAutoencoder, x: Tensor) -> Tensor:
        mean, log_var = member.posterior(x)
        deviation = torch.exp(0.5 * log_var)
        errors = [
            negative_log_likelihood(member.decode(mean + deviation * draw), x, self.loss).double()
            for draw in torch.from_numpy(self.draws).to(x.device)
        ]
        return torch.stack(errors).mean(dim=0) + self.beta * kl_divergence(mean, log_var)
