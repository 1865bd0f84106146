"""Architectures: x -> z -> x_hat. They know no device, no optimiser and no noise."""

from aedetect.networks.autoencoder import (
    ACTIVATIONS,
    Autoencoder,
    VariationalAutoencoder,
    initialize,
    probe,
    summarize,
)
from aedetect.networks.conv import conv_autoencoder
from aedetect.networks.dense import dense_autoencoder, residual_autoencoder
from aedetect.networks.dropout import Dropout, draw_chosen
from aedetect.networks.ensemble import Ensemble, members_of
from aedetect.networks.mask import MaskInput

__all__ = [
    "ACTIVATIONS",
    "Autoencoder",
    "Dropout",
    "Ensemble",
    "MaskInput",
    "VariationalAutoencoder",
    "conv_autoencoder",
    "dense_autoencoder",
    "draw_chosen",
    "initialize",
    "members_of",
    "probe",
    "residual_autoencoder",
    "summarize",
]
