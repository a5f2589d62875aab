"""Q and DQ at the inputs and outputs of the graph that the application pays for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import ORT, row_of, runs_in_floats
from qdsl.auditing.telling import recipe_lines, shown
from qdsl.capability import FLOAT, MOVES
from qdsl.diag import Severity
from qdsl.finished.records import Form, Parameters, QuantizedTensor, Role
from qdsl.graph.moves import SAME_VALUES
from qdsl.graph.view import GraphView

# Rows of operators that compute nothing in integers, nor are part of a kernel that does.
_WITHOUT = (FLOAT, MOVES)
_MOST_MOVES = 64  # between an edge of the graph and its Q or DQ


class Check:
    id: ClassVar[str] = "pair_at_graph_edge"
    summary: ClassVar[str] = "Q or DQ at an input or output of the graph that costs the application something"
    explanation: ClassVar[str] = (
        "A pair on a graph input that only floats read rounds what comes in for nothing; a pair in front of a graph "
        "output whose writer computes in floats all the same gives the caller 256 values instead of floats. Integer "
        "inputs and outputs, with a lone DQ or Q at the edge, leave quantizing to the application, which has to know "
        "scale and zero point: a note, since that is often what is wanted."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = ()

    def check(self, audited: Audited) -> Iterator[Finding]:
        for record in audited.finished.tensors:
            if record.role is not Role.ACTIVATION:
                continue
            if record.form is Form.PAIR and audited.target == ORT:
                yield from self._pair(audited, record)
            elif record.form in (Form.LONE_DEQUANTIZE, Form.LONE_QUANTIZE):
                yield from self._lone(audited, record)

    def _pair(self, audited: Audited, record: QuantizedTensor) -> Iterator[Finding]:
        tensor = audited.finished.view.tensors.get(record.tensor)
        if tensor is None:
            return
        if tensor.kind == "input" and _read_in_floats(audited, record):
            message = f"the graph input {shown(record.tensor)} is rounded, and nothing reads it in integers"
            yield self._told(audited, record, message, "rounding what comes in gains no integer kernel")
        elif any(not each.node for each in record.readers) and _written_in_floats(audited, record):
            message = f"the graph output behind {shown(record.tensor)} is rounded, though it is computed in floats"
            yield self._told(audited, record, message, "the caller gets as many values as the type has, for no kernel")

    def _told(self, audited: Audited, record: QuantizedTensor, message: str, why: str) -> Finding:
        return Finding(
            self.id,
            Severity.WARNING,
            Place("tensor", record.tensor),
            message,
            why,
            also=tuple(Place("node", name) for name in (*record.quantizers, *record.dequantizers)),
            fix=recipe_lines("place { leave tensor {} }", record.tensor),
            origin=record.origin,
        )

    def _lone(self, audited: Audited, record: QuantizedTensor) -> Iterator[Finding]:
        view = audited.finished.view
        incoming = record.form is Form.LONE_DEQUANTIZE
        nodes = record.dequantizers if incoming else record.quantizers
        edge = next((edge for name in nodes if (edge := _edge(view, name, incoming=incoming))), "")
        if not edge:
            return
        kind = "input" if incoming else "output"
        yield Finding(
            self.id,
            Severity.NOTE,
            Place("tensor", edge),
            f"the graph {kind} {shown(edge)} is {record.parameters.element}{_grid(record.parameters)}",
            f"the application {'quantizes what it gives' if incoming else 'dequantizes what it gets'}, and has to know "
            "scale and zero point",
            also=tuple(Place("node", name) for name in nodes),
            origin=record.origin,
        )


def _read_in_floats(audited: Audited, record: QuantizedTensor) -> bool:
    """Whether no reader of a pair could compute in integers, and none does."""
    view = audited.finished.view
    nodes = [view.node(each.node) for each in record.readers if each.node]
    idle = all(runs_in_floats(audited, node.name) and row_of(audited, node).kind in _WITHOUT for node in nodes)
    return bool(nodes) and len(nodes) == len(record.readers) and idle


def _written_in_floats(audited: Audited, record: QuantizedTensor) -> bool:
    """Whether a pair in front of graph outputs alone stands behind a node that has no integer kernel."""
    writer = audited.finished.view.producer(record.tensor)
    if writer is None or any(each.node for each in record.readers):
        return False
    return runs_in_floats(audited, writer.name) and row_of(audited, writer).kind in _WITHOUT


def _edge(view: GraphView, node: str, *, incoming: bool) -> str:
    """The graph input whose integers a lone DQ reads, or the output for which a lone Q writes them, past what moves
    values; "" for none."""
    name = view.node(node).inputs[0] if incoming else view.node(node).outputs[0]
    for _ in range(_MOST_MOVES):
        tensor = view.tensors.get(name)
        if tensor is None or (tensor.kind == "input" if incoming else tensor.is_output):
            return "" if tensor is None else name
        after = view.consumers(name)
        next_to = view.producer(name) if incoming else after[0] if len(after) == 1 else None
        if next_to is None or next_to.op not in SAME_VALUES:
            return ""
        name = next_to.inputs[0] if incoming else next_to.outputs[0]
    return ""


def _grid(made: Parameters) -> str:
    """`: (integer - 128) x 0.0078125`, where both are numbers."""
    if made.scale is None or made.scale.size != 1 or (made.zero_written and made.zero_point is None):
        return ""
    zero = 0 if made.zero_point is None else int(made.zero_point.reshape(-1)[0])
    return f", (integer - {zero}) x {float(made.scale.reshape(-1)[0]):.6g}"
