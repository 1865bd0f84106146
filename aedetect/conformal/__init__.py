"""Outlier decisions with a bounded share of false alarms, and a monitor of the rows to come."""

from aedetect.conformal.changes import Change
from aedetect.conformal.detector import (
    ConformalDetector,
    block_size_of,
    scores_and_p_values,
    with_alpha,
)
from aedetect.conformal.monitor import Monitor
from aedetect.conformal.status import Alarm, Status

# For users. The other names are for the rooms below.
__all__ = ["Alarm", "Change", "ConformalDetector", "Monitor", "Status"]
