"""Choosing: one option per unit, exactly; and by measurement, which of several builds is better, beyond noise."""

from qdsl.search.frontier import MOST_POINTS, Frontier, frontier
from qdsl.search.greedy import Attempt, Trial, walk
from qdsl.search.minimum import minimum
from qdsl.search.paired import LEAST_BLOCKS, Comparison, compare
from qdsl.search.problem import (
    LOSS,
    Assignment,
    Grown,
    NoOptions,
    NotFinite,
    Option,
    Problem,
    Refusal,
    Unit,
    Unreachable,
    Unsolved,
)

__all__ = [
    "LEAST_BLOCKS",
    "LOSS",
    "MOST_POINTS",
    "Assignment",
    "Attempt",
    "Comparison",
    "Frontier",
    "Grown",
    "NoOptions",
    "NotFinite",
    "Option",
    "Problem",
    "Refusal",
    "Trial",
    "Unit",
    "Unreachable",
    "Unsolved",
    "compare",
    "frontier",
    "minimum",
    "walk",
]
