"""Pictures, as scikit-learn style ``*Display`` classes. They need the extra ``plot``."""

from aedetect.plotting.curves import LatentMapDisplay, LearningCurveDisplay
from aedetect.plotting.images import ReconstructionDisplay, SamplesDisplay

__all__ = ["LatentMapDisplay", "LearningCurveDisplay", "ReconstructionDisplay", "SamplesDisplay"]
