"""Alternatives of a target: local changes of a plan that help some models and not others, as rows of its table.

Each row names nodes and one edit of the plan around them. Whether it is made is decided per model: by the measured
ranges, where it costs nothing, or by timing (`tune latency`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from qdsl.capability.when import When

IN_FLOAT = "float"
SHARED = "share"
BY_TIMING = "timing"
BY_RANGES = "ranges"
EACH, ALL, GROWING = "each", "all", "growing"

EDITS = (IN_FLOAT, SHARED)
DECIDED = (BY_TIMING, BY_RANGES)
REGIONS = (EACH, ALL, GROWING)


@dataclass(frozen=True, slots=True)
class Alternative:
    """One row. `ops` and `when` pick nodes that would run in integers.

    `edit`: "float" (the nodes compute in float32) or "share" (one scale over a node's data inputs and its output).
    `regions`: one try per node ("each"), one for all of them ("all"), or for the first one, two, .. up to `most` nodes
    in graph order, each try on top of the one before ("growing").
    `through`: operators that go along where everything they read comes from the region.
    `decided_by`: "timing", or "ranges": taken where each range that others read, too, keeps `keeps_steps` percent of
    its steps.
    """

    name: str
    edit: str
    ops: tuple[str, ...]
    because: str
    evidence: str
    when: When = field(default_factory=When)
    regions: str = ALL
    most: int = 1
    through: tuple[str, ...] = ()
    decided_by: str = BY_TIMING
    keeps_steps: int = 100
