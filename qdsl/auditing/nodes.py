"""The QuantizeLinear and DequantizeLinear nodes of a file with what they belong to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import standing
from qdsl.auditing.telling import listed
from qdsl.diag import Severity
from qdsl.finished.records import Form, QuantizedTensor
from qdsl.graph.view import NodeView

_BY_NODES = frozenset({Form.PAIR, Form.STORED, Form.FLOAT_PAIR, Form.LONE_QUANTIZE, Form.LONE_DEQUANTIZE})
QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


def pair_nodes(audited: Audited) -> Iterator[tuple[NodeView, QuantizedTensor]]:
    """Every QuantizeLinear and DequantizeLinear of ONNX or of ONNX Runtime, in graph order."""
    at = standing(audited).at
    for node in audited.finished.view.nodes:
        record = at.get(node.name) if node.op in (QUANTIZE, DEQUANTIZE) else None
        if record is not None:
            yield node, record


def of_pairs(audited: Audited) -> Iterator[QuantizedTensor]:
    """The tensors that QuantizeLinear or DequantizeLinear nodes speak of, in graph order."""
    return (each for each in audited.finished.tensors if each.form in _BY_NODES)


def of_onnx(node: NodeView) -> bool:
    """Whether a node is one of ai.onnx, whose types and attributes depend on the opset."""
    return node.domain in ("", "ai.onnx")


def told_of_nodes(rule: str, severity: Severity, nodes: Sequence[NodeView], has: str, why: str) -> Finding:
    """One finding of `nodes` that have the same: its place is the first of them."""
    names = [node.name for node in nodes]
    return Finding(
        rule,
        severity,
        Place("node", names[0]),
        f"{listed(names)} {'have' if len(names) > 1 else 'has'} {has}",
        why,
        also=tuple(Place("node", name) for name in names[1:]),
    )
