"""Choosing by measurement: which of several builds is better, beyond noise, and a greedy walk over alternatives."""

from qdsl.search.greedy import Attempt, Trial, walk
from qdsl.search.paired import LEAST_BLOCKS, Comparison, compare

__all__ = ["LEAST_BLOCKS", "Attempt", "Comparison", "Trial", "compare", "walk"]
