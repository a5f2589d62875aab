"""Datasets: where samples come from, and the `input` block's preprocessing. One sample at a time, in a fixed order."""

from qdsl.data.looking import GLANCE, look, spread
from qdsl.data.opening import SOURCES
from qdsl.data.opening import open_dataset as open
from qdsl.data.types import Dataset, Label, ModelInput, Sample, Summary, describe

__all__ = [
    "GLANCE",
    "SOURCES",
    "Dataset",
    "Label",
    "ModelInput",
    "Sample",
    "Summary",
    "describe",
    "look",
    "open",
    "spread",
]
