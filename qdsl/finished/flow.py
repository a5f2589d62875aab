"""Where integers go: from what writes them, through operators that only move them, to those that read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from qdsl.finished.fixed import Fixed
from qdsl.graph.moves import MOVES
from qdsl.graph.view import GraphView, NodeView
from qdsl.spec.plan import Reader

_LONGEST = 256  # nodes that one tensor of integers is followed through
_LONGEST_OF_ALL = 1_000_000
_FAR = 2**63  # no bound for integers
_INTEGERS = ("int", "uint")
_DOMAINS = ("", "com.microsoft")


def is_quantize(node: NodeView) -> bool:
    """Whether a node writes integers of floats by a scale that it reads, in whichever domain."""
    return node.op.endswith("QuantizeLinear") and "Dynamic" not in node.op and _whole(node)


def is_dequantize(node: NodeView) -> bool:
    """Whether a node writes floats of integers by a scale that it reads, in whichever domain."""
    return node.op.endswith("DequantizeLinear") and _whole(node)


def _whole(node: NodeView) -> bool:
    """Whether it reads values and a scale, and writes something: of foreign domains nobody has checked that."""
    return 2 <= len(node.inputs) <= 3 and all(node.inputs[:2]) and any(node.outputs[:1])


def moves(node: NodeView, port: int, view: GraphView) -> bool:
    """Whether integers come out of `node` as they are, but in another place, type or number."""
    if node.domain not in _DOMAINS:
        return False
    if node.op == "Cast":
        written = view.tensors.get(node.outputs[0])
        return written is not None and (written.dtype or "").startswith(_INTEGERS)
    move = MOVES.get(node.op)
    return (node.op == "Clip" and port == 0) or (move is not None and port in move.data)


@dataclass(frozen=True, slots=True)
class Path:
    """A tensor of integers on its way. `axis` is where the axis of its channels lies by now, None where that is not
    known; `low` and `high` are what a Clip left of them; `between` the movers behind it, by index."""

    tensor: str
    axis: int | None
    low: int | None = None
    high: int | None = None
    between: tuple[int, ...] = ()


@dataclass(slots=True)
class Flow:
    """Where one tensor of integers went. `dequantized`: each DequantizeLinear (its index) with the way to it; `readers`
    compute with the integers, or are graph outputs; `between` are the movers, by index."""

    dequantized: list[tuple[int, Path]] = field(default_factory=list)
    readers: list[Reader] = field(default_factory=list)
    between: set[int] = field(default_factory=set)


class Follower:
    """Follows integers through a graph; all of it together is bounded."""

    def __init__(self, view: GraphView, fixed: Fixed) -> None:
        self._view = view
        self._fixed = fixed
        self._left = _LONGEST_OF_ALL

    def follow(self, tensor: str, axis: int | None) -> Flow:
        flow = Flow()
        waiting, seen = [Path(tensor, axis)], {tensor}
        while waiting:
            path = waiting.pop()
            for reader in readers_of(self._view, path.tensor):
                for ahead in self._step(path, reader, flow):
                    if ahead.tensor not in seen:
                        seen.add(ahead.tensor)
                        waiting.append(ahead)
        flow.dequantized.sort(key=lambda found: found[0])
        return flow

    def _step(self, path: Path, reader: Reader, flow: Flow) -> Iterator[Path]:
        node = self._view.node(reader.node) if reader.node and reader.port >= 0 else None
        if node is not None and reader.port == 0 and is_dequantize(node):
            flow.dequantized.append((node.index, path))
        elif (
            node is not None
            and moves(node, reader.port, self._view)
            and len(flow.between) < _LONGEST
            and self._left > 0
        ):
            self._left -= 1
            flow.between.add(node.index)
            yield from self._moved(path, node)
        else:
            flow.readers.append(reader)

    def _moved(self, path: Path, node: NodeView) -> Iterator[Path]:
        low, high = path.low, path.high
        if node.op == "Clip":
            low, high = clipped(low, high, node, self._fixed)
        move = MOVES.get(node.op)
        written = node.outputs[:1] if move is None or move.first else node.outputs
        for name in filter(None, written):
            yield Path(name, _axis(path.axis, node, self._view), low, high, (*path.between, node.index))


def clipped(low: int | None, high: int | None, node: NodeView, fixed: Fixed) -> tuple[int | None, int | None]:
    """The bounds that a Clip leaves, whether it has them as inputs or, as of old, as attributes."""
    lower, upper = _bound(node, 1, "min", fixed), _bound(node, 2, "max", fixed)
    low = lower if low is None else low if lower is None else max(low, lower)
    high = upper if high is None else high if upper is None else min(high, upper)
    return low, high


def _bound(node: NodeView, port: int, name: str, fixed: Fixed) -> int | None:
    given = node.attrs.get(name)
    value = fixed.value(node.inputs[port]) if len(node.inputs) > port and node.inputs[port] else None
    found = given if isinstance(given, int | float) else value.item() if value is not None and value.size == 1 else None
    return round(found) if found is not None and abs(found) < _FAR else None


def _axis(axis: int | None, node: NodeView, view: GraphView) -> int | None:
    """Where the axis lies after `node`; None where that is not certain."""
    if axis is None or node.op in _KEEPING:
        return axis
    if node.op == "Transpose":
        perm = node.attrs.get("perm")
        if isinstance(perm, tuple):
            return perm.index(axis) if axis in perm else None
        shape = view.tensors[node.inputs[0]].shape
        return None if shape is None else len(shape) - 1 - axis
    return None


_KEEPING = frozenset({"Cast", "Clip", "Concat", "Identity", "MaxPool", "Pad", "Slice", "Split", "Tile"})


def readers_of(view: GraphView, tensor: str) -> list[Reader]:
    """Who reads `tensor`, in graph order: ports of nodes, -1 for a body that reads it by name, and ("", -1) for a
    graph output."""
    found = view.tensors.get(tensor)
    if found is None:
        return []
    readers = [Reader(view.nodes[use.node].name, use.port) for use in found.uses]
    return [*readers, Reader("", -1)] if found.is_output else readers


def names(view: GraphView, nodes: Sequence[int] | set[int]) -> tuple[str, ...]:
    """The names of nodes, in graph order."""
    return tuple(view.nodes[index].name for index in sorted(nodes))
