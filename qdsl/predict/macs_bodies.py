"""Multiply-accumulates inside If, Loop and Scan: those of the body, as often as it runs."""

from __future__ import annotations

from collections.abc import Callable

from qdsl.graph.view import GraphView, NodeView
from qdsl.predict.macs_shapes import dim, given, times, total

Count = Callable[[GraphView, NodeView], int | None]
_FIRST_FLAT_SCAN = 9  # before, a Scan had a batch of its own
_PASSES_ON = ("Identity", "Cast")


def branches(view: GraphView, node: NodeView, count: Count) -> int | None:
    """If: the larger branch, which is what it may cost."""
    found = [_inside(body, count) for body in node.bodies.values()]
    known = [each for each in found if each is not None]
    return max(known, default=0) if len(known) == len(found) else None


def loop(view: GraphView, node: NodeView, count: Count) -> int | None:
    """Loop: known where a constant says how often, and nothing ends it before."""
    body = node.bodies.get("body")
    if body is None:
        return None
    often = view.small.get(given(node, 0))
    first = given(node, 1)
    starts = not first or view.small.get(first) == (True,)
    endless = starts and len(body.inputs) > 1 and len(body.outputs) > 0 and _stays(body)
    return times(_inside(body, count), int(often[0]) if often and endless else None)


def scan(view: GraphView, node: NodeView, count: Count) -> int | None:
    """Scan: once for each slice of what it scans."""
    body = node.bodies.get("body")
    if body is None:
        return None
    scanned = node.attrs.get("num_scan_inputs")
    axes = node.attrs.get("scan_input_axes")
    if view.opset < _FIRST_FLAT_SCAN or not isinstance(scanned, int) or not 0 < scanned <= len(node.inputs):
        return times(_inside(body, count), None)
    axis = axes[0] if isinstance(axes, tuple) and axes and isinstance(axes[0], int) else 0
    return times(_inside(body, count), dim(view, node.inputs[-scanned], axis))


def sequence_map(view: GraphView, node: NodeView, count: Count) -> int | None:
    """SequenceMap: how long a sequence is, no shape says."""
    body = node.bodies.get("body")
    return None if body is None else times(_inside(body, count), None)


def _inside(body: GraphView, count: Count) -> int | None:
    return total(count(body, node) for node in body.nodes)


def _stays(body: GraphView) -> bool:
    """Whether the condition that a body of Loop hands on is true for good: a constant, or what it was given."""
    name = body.outputs[0]
    for _ in range(len(body.nodes) + 1):
        if body.small.get(name) == (True,) or name == body.inputs[1]:
            return True
        writer = next((node for node in body.nodes if name in node.outputs), None)
        if writer is None or writer.op not in _PASSES_ON:
            return False
        name = given(writer, 0)
    return False
