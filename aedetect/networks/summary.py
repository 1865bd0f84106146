"""The layers of a network and the shapes of its results."""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor, nn

from aedetect.networks.autoencoder import Autoencoder
from aedetect.networks.members import MemberLoop


def summarize(network: Autoencoder, n_features: int) -> pd.DataFrame:
    """Return one row a layer, for one member.

    Parameters
    ----------
    network : Autoencoder
    n_features : int
        Width of a row.

    Returns
    -------
    table : pandas.DataFrame
        Columns ``layer`` (name and class), ``output_shape`` (without the batch), ``parameters``
        (with the running statistics of batch normalisation) and ``trained`` (without).
    """
    if isinstance(network, MemberLoop):
        return summarize(network.members[0], n_features)  # type: ignore[arg-type]
    n_members = network.n_members
    rows: list[tuple[str, tuple[int, ...], int, int]] = []

    def record(name: str, layer: nn.Module, output: Tensor) -> None:
        trained = sum(parameter.numel() for parameter in layer.parameters())
        fixed = sum(buffer.numel() for buffer in layer.buffers() if buffer.is_floating_point())
        shape = tuple(output.shape[1:] if n_members == 1 else output.shape[2:])
        counts = (trained + fixed) // n_members, trained // n_members
        rows.append((f"{name} ({type(layer).__name__})", shape, *counts))

    handles = [
        layer.register_forward_hook(lambda layer, _, output, name=name: record(name, layer, output))
        for name, layer in network.named_modules()
        if not any(layer.children())
    ]
    try:
        probe(network, n_features)
    finally:
        for handle in handles:
            handle.remove()
    return pd.DataFrame(rows, columns=["layer", "output_shape", "parameters", "trained"])


@torch.no_grad()
def probe(network: Autoencoder, n_features: int, value: float = 0.0) -> tuple[Tensor, Tensor]:
    """Return the first member's code and reconstruction of one row that repeats ``value``.

    Returns
    -------
    code : Tensor of shape (1, latent_dim)
    reconstruction : Tensor of shape (1, n_features)
        Decoded from the code.
    """
    if isinstance(network, MemberLoop):
        return probe(network.members[0], n_features, value)  # type: ignore[arg-type]
    network.eval()
    parameter = next(network.parameters(), torch.empty(0))
    row = torch.full((1, n_features), value, dtype=parameter.dtype, device=parameter.device)
    if network.n_members == 1:
        z = network.encode(row)
        return z, network.decode(z)
    z = network.encode(row[None])
    return z[0], network.decode(z)[0]
