"""Estimators in files: one that is safe to share, and what ``skops.io`` needs for Pipelines."""

from aedetect.persistence.container import ModelFileError
from aedetect.persistence.files import info, load, save

# Types that skops.io.load must be told to trust, for Pipelines with estimators of this package.
SKOPS_TRUSTED = [
    "aedetect.conformal.detector.ConformalDetector",
    "aedetect.estimators.autoencoder.AutoencoderTransformer",
    "aedetect.estimators.denoising.DenoisingAutoencoder",
    "aedetect.estimators.vae.VAEDetector",
]

__all__ = ["SKOPS_TRUSTED", "ModelFileError", "info", "load", "save"]
