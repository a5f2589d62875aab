"""Alternatives of a target: local changes of a plan that help some models and not others, as rows of its table.

Each row names nodes and one edit of the plan around them. Whether it is made is decided per model: by the measured
ranges, where it costs nothing, or by timing (`tune latency`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from qdsl.capability.when import When
from qdsl.spec.bounds import OneOf, Sentence, SomeTexts, Whole

IN_FLOAT = "float"
SHARED = "share"
BY_TIMING = "timing"
BY_RANGES = "ranges"
EACH, ALL, GROWING = "each", "all", "growing"


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

    name: Sentence
    edit: Annotated[str, OneOf((IN_FLOAT, SHARED))]
    ops: SomeTexts
    because: Sentence
    evidence: Sentence
    when: When = field(default_factory=When)
    regions: Annotated[str, OneOf((EACH, ALL, GROWING))] = ALL
    most: Annotated[int, Whole(1)] = 1
    through: tuple[str, ...] = ()
    decided_by: Annotated[str, OneOf((BY_TIMING, BY_RANGES))] = BY_TIMING
    keeps_steps: Annotated[int, Whole(1, 100)] = 100

    def problem(self) -> str:
        """What is wrong with a row as a whole, "" for nothing."""
        by_ranges = self.decided_by == BY_RANGES and self.edit != SHARED
        return "only a `share` can be decided by ranges" if by_ranges else ""
