"""More than one machine: scores on Ray, Dask and Spark, and training by several processes."""

from aedetect.scale.fitting import fit
from aedetect.scale.frames import score_dask, score_frames, score_ray
from aedetect.scale.processes import main_process_first
from aedetect.scale.scoring import score
from aedetect.scale.searching import parallel_on

__all__ = [
    "fit",
    "main_process_first",
    "parallel_on",
    "score",
    "score_dask",
    "score_frames",
    "score_ray",
]
