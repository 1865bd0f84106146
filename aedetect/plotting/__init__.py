"""Plots, as scikit-learn style ``*Display`` classes. They need the extra ``plot``."""

from aedetect.extras import require
from aedetect.plotting.contributions import ContributionsDisplay
from aedetect.plotting.latent_map import LatentMapDisplay
from aedetect.plotting.learning_curve import LearningCurveDisplay
from aedetect.plotting.monitor import MonitorDisplay
from aedetect.plotting.reconstruction import ReconstructionDisplay
from aedetect.plotting.samples import SamplesDisplay
from aedetect.plotting.scores import ScoreDistributionDisplay

require("plot", "aedetect.plotting")

__all__ = [
    "ContributionsDisplay",
    "LatentMapDisplay",
    "LearningCurveDisplay",
    "MonitorDisplay",
    "ReconstructionDisplay",
    "SamplesDisplay",
    "ScoreDistributionDisplay",
]
