"""More than one machine: scores on Ray, Dask and Spark, and training by several processes."""

from aedetect.scale.frames import score_dask, score_frames, score_ray
from aedetect.scale.scoring import score

__all__ = ["score", "score_dask", "score_frames", "score_ray"]
