"""Save and load estimators in files that are safe to share; types that ``skops.io`` may trust."""

from aedetect.persistence.container import ModelFileError
from aedetect.persistence.files import info, load, save

#: Types for ``skops.io.load`` to trust, for Pipelines with estimators of this package.
#:
#: None of them runs anything that a file names: they take numbers, words and other trusted types.
SKOPS_TRUSTED = [
    "aedetect.conformal.detector.ConformalDetector",
    "aedetect.conformal.monitor.Monitor",
    "aedetect.estimators.autoencoder.AutoencoderTransformer",
    "aedetect.estimators.denoising.DenoisingAutoencoder",
    "aedetect.estimators.vae.VAEDetector",
    "aedetect.series.windows.WindowTransformer",
    "numpy.dtype",  # SimpleImputer and KBinsDiscretizer keep the type of their columns
    "sklearn.compose._column_transformer.make_column_selector",  # a pattern, names of types
    "sklearn.impute._iterative.IterativeImputer",  # skops trusts no experimental estimator
    "sklearn.impute._iterative._ImputerTriplet",  # column numbers and an estimator
    "sklearn.model_selection._split.KFold",  # as the cv of a ConformalDetector: three numbers
]

__all__ = ["SKOPS_TRUSTED", "ModelFileError", "info", "load", "save"]
