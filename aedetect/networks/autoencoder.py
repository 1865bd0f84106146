"""An encoder and a decoder: the class of every architecture."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

from torch import Tensor, nn

from aedetect.networks.layers import BatchNorm, LayerNorm, MemberLayer


class Trace(NamedTuple):
    """The values of rows on their way through a network.

    Attributes
    ----------
    activations : list of Tensor of shape (..., batch, width)
        As :meth:`Autoencoder.activations` returns them; the last one is the code.
    decoded : Tensor of shape (..., batch, n_features)
        The decoder's output for that code: rows, or logits for ``loss="bce"``.
    """

    activations: list[Tensor]
    decoded: Tensor


class Autoencoder(nn.Module):
    """An encoder and a decoder.

    Pass one as ``network=`` to any estimator to train an architecture of your own. The encoder
    maps a batch of rows to codes, the decoder maps codes back to rows. With ``loss="bce"`` the
    decoder returns logits.

    The networks that this package builds may have several members, each with weights of its own.
    They also map ``(n_members, batch, n)``, and ``(1, batch, n)`` is taken by every member.

    Parameters
    ----------
    encoder : torch.nn.Module
        Maps ``(batch, n_features)`` to ``(batch, latent_dim)``; for a
        :class:`~aedetect.VAEDetector` to ``(batch, 2 * latent_dim)``, the posterior's means
        beside its log-variances.
    decoder : torch.nn.Module
        Maps ``(batch, latent_dim)`` to ``(batch, n_features)``.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from aedetect.networks import Autoencoder
    >>> network = Autoencoder(nn.Linear(8, 2), nn.Linear(2, 8))
    >>> network(torch.zeros(5, 8)).shape
    torch.Size([5, 8])
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    @cached_property
    def n_members(self) -> int:
        """The number of members, 1 for an architecture of your own."""
        layers = (m for m in self.modules() if isinstance(m, MemberLayer))
        return next((layer.n_members for layer in layers), 1)

    @property
    def is_variational(self) -> bool:
        """Whether :meth:`posterior` gives a distribution over codes."""
        return False

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes of ``x``, shape ``(..., batch, latent_dim)``."""
        return self.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        """Return the rows, or their logits, that codes stand for: ``(..., batch, n_features)``."""
        return self.decoder(z)

    def encode_decode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the codes and the reconstruction of ``x``."""
        z = self.encode(x)
        return z, self.decode(z)

    def forward(self, x: Tensor) -> Tensor:
        """Return the reconstruction of ``x``, shape ``(..., batch, n_features)``."""
        return self.encode_decode(x)[1]

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the means and the log-variances of q(z | x), if the network is variational."""
        raise TypeError(f"{type(self).__name__} is not variational: a code has no distribution.")

    def activations(self, x: Tensor) -> list[Tensor]:
        """Return ``x``, the output of each hidden layer of the encoder, and the code.

        Each is ``(..., batch, width)``. An encoder that is no ``nn.Sequential`` does not tell its
        hidden layers apart, so they are left out.
        """
        return self._follow(x, _call)

    def trace(self, x: Tensor) -> Trace:
        """Return :meth:`activations` and the decoder's output, passing through each side once."""
        activations = self.activations(x)
        return Trace(activations, self.decode(activations[-1]))

    def _follow(self, x: Tensor, apply: Callable[[nn.Module, Tensor], Tensor]) -> list[Tensor]:
        """Return the activations, given how to apply a layer of the encoder."""
        if x.ndim == 3:
            x = x.expand(self.n_members, -1, -1)
        inputs, h = [], x
        for layer, has_matrix in self._layers:
            if has_matrix:
                inputs.append(h.flatten(x.ndim - 1))
            h = apply(layer, h)
        return [x, *inputs[1:], self._code(h)]

    @cached_property
    def _layers(self) -> list[tuple[nn.Module, bool]]:
        """The layers of the encoder, each with whether it multiplies by a matrix."""
        stack = self.encoder if isinstance(self.encoder, nn.Sequential) else [self.encoder]
        return [(layer, _has_matrix(layer)) for layer in stack]

    def _code(self, encoded: Tensor) -> Tensor:
        """Return the code in the encoder's output."""
        return encoded


def _call(layer: nn.Module, h: Tensor) -> Tensor:
    return layer(h)


def _has_matrix(layer: nn.Module) -> bool:
    """Return whether a layer has weights for pairs of features, not just for single ones."""
    return any(
        parameter.ndim > 1
        for module in layer.modules()
        if not isinstance(module, BatchNorm | LayerNorm)
        for parameter in module.parameters(recurse=False)
    )


class VariationalAutoencoder(Autoencoder):
    """An autoencoder whose encoder gives a diagonal Gaussian over codes.

    Kingma & Welling, "Auto-Encoding Variational Bayes", ICLR 2014. The code of a row is the mean
    of its posterior, so that everything but training is deterministic.
    """

    @property
    def is_variational(self) -> bool:
        """True."""
        return True

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the means and the log-variances of q(z | x), each ``(..., batch, latent_dim)``.

        Raises
        ------
        ValueError
            If the encoder's output has an odd number of columns.
        """
        parameters = self.encoder(x)
        if parameters.shape[-1] % 2:
            raise ValueError(
                "The encoder of a variational autoencoder returns means beside as many"
                f" log-variances, but its output has {parameters.shape[-1]} columns."
            )
        mean, log_var = parameters.chunk(2, dim=-1)
        return mean, log_var

    def encode(self, x: Tensor) -> Tensor:
        """Return the posterior means of ``x``, shape ``(..., batch, latent_dim)``."""
        return self.posterior(x)[0]

    def _code(self, encoded: Tensor) -> Tensor:
        return encoded.chunk(2, dim=-1)[0]
