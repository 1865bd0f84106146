"""A batch of rows and the network's results for it, each computed once."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aedetect.losses import feature_errors

if TYPE_CHECKING:
    from aedetect.model.model import Model
    from aedetect.networks import Trace


class View:
    """A batch of scaled rows and the network's results for it, each computed when first used.

    Results have a dimension of members, since scores are averaged over the members of an ensemble,
    not their networks' results. M members, B rows, F features, L latent dimensions.

    Parameters
    ----------
    model : Model
    x : Tensor of shape (B, F)
        Scaled rows, on the device of the model.
    """

    def __init__(self, model: Model, x: Tensor) -> None:
        self.model = model
        self.x = x

    @cached_property
    def codes(self) -> Tensor:
        """The codes, ``(M, B, L)``."""
        if "_trace" in vars(self):
            return self._trace.activations[-1]
        return self.model.placed_network.encode(self.x[None])

    @cached_property
    def codes_side_by_side(self) -> Tensor:
        """The codes of all members in one row, ``(B, M * L)``."""
        return self.codes.movedim(0, 1).flatten(1)

    @cached_property
    def posterior(self) -> tuple[Tensor, Tensor]:
        """Means and log-variances of the codes, each ``(M, B, L)``; variational networks only."""
        return self.model.placed_network.posterior(self.x[None])

    @cached_property
    def members_x_hat(self) -> Tensor:
        """The reconstruction of every member, ``(M, B, F)``."""
        return self.model.link(self._decoded)

    @cached_property
    def x_hat(self) -> Tensor:
        """The mean reconstruction, ``(B, F)``; of logits where the decoder returns them."""
        return self.model.link(mean_of_members(self._decoded))

    @cached_property
    def errors(self) -> Tensor:
        """The loss of every entry, mean over the members, ``(B, F)``, float64."""
        model = self.model
        errors = feature_errors(self._decoded, self.x, model.loss, model.blocks).double()
        return mean_of_members(errors)

    @property
    def activations(self) -> list[Tensor]:
        """The row, the hidden layers of the encoder and the code, each ``(M, B, width)``."""
        return self._trace.activations

    @cached_property
    def restored_activations(self) -> list[Tensor]:
        """The ``activations`` of each member's reconstruction."""
        return self.model.placed_network.activations(self.members_x_hat)

    @cached_property
    def filled(self) -> View:
        """The rows with their mean reconstruction in place of missing cells."""
        if not self.model.takes_missing:
            return self
        return View(self.model, torch.where(self.x.isnan(), self.x_hat, self.x))

    @cached_property
    def _decoded(self) -> Tensor:
        """The decoder's output, ``(M, B, F)``; ask for activations first where both are needed."""
        if "_trace" in vars(self):
            return self._trace.decoded
        return self.model.placed_network.encode_decode(self.x[None])[1]

    @cached_property
    def _trace(self) -> Trace:
        return self.model.placed_network.trace(self.x[None])


def mean_of_members(values: Tensor) -> Tensor:
    """Return the mean over the first dimension."""
    return values[0] if len(values) == 1 else values.mean(dim=0)
