"""What is drawn of a report: a box for each operator and each input and output of the graph, with what joins them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from qdsl.auditing.formats.layout import Layout, lay_out
from qdsl.auditing.formats.wiring import OUTSIDE, Edge, Wiring

# Boxes that a browser still moves about without delay. Of a larger graph only what lies around its findings is drawn.
MOST_BOXES = 3000


@dataclass(frozen=True, slots=True)
class Box:
    """`kind` is "node", "input" or "output". `node` numbers an operator of the report, OUTSIDE for the others; `name`
    is the operator's, or the tensor's. `tensors` number the quantized tensors that it writes."""

    kind: str
    name: str
    op: str
    node: int
    tensors: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """What joins two boxes; `integers`: it carries a quantized tensor."""

    source: int
    target: int
    integers: bool


@dataclass(frozen=True, slots=True)
class Drawing:
    """`boxes` and `lines` as they are drawn, boxes in graph order; `of_node` finds the box of an operator. `left_out`
    counts the boxes that are not drawn."""

    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    layout: Layout
    of_node: Mapping[int, int]
    left_out: int


def draw(wiring: Wiring, most: int = MOST_BOXES) -> Drawing:
    """Lay out at most `most` boxes: all of them, or those that lie nearest to findings. Raises QdslError
    (graph-absent)."""
    boxes = _boxes(wiring)
    lines = _lines(wiring, boxes)
    kept = range(len(boxes)) if len(boxes) <= most else _near(wiring, boxes, lines, most)
    number = {old: new for new, old in enumerate(kept)}
    shown = tuple(
        Line(number[line.source], number[line.target], line.integers)
        for line in lines
        if line.source in number and line.target in number
    )
    layout = lay_out(len(number), [(line.source, line.target) for line in shown])
    drawn = tuple(boxes[old] for old in number)
    of_node = {box.node: at for at, box in enumerate(drawn) if box.node != OUTSIDE}
    return Drawing(drawn, shown, layout, of_node, len(boxes) - len(drawn))


def _boxes(wiring: Wiring) -> list[Box]:
    """Inputs that are read, operators, then outputs: whatever is read stands before what reads it."""
    report = wiring.report
    read = {edge.tensor for edge in wiring.edges if edge.source == OUTSIDE}
    held: dict[str, list[int]] = {}
    for number, tensor in enumerate(report.tensors):
        if tensor.role == "activation":
            held.setdefault(wiring.source(tensor.tensor), []).append(number)
    written: dict[int, list[int]] = {}
    for name, (source, _) in wiring.written.items():
        if source != OUTSIDE:
            written.setdefault(source, []).extend(held.get(name, ()))
    boxes = [Box("input", name, "input", OUTSIDE, tuple(held.get(name, ()))) for name in report.inputs if name in read]
    boxes += [
        Box("node", node.name, node.op, number, tuple(written.get(number, ())))
        for number, node in enumerate(report.nodes)
    ]
    leaving = dict.fromkeys(edge.port for edge in wiring.edges if edge.target == OUTSIDE)
    return boxes + [Box("output", report.outputs[port], "output", OUTSIDE) for port in leaving]


def _lines(wiring: Wiring, boxes: Sequence[Box]) -> list[Line]:
    """One for each pair of boxes; it carries integers where one of its edges does."""
    inputs = {box.name: number for number, box in enumerate(boxes) if box.kind == "input"}
    nodes = {box.node: number for number, box in enumerate(boxes) if box.kind == "node"}
    outputs = iter([number for number, box in enumerate(boxes) if box.kind == "output"])
    at_port: dict[int, int] = {}
    found: dict[tuple[int, int], bool] = {}
    for edge in wiring.edges:
        source = inputs[edge.tensor] if edge.source == OUTSIDE else nodes[edge.source]
        target = nodes[edge.target] if edge.target != OUTSIDE else _output(edge, at_port, outputs)
        if source < target:
            found[source, target] = found.get((source, target), False) or edge.through is not None
    return [Line(source, target, integers) for (source, target), integers in found.items()]


def _output(edge: Edge, at_port: dict[int, int], outputs: Iterable[int]) -> int:
    if edge.port not in at_port:
        at_port[edge.port] = next(iter(outputs))
    return at_port[edge.port]


def _near(wiring: Wiring, boxes: Sequence[Box], lines: Sequence[Line], most: int) -> list[int]:
    """The boxes that lie nearest to those with findings, in graph order; without findings the first ones."""
    beside: dict[int, list[int]] = {}
    for line in lines:
        beside.setdefault(line.source, []).append(line.target)
        beside.setdefault(line.target, []).append(line.source)
    begin = [number for number, box in enumerate(boxes) if wiring.findings.get(box.node)]
    seen = dict.fromkeys(begin[:most] or [0])
    waiting = deque(seen)
    while waiting and len(seen) < most:
        for other in beside.get(waiting.popleft(), ()):
            if other not in seen and len(seen) < most:
                seen[other] = None
                waiting.append(other)
    rest = (number for number in range(len(boxes)) if number not in seen)
    while len(seen) < most and not begin:
        seen[next(rest)] = None
    return sorted(seen)
