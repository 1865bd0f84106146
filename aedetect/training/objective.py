"""The loss that training minimises, in operations that autograd differentiates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from aedetect.blocks import Blocks
from aedetect.losses import (
    jacobian_estimate,
    jacobian_of_layer,
    kl_divergence,
    l1_activity,
    negative_log_likelihood,
    observed_loss,
    reconstruction_loss,
)
from aedetect.networks import Autoencoder


@dataclass(frozen=True)
class Objective:
    """The training loss of a row.

    Parameters
    ----------
    loss : str
        Key of ``FEATURE_ERRORS``: the error of a feature.
    corrupt : callable or None, default=None
        ``corrupt(x, generator)`` returns the rows that the network is given in place of ``x``.
    l1_activity : float or Tensor of shape (n_members, 1), default=0
        Weight of the penalty on the code; a tensor has that of each member.
    contractive : float, default=0
        Weight of the penalty on the Jacobian of the code.
    sole_layer : str or None, default=None
        The code's activation, where one dense layer makes the code and the Jacobian of that layer
        follows from the code; None has the Jacobian estimated.
    beta : float or Tensor of shape (n_members, 1), default=1
        Weight of the divergence from the prior, for a variational network.
    missing : bool, default=False
        Whether NaN in rows stands for missing cells, which do not count.
    blocks : Blocks or None, default=None
        Entries of rows that stand for categories.
    """

    loss: str
    corrupt: Callable[[Tensor, Generator], Tensor] | None = None
    l1_activity: float | Tensor = 0.0
    contractive: float = 0.0
    sole_layer: str | None = None
    beta: float | Tensor = 1.0
    missing: bool = False
    blocks: Blocks | None = None

    @property
    def is_sparse(self) -> bool:
        """Whether there is a penalty on the code."""
        return isinstance(self.l1_activity, Tensor) or self.l1_activity > 0

    def __call__(self, network: Autoencoder, x: Tensor, generator: Generator) -> Tensor:
        """Return the losses of rows.

        Parameters
        ----------
        network : Autoencoder
        x : Tensor of shape (n_members, batch, n_features), (1, batch, n_features) for rows that
            all members share, or (batch, n_features) for one member
        generator : torch.Generator
            Draws all noise.

        Returns
        -------
        losses : Tensor of shape (n_members, batch), or (batch,) for one member
        """
        given = x if self.corrupt is None else self.corrupt(x, generator)
        if network.is_variational:
            return self._negative_elbo(network, given, x, generator)
        estimated = self.contractive > 0 and self.sole_layer is None
        # The held-out loss is taken without gradients, but the estimate needs that of the code.
        with torch.set_grad_enabled(torch.is_grad_enabled() or estimated):
            if estimated:
                given = _differentiable(given, network.n_members)
            z, x_hat = network.encode_decode(given)
            losses = self._row_loss(x_hat, x, self.loss, self.blocks)
            if self.is_sparse:
                losses = losses + self.l1_activity * l1_activity(z)
            if estimated:
                losses = losses + self.contractive * jacobian_estimate(z, given, generator)
            elif self.contractive and self.sole_layer is not None:
                penalty = jacobian_of_layer(z, _first_weight(network, z), self.sole_layer)
                losses = losses + self.contractive * penalty
        return losses

    def _negative_elbo(
        self, network: Autoencoder, given: Tensor, x: Tensor, generator: Generator
    ) -> Tensor:
        mean, log_var = network.posterior(given)
        # One draw for rows that all members share: held-out losses of members compare.
        noise = mean.new_empty(*x.shape[:-1], mean.shape[-1]).normal_(generator=generator)
        z = mean + noise * (0.5 * log_var).exp()  # Kingma & Welling 2014, eq. 10
        x_hat = network.decode(z)
        error = negative_log_likelihood(x_hat, x, self.loss, self.blocks, self._row_loss)
        return error + self.beta * kl_divergence(mean, log_var)

    @property
    def _row_loss(self) -> Callable[[Tensor, Tensor, str, Blocks | None], Tensor]:
        return observed_loss if self.missing else reconstruction_loss


def _differentiable(x: Tensor, n_members: int) -> Tensor:
    """Return ``x`` as a leaf of the graph, with rows of their own for every member."""
    if x.ndim == 3:
        x = x.expand(n_members, -1, -1)  # one copy would sum the members' derivatives
    return x.detach().requires_grad_()


def _first_weight(network: Autoencoder, z: Tensor) -> Tensor:
    """Return the weights of the encoder's first layer, with as many dimensions as the codes."""
    weight = network.get_parameter("encoder.0.weight")
    return weight if z.ndim == 3 else weight.squeeze(0)
