"""Architectures: x -> z -> x_hat. They know no device, no optimiser and no noise."""

from aedetect.networks.autoencoder import Autoencoder, Trace, VariationalAutoencoder
from aedetect.networks.conv import conv_autoencoder
from aedetect.networks.dense import dense_autoencoder, residual_autoencoder
from aedetect.networks.dropout import Dropout, draw_chosen
from aedetect.networks.initialization import initialize
from aedetect.networks.layers import ACTIVATIONS, BatchNorm, LayerNorm, Linear, TiedLinear
from aedetect.networks.mask import MaskInput
from aedetect.networks.members import MemberLoop
from aedetect.networks.summary import probe, summarize

# For users. The other names are for the rooms below.
__all__ = ["Autoencoder", "MaskInput"]
