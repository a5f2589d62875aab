"""What the steps of a graph need at the same time: tensors, rings and scratch as buffers that live for some steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qdsl.integer.records import IntegerGraph
from qdsl.targets.stm32.c.records import Step
from qdsl.targets.stm32.memory.problem import Buffer, Problem
from qdsl.targets.stm32.memory.rows import behind, ring_rows
from qdsl.targets.stm32.memory.tensors import align_of, roots, row_of, size_of, written


@dataclass(frozen=True, slots=True)
class Lives:
    """`tensors`, `rings` and `scratch` number buffers of the problem, by the name of the tensor (the root of those that
    are the same bytes) and by step."""

    problem: Problem
    tensors: dict[str, int]
    rings: dict[str, int]
    scratch: dict[int, int]


def lives(graph: IntegerGraph, steps: Sequence[Step]) -> Lives:
    """Inputs of the graph live from before the first step on, outputs beyond the last one."""
    root = roots(graph)
    whole = ends(graph, steps, root)
    buffers: list[Buffer] = []
    tensors: dict[str, int] = {}
    for name, (first, last) in whole.items():
        tensors[name] = len(buffers)
        tensor = graph.tensors[name]
        buffers.append(Buffer(name, size_of(tensor), first, last, align_of(tensor)))
    rings: dict[str, int] = {}
    scratch: dict[int, int] = {}
    gaps: dict[tuple[int, int], int] = {}
    for at, step in enumerate(steps):
        for name, rows in ring_rows(graph, step).items():
            rings[name] = len(buffers)
            buffers.append(Buffer(name, rows * row_of(graph.tensors[name]), at, at))
        if most := max(call.scratch for call in step.calls):
            scratch[at] = len(buffers)
            buffers.append(Buffer(f"scratch of {step.calls[-1].op.output}", most, at, at))
        output = tensors[root[step.calls[-1].op.output]]
        for name, distance in shared(graph, step, root).items():
            if buffers[tensors[name]].last == at and distance is not None:
                gaps[output, tensors[name]] = min(distance, buffers[output].size)
    return Lives(Problem(tuple(buffers), gaps), tensors, rings, scratch)


def ends(graph: IntegerGraph, steps: Sequence[Step], root: dict[str, str]) -> dict[str, tuple[int, int]]:
    """The first and the last step of each tensor that lies in the arena as a whole."""
    first = dict.fromkeys(graph.inputs, -1)
    last = dict.fromkeys(graph.inputs, -1)
    for at, step in enumerate(steps):
        kept = ring_rows(graph, step)
        for call in step.calls:
            for name in call.op.inputs:
                if name in root and name not in kept:
                    last[root[name]] = at
            for name in written(call.op):
                if name not in kept:
                    first[name], last[name] = at, max(at, last.get(name, at))
    for name in graph.outputs:
        if name in root:
            last[root[name]] = len(steps)
    return {name: (first[name], last[name]) for name in first}


def shared(graph: IntegerGraph, step: Step, root: dict[str, str]) -> dict[str, int | None]:
    """How far behind each tensor that a step reads its output has to begin; None where they may not share memory."""
    found: dict[str, int | None] = {}
    for name, distance in behind(graph, step):
        if name not in root:
            continue
        known = found.get(root[name], 0)
        found[root[name]] = None if known is None or distance is None else max(known, distance)
    return found
