"""Several networks of one shape as one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from aedetect.networks.autoencoder import Autoencoder


class Ensemble(Autoencoder):
    """Autoencoders that learned the same rows from different starts.

    Its code is the members' codes side by side, its reconstruction the mean of theirs.

    Parameters
    ----------
    members : sequence of Autoencoder
    """

    def __init__(self, members: Sequence[Autoencoder]) -> None:
        nn.Module.__init__(self)
        self.members = nn.ModuleList(members)

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes of ``x``, shape ``(batch, n_members * latent_dim)``."""
        return torch.cat([member.encode(x) for member in members_of(self)], dim=1)

    def decode(self, z: Tensor) -> Tensor:
        """Return the mean of what the members make of their part of the code."""
        members = members_of(self)
        parts = zip(members, z.chunk(len(members), dim=1), strict=True)
        return torch.stack([member.decode(part) for member, part in parts]).mean(dim=0)

    def encode_decode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the codes and the mean reconstruction of ``x``."""
        codes, rows = zip(*(member.encode_decode(x) for member in members_of(self)), strict=True)
        return torch.cat(codes, dim=1), torch.stack(rows).mean(dim=0)


def members_of(network: Autoencoder) -> list[Autoencoder]:
    """Return the networks of an ensemble, or the one network that there is."""
    return list(network.members) if isinstance(network, Ensemble) else [network]  # type: ignore[arg-type]
