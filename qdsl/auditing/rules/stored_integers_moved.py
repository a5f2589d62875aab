"""Stored integers that something else than a DequantizeLinear reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Fix, Place
from qdsl.auditing.nodes import DEQUANTIZE, QUANTIZE, of_pairs
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import TENSORRT, once_per_audit
from qdsl.auditing.telling import shown
from qdsl.diag import Severity
from qdsl.finished.records import Form
from qdsl.graph.integer_operators import says_quantized
from qdsl.graph.view import GraphView, NodeView

_QUANTIZED = frozenset({"int8", "int4"})  # uint8 may be something else, unless it is dequantized
_TAKE = frozenset({QUANTIZE, DEQUANTIZE, "Shape", "Size"})
_BOUNDS = (1, 2)  # of a Clip
PAD, FILL = "Pad", 2


class Check:
    id: ClassVar[str] = "stored_integers_moved"
    summary: ClassVar[str] = "something else than a DequantizeLinear reads stored integers"
    explanation: ClassVar[str] = (
        "TensorRT's builder refuses the file: a constant of int8 may be read by a DequantizeLinear alone (Quantized "
        "constant is only allowed before DQ, seen with TensorRT-RTX 1.7.1), and not by a Clip that narrows its range, "
        "a Transpose, a Cast or a Gather, nor be the fill of a Pad of integers. What a Clip or a Transpose makes of "
        "the constant can be stored in its place, and a fill of 0 left out. Behind the DequantizeLinear a Transpose or "
        "a Reshape costs nothing."
    )
    severity: ClassVar[Severity] = Severity.ERROR
    targets: ClassVar[tuple[str, ...]] = (TENSORRT,)

    def check(self, audited: Audited) -> Iterator[Finding]:
        view, folded = audited.finished.view, _folded(audited)
        for node in view.nodes:
            types = _QUANTIZED | {"uint8"} if node.name in folded else _QUANTIZED
            port = next((at for at in range(len(node.inputs)) if _is_misread(view, node, at, types)), None)
            if port is not None:
                yield Finding(
                    self.id,
                    Severity.ERROR,
                    Place("node", node.name, port),
                    f"{shown(node.name)} reads the stored integers {shown(node.inputs[port])}",
                    "TensorRT does not build it: a constant of integers goes straight into a DequantizeLinear",
                    fix=_fix(audited, node),
                )


def _is_misread(view: GraphView, node: NodeView, port: int, types: frozenset[str]) -> bool:
    if node.op in _TAKE or says_quantized(node.op) or not _is_stored(view, node.inputs[port], types):
        return False
    return not (node.op == "Clip" and port in _BOUNDS and not _is_stored(view, node.inputs[0], types))


def _is_stored(view: GraphView, tensor: str, types: frozenset[str]) -> bool:
    seen = view.tensors.get(tensor)
    return seen is not None and seen.kind == "constant" and seen.dtype in types


def _fix(audited: Audited, node: NodeView) -> Fix | None:
    if node.name in _folded(audited) or (node.op == PAD and len(node.inputs) > FILL):
        return Fix(rewrite="stored_integers", exact=True)
    return None


@once_per_audit
def _folded(audited: Audited) -> frozenset[str]:
    """The nodes between stored integers and their DequantizeLinear."""
    stored = (each for each in of_pairs(audited) if each.form is Form.STORED)
    return frozenset(name for each in stored for name in each.between)
