"""``--alpha`` of ``score`` and ``report``."""

from __future__ import annotations

import warnings
from argparse import Namespace
from typing import Any

from aedetect import ConformalDetector
from aedetect.conformal import block_size_of
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
    n_rows, block_size = len(model.calibration_scores_), block_size_of(model)
    if alarm_rank(n_rows, alpha, block_size) == 0:
        warnings.warn(
            f"{n_rows} calibration rows are too few for any alarm at --alpha {alpha:g}: it takes"
            f" {rows_needed(alpha, block_size)}. Fit again with more rows or a larger"
            f" --calibration, or raise --alpha above {block_size / (n_rows + block_size):.4g}.",
            stacklevel=2,
        )
