"""What each target can run: one table per target, read once, as typed rows. See docs/targets.md."""

from qdsl.capability.dynamic import Dynamic
from qdsl.capability.loader import TableError, load, loads, names, source
from qdsl.capability.model import ACTIVATION, WEIGHT, Capability, RoleTypes, TypeRow, Verdict
from qdsl.capability.rows import ABSORBED, COMPUTE, FLOAT, MOVES, ChannelAxis, Merge, Row, WeightOnly
from qdsl.capability.slow import Slow
from qdsl.capability.when import When

__all__ = [
    "ABSORBED",
    "ACTIVATION",
    "COMPUTE",
    "FLOAT",
    "MOVES",
    "WEIGHT",
    "Capability",
    "ChannelAxis",
    "Dynamic",
    "Merge",
    "RoleTypes",
    "Row",
    "Slow",
    "TableError",
    "TypeRow",
    "Verdict",
    "WeightOnly",
    "When",
    "load",
    "loads",
    "names",
    "source",
]
