"""Rows of a pipeline: in which order they are computed, which are kept, which of its inputs are still needed.

To write a row, a call needs the rows of its input under its window; a pipeline computes those that are missing first,
each as it is needed, then writes the row: to a ring, where the row of the output that lies as many rows before is no
longer needed, or, the last call, to a tensor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from qdsl.integer.records import IntegerGraph
from qdsl.targets.stm32.c.records import Call, Step
from qdsl.targets.stm32.memory.tensors import row_of


def ring_rows(graph: IntegerGraph, step: Step) -> dict[str, int]:
    """Of each tensor inside a pipeline, the rows that are kept: as many as the window of its reader reaches, or fewer
    where it never lies on so many."""
    if len(step.calls) == 1:
        return {}
    due = [each[-1] for each in _done(graph, step.calls)]
    pairs = pairwise(step.calls)
    return {
        call.op.output: _kept(graph, call, reader, last) for (call, reader), last in zip(pairs, due[1:], strict=True)
    }


def _kept(graph: IntegerGraph, call: Call, reader: Call, last: int) -> int:
    """The most rows from the first that is still needed to the last that is there, when a row of the reader is due;
    `last` is the last that is."""
    _, stride, _, above = reader.window
    height = graph.tensors[call.op.output].shape[1]
    needed = _needed(reader, height, last + 1)
    ends = (min(height, row * stride - above + reach(reader)) for row in range(last + 1))
    return max([1, *(end - first for first, end in zip(needed, ends, strict=False))])


def _needed(call: Call, height: int, end: int) -> list[int]:
    """For each row that a call computes, up to `end`, the first row of its input, `height` rows high, that this one or
    a later one is computed of; `height` where none is. One more for what is after the last."""
    rows, stride, dilation, above = call.window
    found = [height]
    for row in range(end - 1, -1, -1):
        first = row * stride - above
        under = (at for at in range(first, first + rows * dilation, dilation) if 0 <= at < height)
        found.append(min(found[-1], next(under, height)))
    return found[::-1]


def reach(call: Call) -> int:
    """From the first to the last row under the window."""
    rows, _, dilation, _ = call.window
    return dilation * (rows - 1) + 1


def by_rows(graph: IntegerGraph, call: Call, name: str) -> bool:
    """Whether a row kernel reads this input row by row: others, say the scale of another one, it reads as a whole."""
    tensor, output = graph.tensors[name], graph.tensors[call.op.output]
    if len(tensor.shape) != 4 or len(output.shape) != 4 or tensor.shape[0] != 1:
        return False
    return call.window != (1, 1, 1, 0) or tensor.shape[1] == output.shape[1]


def behind(graph: IntegerGraph, step: Step) -> Iterator[tuple[str, int | None]]:
    """For each tensor that a step reads, how many bytes before it the output has to begin, if they share memory, so
    that nothing is written over that is still read; None where they may not. A name may come more than once."""
    if len(step.calls) == 1:
        (call,) = step.calls
        distances = call.behind or (None,) * len(call.op.inputs)
        yield from zip(call.op.inputs, distances, strict=True)
        return
    inside = {call.op.output for call in step.calls[:-1]}
    done = _done(graph, step.calls)
    for at, call in enumerate(step.calls):
        for index, name in enumerate(call.op.inputs):
            if name in inside or name in graph.constants:
                continue
            if not by_rows(graph, call, name):
                yield name, None
            elif at + 1 < len(step.calls):
                yield name, _distance(graph, step, call, name, [row + 1 for row in done[at]], done[at][-1] + 1)
            elif _in_place(graph, call, index):
                yield name, 0
            else:
                # What the last call reads for a row is needed until the row is written.
                yield name, _distance(graph, step, call, name, done[at], len(done[at]))


def _done(graph: IntegerGraph, calls: Sequence[Call]) -> list[list[int]]:
    """Of each call, the last row that is computed (-1: none) when each row of the output is written."""
    height = graph.tensors[calls[-1].op.output].shape[1]
    found = [list(range(height))]
    for call, reader in zip(reversed(calls[:-1]), reversed(calls[1:]), strict=True):
        _, stride, _, above = reader.window
        most = graph.tensors[call.op.output].shape[1] - 1
        found.append([max(-1, min(most, row * stride - above + reach(reader) - 1)) for row in found[-1]])
    return found[::-1]


def _distance(graph: IntegerGraph, step: Step, call: Call, name: str, following: Sequence[int], end: int) -> int:
    """`following[y]`: the first row of the call whose input must not be written over when row y of the output is; none
    of them from `end` on, since those are never computed."""
    tensor = graph.tensors[name]
    read, written = row_of(tensor), row_of(graph.tensors[step.calls[-1].op.output])
    needed = _needed(call, tensor.shape[1], end)
    distances = ((at + 1) * written - needed[row] * read for at, row in enumerate(following) if row < end)
    return max([0, *distances])


def _in_place(graph: IntegerGraph, call: Call, index: int) -> bool:
    """Whether a call of several inputs, one row of each, may write a row over the one that it is computed of."""
    same = row_of(graph.tensors[call.op.inputs[index]]) == row_of(graph.tensors[call.op.output])
    return same and call.behind[index : index + 1] == (0,)
