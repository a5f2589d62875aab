"""What TensorRT reads in integers though nothing dequantizes it right there, as its predictor knows it
(`qdsl.predict.carried`)."""

from __future__ import annotations

from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import once_per_audit
from qdsl.graph.view import NodeView, Use
from qdsl.predict.carried import carry
from qdsl.predict.edges import Edges


def reads_carried(audited: Audited, node: NodeView, port: int) -> bool:
    """Whether TensorRT has `node` read the integers of a pair at that port."""
    index = audited.collapsed.view.node_index.get(node.name)
    return index is not None and Use(index, port) in _carried(audited).reads


@once_per_audit
def _carried(audited: Audited) -> Edges:
    """The edges of the file, with what is carried over nodes that only move values."""
    edges = audited.collapsed.edges.copied()
    carry(audited.collapsed.view, edges)
    return edges
