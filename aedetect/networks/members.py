"""Networks of one architecture that are evaluated one after another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from aedetect.networks.autoencoder import Autoencoder, Trace


class MemberLoop(Autoencoder):
    """Networks that each hold one member, for layers that cannot hold several.

    One network also takes rows ``(batch, n)``, and then returns as many dimensions. Rows
    ``(1, batch, n)`` are taken by every member.

    Parameters
    ----------
    members : sequence of Autoencoder
        Of one architecture. Each maps ``(batch, n)``.

    Attributes
    ----------
    members : torch.nn.ModuleList of Autoencoder
    """

    def __init__(self, members: Sequence[Autoencoder]) -> None:
        nn.Module.__init__(self)
        self.members = nn.ModuleList(members)
        # Of each member, set by the training loop where they lie apart. Rows and results are on
        # that of the first one.
        self.devices: Sequence[torch.device] = ()

    @property
    def n_members(self) -> int:
        """The number of networks."""
        return len(self.members)

    @property
    def is_variational(self) -> bool:
        """Whether the members are variational."""
        return self.members[0].is_variational  # type: ignore[return-value]

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes of ``x``, shape ``(..., batch, latent_dim)``."""
        return self._each("encode", x)

    def decode(self, z: Tensor) -> Tensor:
        """Return the rows, or their logits, that codes stand for: ``(..., batch, n_features)``."""
        return self._each("decode", z)

    def encode_decode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the codes and the reconstruction of ``x``."""
        return self._each("encode_decode", x)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the means and the log-variances of q(z | x), if the members are variational."""
        return self._each("posterior", x)

    def activations(self, x: Tensor) -> list[Tensor]:
        """Return ``x``, the output of each hidden layer of the encoders, and the code."""
        return self._each("activations", x)

    def trace(self, x: Tensor) -> Trace:
        """Return :meth:`activations` and the decoders' output, passing through each side once."""
        return self._each("trace", x)

    def _each(self, method: str, x: Tensor) -> Any:
        """Return the members' results, stacked."""
        if x.ndim == 2:
            (member,) = self.members
            return getattr(member, method)(x)
        rows: Iterable[Tensor] = x.expand(self.n_members, -1, -1)
        if self.devices:
            rows = [row.to(device) for row, device in zip(rows, self.devices, strict=True)]
        return _stack(
            [getattr(member, method)(r) for member, r in zip(self.members, rows, strict=True)]
        )


def _stack(results: Sequence[Any]) -> Any:
    """Return the tensors of several results of one structure, stacked."""
    first = results[0]
    if isinstance(first, Tensor):
        return torch.stack([result.to(first.device) for result in results])
    stacked = [_stack(parts) for parts in zip(*results, strict=True)]
    return Trace(*stacked) if isinstance(first, Trace) else type(first)(stacked)
