"""Searches that train all candidates side by side, and a score for searches without labels."""

from aedetect.model_selection.searches import GridSearch, HalvingGridSearch, RandomizedSearch
from aedetect.model_selection.synthetic import synthetic_auroc

__all__ = ["GridSearch", "HalvingGridSearch", "RandomizedSearch", "synthetic_auroc"]
