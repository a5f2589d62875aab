"""The lock beside a recipe: what a compilation depended on, and the ranges that its data decided. See docs/lock.md."""

from qdsl.lock.compare import (
    Change,
    cache_changes,
    data_changes,
    elsewhere,
    mean_changes,
    model_changes,
    range_changes,
    recipe_changes,
)
from qdsl.lock.files import Fingerprints, complete
from qdsl.lock.machine import cpu_kind, table_hashes, tool_versions
from qdsl.lock.meaning import Part, meaning
from qdsl.lock.text import parse, read, render
from qdsl.lock.types import (
    LOCK_VERSION,
    Chosen,
    DataFile,
    Lock,
    LockedAssignment,
    LockedChoice,
    LockedMeans,
    LockedOutcome,
    LockedRange,
    LockedWeight,
    chosen,
)

__all__ = [
    "LOCK_VERSION",
    "Change",
    "Chosen",
    "DataFile",
    "Fingerprints",
    "Lock",
    "LockedAssignment",
    "LockedChoice",
    "LockedMeans",
    "LockedOutcome",
    "LockedRange",
    "LockedWeight",
    "Part",
    "cache_changes",
    "chosen",
    "complete",
    "cpu_kind",
    "data_changes",
    "elsewhere",
    "mean_changes",
    "meaning",
    "model_changes",
    "parse",
    "range_changes",
    "read",
    "recipe_changes",
    "render",
    "table_hashes",
    "tool_versions",
]
