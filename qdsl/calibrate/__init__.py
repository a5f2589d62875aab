"""Calibration: run the float model over a dataset and find the range of each tensor that is worth representing."""

from qdsl.calibrate.measuring import Progress, calibrate, minmax, observe, plan_ways
from qdsl.calibrate.observations import Observations, Ways, merged
from qdsl.calibrate.ranges import Ranges
from qdsl.calibrate.request import Request

__all__ = [
    "Observations",
    "Progress",
    "Ranges",
    "Request",
    "Ways",
    "calibrate",
    "merged",
    "minmax",
    "observe",
    "plan_ways",
]
