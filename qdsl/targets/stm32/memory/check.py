"""A plan of the arena held against what its steps do: they are run once over a memory that knows of every byte which
byte of which tensor was last written there. Shares nothing with what makes plans.

A pipeline computes a row when a later call of it lacks that row, as `qdsl_pipeline` does in C."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from qdsl.integer.records import DynamicQuantize, IntegerGraph, Reshape
from qdsl.targets.stm32.c.records import Call, Placed, Step

_BYTES = {"int8": 1, "uint8": 1, "int32": 4, "int64": 8, "float32": 4}
_NOTHING = -1


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with `tensor` at a step (-1: before the first), and at which byte of the arena."""

    step: int
    tensor: str
    at: int
    what: str


@dataclass(frozen=True, slots=True)
class _Piece:
    """`size` bytes of a tensor from its byte `start` on, which lie from `at` on in the arena."""

    tensor: str
    start: int
    at: int
    size: int

    def meets(self, other: _Piece) -> bool:
        return self.at < other.at + other.size and other.at < self.at + self.size


def check(graph: IntegerGraph, placed: Placed) -> tuple[Fault, ...]:
    """Every byte that is read after something else was written there, written where it may not be, or lies outside."""
    return tuple(_Replay(graph, placed).faults())


class _Replay:
    def __init__(self, graph: IntegerGraph, placed: Placed) -> None:
        self._graph, self._placed = graph, placed
        self._root = _roots(graph)
        self._number = {name: at for at, name in enumerate(dict.fromkeys(self._root.values()))}
        size = max(placed.size, 0)
        self._owner: NDArray[np.int32] = np.full(size, _NOTHING, np.int32)
        self._index: NDArray[np.int32] = np.zeros(size, np.int32)
        self._counting: NDArray[np.int32] = np.arange(max(map(self._bytes, self._root), default=0), dtype=np.int32)

    def faults(self) -> Iterator[Fault]:
        bad = list(self._outside())
        yield from bad
        if bad:
            return
        for name in self._graph.inputs:
            self._write(self._whole(name))
        for name in self._graph.inputs:
            yield from self._read(-1, self._whole(name))
        for at, step in enumerate(self._placed.steps):
            seen: set[tuple[str, str]] = set()
            for fault in self._step(at, step):
                if (fault.tensor, fault.what) not in seen:
                    seen.add((fault.tensor, fault.what))
                    yield fault
        for name in self._graph.outputs:
            if name in self._root:
                yield from self._read(len(self._placed.steps), self._whole(name))

    def _outside(self) -> Iterator[Fault]:
        """What does not lie whole in the arena, or not where its type may."""
        placed, graph = self._placed, self._graph
        for name, at in placed.tensors.items():
            yield from self._fits(-1, name, at, self._bytes(name), max(4, _BYTES[graph.tensors[name].dtype]))
        for name, (at, rows) in placed.rings.items():
            yield from self._fits(-1, name, at, rows * self._row(name), 4)
        for number, step in enumerate(placed.steps):
            for call in step.calls:
                yield from self._fits(number, call.op.output, placed.scratch[number], call.scratch, 4)
                for name in (*call.op.inputs, *_written(call)):
                    if name in self._root and name not in placed.tensors and name not in placed.rings:
                        yield Fault(number, name, 0, "lies nowhere")

    def _fits(self, step: int, name: str, at: int, size: int, align: int) -> Iterator[Fault]:
        if at < 0 or at + size > self._placed.size:
            yield Fault(step, name, at, "lies outside of the arena")
        if at % align:
            yield Fault(step, name, at, f"is not aligned to {align} bytes")

    def _step(self, at: int, step: Step) -> Iterator[Fault]:
        calls = step.calls
        if len(calls) == 1:
            yield from self._apart(at, calls[0])
        if not all(call.rows for call in calls):
            (call,) = calls
            yield from self._run(
                at, call, [self._whole(name) for name in self._reads(call)], self._whole(call.op.output)
            )
            return
        heights = [self._height(call.op.output) for call in calls]
        done = [0] * len(calls)
        while done[-1] < heights[-1]:
            now = len(calls) - 1
            while now and done[now - 1] < min(heights[now - 1], _top(calls[now], done[now]) + 1):
                now -= 1
            yield from self._one_row(at, step, now, done[now])
            done[now] += 1

    def _one_row(self, at: int, step: Step, now: int, row: int) -> Iterator[Fault]:
        call = step.calls[now]
        first, reached, apart = _window(call, row)
        reads = []
        for name in self._reads(call):
            if not self._by_rows(call, name):
                reads.append(self._whole(name))
                continue
            under = range(first, first + reached * apart, apart)
            reads += [self._piece(name, each) for each in under if 0 <= each < self._height(name)]
        written = self._piece(call.op.output, row)
        if len(step.calls) > 1:
            yield from self._rows_apart(at, call, reads, written, last=call is step.calls[-1])
        yield from self._run(at, call, reads, written)

    def _run(self, at: int, call: Call, reads: list[_Piece], written: _Piece) -> Iterator[Fault]:
        """Scratch is written over while the call still reads."""
        start = self._placed.scratch[at]
        if call.scratch:
            if written.at < start + call.scratch and start < written.at + written.size:
                yield Fault(at, call.op.output, start, "is written where its scratch lies")
            self._owner[start : start + call.scratch] = _NOTHING
        for piece in reads:
            yield from self._read(at, piece)
        self._write(written)
        for name in _written(call)[1:]:
            beside = self._whole(name)
            if any(beside.meets(piece) for piece in (*reads, written)):
                yield Fault(at, name, beside.at, "is written where the step reads or writes something else")
            self._write(beside)

    def _apart(self, at: int, call: Call) -> Iterator[Fault]:
        """The output of a call on its own lies as far before each input as its kernel asks for, or clear of it."""
        output = self._whole(call.op.output)
        for name, distance in zip(call.op.inputs, call.behind or (None,) * len(call.op.inputs), strict=True):
            if name not in self._root:
                continue
            read = self._whole(name)
            if output.meets(read) and (distance is None or output.at + distance > read.at):
                yield Fault(at, name, read.at, f"lies where {output.tensor} is written")

    def _rows_apart(self, at: int, call: Call, reads: list[_Piece], written: _Piece, last: bool) -> Iterator[Fault]:
        """A row is written clear of those that it is computed of, but for what is computed in place."""
        in_place = {
            self._root[name]
            for name, distance in zip(call.op.inputs, call.behind, strict=False)
            if last and distance == 0 and name in self._root and call.window == (1, 1, 1, 0)
        }
        for piece in reads:
            behind = piece.tensor in in_place and piece.size == written.size and written.at <= piece.at
            if written.meets(piece) and not behind:
                yield Fault(at, piece.tensor, piece.at, f"lies where a row of {written.tensor} is written")

    def _read(self, at: int, piece: _Piece) -> Iterator[Fault]:
        where = slice(piece.at, piece.at + piece.size)
        expected = self._counting[piece.start : piece.start + piece.size]
        right = (self._owner[where] == self._number[piece.tensor]) & (self._index[where] == expected)
        if not right.all():
            yield Fault(at, piece.tensor, piece.at + int(np.argmin(right)), "was written over before it is read")

    def _write(self, piece: _Piece) -> None:
        where = slice(piece.at, piece.at + piece.size)
        self._owner[where] = self._number[piece.tensor]
        self._index[where] = self._counting[piece.start : piece.start + piece.size]

    def _whole(self, name: str) -> _Piece:
        return _Piece(self._root[name], 0, self._placed.tensors.get(name, 0), self._bytes(name))

    def _piece(self, name: str, row: int) -> _Piece:
        size = self._row(name)
        start = row * size
        if name in self._placed.rings:
            at, rows = self._placed.rings[name]
            return _Piece(self._root[name], start, at + row % rows * size, size)
        return _Piece(self._root[name], start, self._placed.tensors[name] + start, size)

    def _reads(self, call: Call) -> list[str]:
        return [name for name in call.op.inputs if name in self._root]

    def _by_rows(self, call: Call, name: str) -> bool:
        """An input that has not the rows of the output, where windows do not say otherwise, is read as a whole."""
        if call.window != (1, 1, 1, 0):
            return len(self._graph.tensors[name].shape) == 4
        return self._height(name) == self._height(call.op.output)

    def _bytes(self, name: str) -> int:
        tensor = self._graph.tensors[name]
        return prod(tensor.shape) * _BYTES[tensor.dtype]

    def _height(self, name: str) -> int:
        shape = self._graph.tensors[name].shape
        return shape[1] if len(shape) == 4 and shape[0] == 1 else 1

    def _row(self, name: str) -> int:
        return self._bytes(name) // max(1, self._height(name))


def _window(call: Call, row: int) -> tuple[int, int, int]:
    """The first row under the window (below 0: padding), how many, how far apart."""
    reached, stride, apart, above = call.window
    return row * stride - above, reached, apart


def _top(call: Call, row: int) -> int:
    first, reached, apart = _window(call, row)
    return first + (reached - 1) * apart


def _written(call: Call) -> tuple[str, ...]:
    return (call.op.output, call.op.encoding) if isinstance(call.op, DynamicQuantize) else (call.op.output,)


def _roots(graph: IntegerGraph) -> dict[str, str]:
    """What is no constant, and whose bytes it is."""
    found = {name: name for name in graph.inputs}
    for op in graph.ops:
        found[op.output] = op.output
        if isinstance(op, Reshape) and op.inputs[0] in found:
            found[op.output] = found[op.inputs[0]]
        if isinstance(op, DynamicQuantize):
            found[op.encoding] = op.encoding
    return found
