"""Calibration: run the float model over a dataset and find the range of each tensor that is worth representing."""

from qdsl.calibrate.instrument import MASKED, MASKED_ROW
from qdsl.calibrate.observations import Observations, Ways, merged
from qdsl.calibrate.ranges import Ranges
from qdsl.calibrate.request import Request, Rows
from qdsl.calibrate.running import Progress, calibrate, minmax, observe, plan_ways

__all__ = [
    "MASKED",
    "MASKED_ROW",
    "Observations",
    "Progress",
    "Ranges",
    "Request",
    "Rows",
    "Ways",
    "calibrate",
    "merged",
    "minmax",
    "observe",
    "plan_ways",
]
