"""The scikit-learn side: estimators that are transformers and outlier detectors at once."""

from aedetect.estimators.autoencoder import AutoencoderTransformer
from aedetect.estimators.denoising import DenoisingAutoencoder
from aedetect.estimators.vae import VAEDetector

__all__ = ["AutoencoderTransformer", "DenoisingAutoencoder", "VAEDetector"]
