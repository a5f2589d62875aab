"""Calibration: run the float model over a dataset and remember the range of each tensor."""

from qdsl.calibrate.measuring import Progress, minmax
from qdsl.calibrate.observers import MinMax, Observer
from qdsl.calibrate.ranges import Ranges

__all__ = ["MinMax", "Observer", "Progress", "Ranges", "minmax"]
