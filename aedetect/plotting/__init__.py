"""Pictures, as scikit-learn style ``*Display`` classes. They need the extra ``plot``."""

from aedetect.plotting.architecture import ArchitectureDisplay
from aedetect.plotting.curves import LatentMapDisplay, LearningCurveDisplay
from aedetect.plotting.images import ReconstructionDisplay, SamplesDisplay

__all__ = [
    "ArchitectureDisplay",
    "LatentMapDisplay",
    "LearningCurveDisplay",
    "ReconstructionDisplay",
    "SamplesDisplay",
]
