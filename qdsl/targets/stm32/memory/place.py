"""Steps of a graph to addresses in its arena."""

from __future__ import annotations

from collections.abc import Sequence

from qdsl.integer.records import IntegerGraph
from qdsl.targets.stm32.c.records import Placed, Step
from qdsl.targets.stm32.memory.arena import EFFORT, arrange
from qdsl.targets.stm32.memory.lives import lives
from qdsl.targets.stm32.memory.problem import Effort
from qdsl.targets.stm32.memory.rows import ring_rows
from qdsl.targets.stm32.memory.tensors import roots


def place(graph: IntegerGraph, steps: Sequence[Step], effort: Effort | None = None) -> Placed:
    """The smallest arena in which these steps run, by `effort` at most (None: `arena.EFFORT`); `bound` is what none in
    which they run can go below."""
    needed = lives(graph, steps)
    arena = arrange(needed.problem, effort or Effort(EFFORT))
    at = arena.addresses
    rows = {name: count for step in steps for name, count in ring_rows(graph, step).items()}
    return Placed(
        steps=tuple(steps),
        tensors={name: at[needed.tensors[root]] for name, root in roots(graph).items() if root in needed.tensors},
        scratch=tuple(at[needed.scratch[step]] if step in needed.scratch else 0 for step in range(len(steps))),
        rings={name: (at[buffer], rows[name]) for name, buffer in needed.rings.items()},
        size=arena.size,
        bound=arena.bound,
    )
