"""``--alpha`` of ``score`` and ``report``."""

from __future__ import annotations

import warnings
from argparse import Namespace
from typing import Any

from aedetect import ConformalDetector
from aedetect.scoring import alarm_rank, rows_needed


def check_alpha(model: Any, arguments: Namespace) -> None:
    """Refuse ``--alpha`` for a model without calibration rows, and warn of too few of them."""
    if isinstance(model, ConformalDetector):
        _warn_of_too_few(model, model.alpha if arguments.alpha is None else arguments.alpha)
    elif arguments.alpha is not None:
        raise ValueError(
            f"--alpha={arguments.alpha:g} needs calibration rows, and {arguments.model} has none."
            " Fit it again without --calibration 0."
        )


def _warn_of_too_few(model: ConformalDetector, alpha: float) -> None:
    n_rows = len(model.calibration_scores_)
    if alarm_rank(n_rows, alpha) == 0:
        warnings.warn(
            f"{n_rows} calibration rows are too few for any alarm at --alpha {alpha:g}: it takes"
            f" {rows_needed(alpha)}. Fit again with more rows or a larger --calibration, or raise"
            f" --alpha above {1 / (n_rows + 1):.4g}.",
            stacklevel=2,
        )
