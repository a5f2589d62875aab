"""What the readers of a tensor can tell apart, from the end of the graph to its start.

A Sigmoid reads nothing new below -8, a Softmax nothing far below the largest of a row, a Clip nothing beyond its
limits. A tensor that only such operators read, perhaps through a Reshape, a Where or the addition of a mask, may
saturate there: `qdsl.plan.cuts` says which tensors of a plan do. Whatever is read by anything else needs all of its
values.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from qdsl.capability.flat import BEYOND, FAR, ROWS, Flat
from qdsl.graph.moves import is_data_port
from qdsl.graph.structure import Spelled, spelled
from qdsl.graph.view import GraphView, NodeView
from qdsl.predict.bounds import ANYTHING, Interval, clip_limits

_INF = math.inf
_SHIFTERS = frozenset({"Add", "Sub", "Mul", "Div", "Neg"})
_GATES = frozenset({"Sigmoid", "HardSigmoid"})
_LEVELS = 256
BY_HAND = "range"


@dataclass(frozen=True, slots=True)
class Row:
    """A Softmax reads `tensor` in rows of `length` values along `axis`; `length` None where it is not known."""

    tensor: str
    axis: int
    length: int | None


@dataclass(frozen=True, slots=True)
class Need:
    """What the readers of a tensor tell apart: values between `low` and `high`, and in each of `rows` those not far
    below its largest. `open`: bounded by what only ranges tell. `by`: the table's rows that say so. Without readers,
    `low` is over `high`."""

    low: float = -_INF
    high: float = _INF
    rows: frozenset[Row] = frozenset()
    open: bool = False
    by: frozenset[str] = frozenset()

    @property
    def cut(self) -> bool:
        """Whether readers do without some values."""
        return self.low <= self.high and (self.low > -_INF or self.high < _INF)

    def __or__(self, other: Need) -> Need:
        low, high = min(self.low, other.low), max(self.high, other.high)
        return Need(low, high, self.rows | other.rows, self.open or other.open, self.by | other.by)


ALL = Need()
_NOBODY = Need(_INF, -_INF)


class Known(Protocol):
    """Measured numbers: what a tensor spans, and the bounds at which its stored values saturate; None: not known."""

    def span(self, tensor: str) -> Interval | None: ...
    def saturates(self, tensor: str) -> Interval | None: ...


def needs(
    view: GraphView, flats: Iterable[Flat], held: Mapping[str, Interval], known: Known | None = None
) -> dict[str, Need]:
    """The need of every tensor, constants included, by name. `held` are tensors of which only stored values in a range
    by hand are read. Without `known`, bounds that depend on ranges are `open`; with it, they are numbers. Linear in the
    size of the graph."""
    return _Pass(view, {op: flat for flat in flats for op in flat.ops}, held, known).run()


class _Pass:
    def __init__(
        self, view: GraphView, flats: Mapping[str, Flat], held: Mapping[str, Interval], known: Known | None
    ) -> None:
        self._view = view
        self._flats = flats
        self._held = held
        self._known = known
        self._found: dict[str, Need] = {}
        self._masking = {flat.name for flat in flats.values() if flat.kind == ROWS} | {BY_HAND}
        self._inside = {(each.tensor, node): each for each in spelled(view) for node in each.nodes}

    def run(self) -> dict[str, Need]:
        for node in reversed(self._view.nodes):
            behind = self._behind(node)
            for port, name in enumerate(node.inputs):
                if name:
                    self._found[name] = self._found.get(name, _NOBODY) | self._through(node, port, behind)
        return {name: self._of(name) for name in self._view.tensors}

    def _of(self, tensor: str) -> Need:
        return ALL if self._view.tensors[tensor].is_output else self._found.get(tensor, _NOBODY)

    def _behind(self, node: NodeView) -> Need:
        """What is needed of anything that `node` writes, in numbers where its stored values saturate."""
        found = _NOBODY
        for name in (name for name in node.outputs if name):
            need = self._of(name)
            ends = self._held.get(name)
            if ends is None and need.rows and self._known is not None:
                ends = self._known.saturates(name)
            found |= need if ends is None else Need(*ends, by=need.by or frozenset({BY_HAND}))
        return found

    def _through(self, node: NodeView, port: int, behind: Need) -> Need:
        """What `node` needs of what it reads at `port`."""
        if node.domain:
            return ALL
        block = self._inside.get((node.inputs[port], node.index))
        if block is not None and block.op in self._flats:
            return self._of_block(block)
        if node.op in self._flats:
            return self._flat(node, self._flats[node.op]) if port == 0 else ALL
        if is_data_port(node, port):  # each value as it is, or the largest of some: cutting commutes
            return behind
        masks = node.op in _SHIFTERS and behind.cut and behind.by & self._masking
        return self._shifted(node, port, behind) if masks else ALL

    def _of_block(self, block: Spelled) -> Need:
        """An activation spelled out grows above and is flat below."""
        flat = self._flats[block.op]
        low = flat.low
        if flat.kind == BEYOND:
            gates = (self._view.nodes[index] for index in sorted(block.nodes))
            low = _slope(next(node for node in gates if node.op == block.op))[0]
        if low is None or (block.op in _GATES and not flat.gated):
            return ALL
        return Need(low, _INF, by=frozenset({flat.name}))

    def _flat(self, node: NodeView, flat: Flat) -> Need:
        by = frozenset({flat.name})
        if flat.kind == ROWS:
            row = _row(node, self._view)
            return ALL if row is None else Need(_INF, _INF, frozenset({row}), by=by)
        low, high = flat_ends(node, flat, self._view)
        return Need(low, high, by=by) if low <= high else ALL

    def _shifted(self, node: NodeView, port: int, behind: Need) -> Need:
        """The need of a term or factor: what is cut off has to come out beyond the bounds of `behind`."""
        if node.op in ("Mul", "Div") and not self._scaled(node, port):
            return ALL
        if self._known is None:
            return Need(_INF, _INF, open=True, by=behind.by)
        if behind.rows or behind.open:
            return ALL
        low, high = self._reversed(node, port, behind.low, behind.high)
        return Need(low, high, by=behind.by) if low <= high else ALL

    def _scaled(self, node: NodeView, port: int) -> bool:
        """Whether one operand is a scalar constant, and `port` not what divides by it."""
        if len(node.inputs) != 2 or (node.op == "Div" and port == 1):
            return False
        return any(len(self._view.small.get(name, ())) == 1 for name in node.inputs)

    def _reversed(self, node: NodeView, port: int, low: float, high: float) -> Interval:
        """Bounds for what is read at `port`, from those of what comes out."""
        assert self._known is not None
        if node.op == "Neg":
            return -high, -low
        if node.op in ("Mul", "Div"):
            return self._unscaled(node, port, low, high)
        other = self._known.span(node.inputs[1 - port])
        if other is None:
            return ANYTHING
        if node.op == "Add":
            return low - other[1], high - other[0]
        return (low + other[0], high + other[1]) if port == 0 else (other[0] - high, other[1] - low)

    def _unscaled(self, node: NodeView, port: int, low: float, high: float) -> Interval:
        assert self._known is not None
        at = next(p for p, name in enumerate(node.inputs) if len(self._view.small.get(name, ())) == 1)
        factor = float(self._view.small[node.inputs[at]][0])
        most = self._largest_factor(node.inputs[1 - at], factor, low, high) if node.op == "Mul" else _INF
        if at == port or not math.isfinite(factor) or factor == 0 or abs(factor) > most:
            return (-most, most) if at == port else ANYTHING
        by = 1 / factor if node.op == "Div" else factor
        return (low / by, high / by) if by > 0 else (high / by, low / by)

    def _largest_factor(self, tensor: str, factor: float, low: float, high: float) -> float:
        """A factor of this size takes the smallest step of what is not negative past the bound: a larger one, such as
        the lowest float times 0 or 1, does the same."""
        assert self._known is not None
        ends = self._known.span(tensor)
        bound = low if factor < 0 else high
        if ends is None or ends[0] < 0 or not ends[1] or not math.isfinite(bound):
            return _INF
        return abs(bound) * _LEVELS / ends[1]


def flat_ends(node: NodeView, flat: Flat, view: GraphView) -> Interval:
    """Below and above what a node of kind "far" or "exact" answers the same; open ends infinite."""
    if flat.kind == FAR:
        return -_INF if flat.low is None else flat.low, _INF if flat.high is None else flat.high
    return _slope(node) if node.op == "HardSigmoid" else clip_limits(node, view) or ANYTHING


def _slope(node: NodeView) -> Interval:
    """Where a HardSigmoid is neither 0 nor 1."""
    alpha, beta = (node.attrs.get(name, default) for name, default in (("alpha", 0.2), ("beta", 0.5)))
    if not isinstance(alpha, int | float) or not isinstance(beta, int | float) or alpha <= 0:
        return ANYTHING
    return -beta / alpha, (1 - beta) / alpha


def _row(node: NodeView, view: GraphView) -> Row | None:
    """Before opset 13 a Softmax took all axes from its own on together: that is one axis only where it is the last."""
    shape = view.tensors[node.inputs[0]].shape
    axis = node.attrs.get("axis", -1 if view.opset >= 13 else 1)
    if shape is None or not isinstance(axis, int) or not -len(shape) <= axis < len(shape):
        return None
    at = axis % len(shape)
    if view.opset < 13 and at != len(shape) - 1:
        return None
    length = shape[at]
    return Row(node.inputs[0], at, length if isinstance(length, int) else None)
