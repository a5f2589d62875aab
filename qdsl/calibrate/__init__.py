"""Calibration: run the float model over a dataset and find the range of each tensor that is worth representing."""

from qdsl.calibrate.instrument import MASKED, MASKED_ROW
from qdsl.calibrate.observations import Observations, merged
from qdsl.calibrate.ranges import Ranges
from qdsl.calibrate.request import Request, Rows
from qdsl.calibrate.running import Progress, calibrate, calibrate_each, minmax, observe
from qdsl.calibrate.ways import Ways, plan_all, plan_ways

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
    "calibrate_each",
    "merged",
    "minmax",
    "observe",
    "plan_all",
    "plan_ways",
]
