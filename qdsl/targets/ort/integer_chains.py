"""What the runtime makes of integer products that a file spells out: MatMulInteger, Cast, Mul by both scales."""

from __future__ import annotations

from collections.abc import Iterator

from qdsl.graph.view import GraphView, NodeView
from qdsl.predict.edges import Edges
from qdsl.spec.plan import Prediction

_PRODUCT, _MEASURE = "MatMulInteger", "DynamicQuantizeLinear"
_FUSED, _WHOLE = "MatMulIntegerToFloat", "DynamicQuantizeMatMul"
_BITS, _BITS_BIAS = "MatMulNBits", 5
_FACTORS = 3  # what DynamicQuantizeLinear writes: integers, scale, zero point
_BECAUSE = "the runtime makes one operator of the integer product and what brings it to floats"


def chains(view: GraphView, edges: Edges) -> dict[str, Prediction]:
    """The verdicts on the nodes of such chains, by name; equal nodes are merged already. Linear in the size of the
    graph."""
    found: dict[str, Prediction] = {}
    for node in view.nodes:
        if node.op == _BITS:
            found |= _with_bias(view, edges, node)
        parts = _chain(view, edges, node)
        if parts is None:
            continue
        product, *others = parts
        kernel = _WHOLE if _measured_for(view, edges, product, parts[2]) else _FUSED
        found[product.name] = Prediction("integer", kernel, "", _BECAUSE)
        found.update((other.name, Prediction("absorbed", kernel, "", _BECAUSE)) for other in others)
    return found


def _chain(view: GraphView, edges: Edges, last: NodeView) -> list[NodeView] | None:
    """The product, the Cast, the product of the scales, the last Mul and the addition of a bias, if `last` is such a
    Mul."""
    cast, scales = _parent(view, last, "Cast"), _parent(view, last, "Mul")
    product = _parent(view, cast, _PRODUCT) if cast is not None else None
    if last.op != "Mul" or cast is None or scales is None or product is None:
        return None
    if not all(edges.written[node.outputs[0]].only_float for node in (cast, scales, product)):
        return None
    bias = _bias(view, edges, last)
    return [product, cast, scales, last, *([bias] if bias is not None else [])]


def _parent(view: GraphView, node: NodeView, op: str) -> NodeView | None:
    """The first node of `op` that writes something for `node`."""
    above = (view.producer(name) for name in node.inputs if name)
    return next((each for each in above if each is not None and each.op == op), None)


def _bias(view: GraphView, edges: Edges, last: NodeView) -> NodeView | None:
    """The Add of a constant vector that alone reads the result."""
    use = edges.written[last.outputs[0]].only_float
    reader = view.nodes[use.node] if use is not None and use.port >= 0 else None
    if reader is None or reader.op != "Add" or not view.is_constant(reader.inputs[1]):
        return None
    shape = view.tensors[reader.inputs[1]].shape
    fits = shape and all(dim == 1 for dim in shape[:-1]) and isinstance(shape[-1], int) and shape[-1] > 1
    return reader if fits else None


def _with_bias(view: GraphView, edges: Edges, node: NodeView) -> dict[str, Prediction]:
    """The addition of a vector behind a product with stored weights."""
    use = edges.written[node.outputs[0]].only_float
    reader = view.nodes[use.node] if use is not None and use.port >= 0 else None
    has_bias = len(node.inputs) > _BITS_BIAS and bool(node.inputs[_BITS_BIAS])
    if reader is None or reader.op != "Add" or has_bias:
        return {}
    other = next((name for name in reader.inputs if name != node.outputs[0]), "")
    if not other or view.tensors[other].shape != (node.attrs.get("N"),):
        return {}
    return {reader.name: Prediction("absorbed", node.op, "", "the addition of a vector runs in the product before it")}


def _measured_for(view: GraphView, edges: Edges, product: NodeView, scales: NodeView) -> bool:
    """Whether a DynamicQuantizeLinear works for this product alone."""
    measure = _parent(view, product, _MEASURE)
    if measure is None or len(measure.outputs) != _FACTORS:
        return False
    readers = list(_readers(edges, measure))
    return len(readers) == _FACTORS and set(readers) == {product.index, scales.index}


def _readers(edges: Edges, node: NodeView) -> Iterator[int]:
    for name in node.outputs:
        written = edges.written[name]
        yield from (use.node for use in written.floats)
        yield from (-1 for _ in written.quants)
        if written.graph_output:
            yield -1
