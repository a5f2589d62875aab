"""A plan of memory as plain data, for people to look at."""

from __future__ import annotations

from qdsl.integer.records import IntegerGraph
from qdsl.spec.arena import Arena, Held
from qdsl.targets.stm32.c.records import Placed
from qdsl.targets.stm32.memory.lives import lives
from qdsl.targets.stm32.memory.tensors import roots


def picture(graph: IntegerGraph, placed: Placed) -> Arena:
    """What lies in the arena, each thing for as long as it is needed."""
    needed = lives(graph, placed.steps)
    root = roots(graph)
    outputs = {root[name] for name in graph.outputs if name in root}

    def held(buffer: int, kind: str, at: int, rows: int = 0) -> Held:
        of = needed.problem.buffers[buffer]
        return Held(of.name, kind, at, of.size, of.first, of.last, rows)

    found = [held(buffer, "ring", *placed.rings[name]) for name, buffer in needed.rings.items()]
    found += [held(buffer, "scratch", placed.scratch[step]) for step, buffer in needed.scratch.items()]
    for name, buffer in needed.tensors.items():
        kind = "input" if name in graph.inputs else "output" if name in outputs else "tensor"
        found.append(held(buffer, kind, placed.tensors[name]))
    steps = tuple(tuple(call.op.output for call in step.calls) for step in placed.steps)
    return Arena(
        placed.size, placed.bound, steps, tuple(sorted(found, key=lambda each: (each.first, each.at, each.name)))
    )
