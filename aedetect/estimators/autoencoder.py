"""The plain autoencoder."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from aedetect.estimators.base import BaseAutoencoder
from aedetect.estimators.docs import share_parameters
from aedetect.losses import (
    DERIVATIVES,
    jacobian_estimate,
    jacobian_of_layer,
    l1_activity,
    reconstruction_loss,
)
from aedetect.networks import Autoencoder
from aedetect.training import RowLoss


@share_parameters
class AutoencoderTransformer(BaseAutoencoder):
    """Autoencoder that compresses rows and flags those that it cannot restore.

    An encoder squeezes each row into a short code, a decoder restores the row from it, and both
    are trained to keep the difference small (Hinton & Salakhutdinov, "Reducing the dimensionality
    of data with neural networks", Science 2006). Rows unlike the training data are restored
    badly: their reconstruction error is the anomaly score.

    {parameters}

    {attributes}

    See Also
    --------
    DenoisingAutoencoder : Learns to undo noise as well.
    VAEDetector : Learns a distribution over codes, and draws new rows.

    Examples
    --------
    >>> from aedetect import AutoencoderTransformer, datasets
    >>> X, y = datasets.load_digits()
    >>> detector = AutoencoderTransformer(latent_dim=8, max_epochs=20, random_state=0)
    >>> detector.fit_transform(X).shape
    (1797, 8)
    >>> detector.score_samples(X[:3]).shape
    (3,)
    """

    def _make_row_loss(self, x: Tensor) -> RowLoss:
        def row_loss(network: Autoencoder, x: Tensor, generator: Generator) -> Tensor:
            return self._restoration_loss(network, x, x, generator)

        return row_loss

    def _restoration_loss(
        self, network: Autoencoder, given: Tensor, x: Tensor, generator: Generator
    ) -> Tensor:
        """Return the error of restoring ``x`` from ``given``, with the penalties on the code."""
        estimated = self.contractive > 0 and not self._encodes_in_one_layer
        # The held-out loss is taken without gradients, but the estimate needs that of the code.
        with torch.set_grad_enabled(torch.is_grad_enabled() or estimated):
            given = given.detach().requires_grad_(estimated)
            z, x_hat = network.encode_decode(given)
            losses = reconstruction_loss(x_hat, x, self.loss)
            if self.l1_activity:
                losses = losses + self.l1_activity * l1_activity(z)
            if estimated:
                losses = losses + self.contractive * jacobian_estimate(z, given, generator)
            elif self.contractive:
                weight = network.get_parameter("encoder.0.weight")
                penalty = jacobian_of_layer(z, weight, self.latent_activation)
                losses = losses + self.contractive * penalty
        return losses

    @property
    def _encodes_in_one_layer(self) -> bool:
        """Whether the code is one dense layer whose derivative follows from its value."""
        return (
            self.network == "dense"
            and len(self.hidden_layer_sizes) == 0
            and self.latent_activation in DERIVATIVES
        )
