"""Bodies of If, Loop and Scan: what quantizes in them is counted, and said to be unread."""

from __future__ import annotations

from qdsl.finished.flow import is_dequantize, is_quantize
from qdsl.finished.records import Fault
from qdsl.finished.work import Work
from qdsl.graph.integer_operators import says_quantized
from qdsl.graph.view import GraphView, NodeView
from qdsl.spec.words import count


def tell_bodies(work: Work) -> None:
    """One fault for each node of the graph that has such a body."""
    for node in work.view.nodes:
        inside = [each for body in node.bodies.values() for each in _quantizing(body)]
        if inside:
            message = (
                f"{count(len(inside), 'node')} in its bodies that quantize or dequantize, the first a "
                f"{inside[0].op} `{inside[0].name[:80]}`"
            )
            work.faults["unread_body", node.name] = Fault("unread_body", node.name, "", message)


def _quantizing(body: GraphView) -> list[NodeView]:
    found = []
    for node in body.nodes:
        if is_quantize(node) or is_dequantize(node) or says_quantized(node.op):
            found.append(node)
        for inner in node.bodies.values():
            found += _quantizing(inner)
    return found
