"""What will run in a dynamic build, without running it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from qdsl.capability import Capability, Dynamic
from qdsl.graph.view import GraphView, NodeView
from qdsl.predict.edges import float_edges
from qdsl.spec.plan import Prediction, TensorPlan, WeightPlan
from qdsl.targets.ort.fusions import merge_nodes
from qdsl.targets.ort.predict import predict

_BIAS = 2


def predict_dynamic(
    view: GraphView, tensors: Mapping[str, TensorPlan], weights: Sequence[WeightPlan], capability: Capability
) -> dict[str, Prediction]:
    """The prediction for every node of `view`, by node name, in graph order: planned nodes run in their integer kernel,
    everything else as it does in the float model. Linear in the size of the graph."""
    found = predict(view, {}, (), (), capability)
    for name, prediction in found.items():
        if prediction.runs == "float":
            found[name] = replace(prediction, because=capability.reasons["dynamic_none"])
    gone = _gone(view, capability)
    for products in _by_tensor(view, tensors, weights).values():
        for product in products:
            rule = capability.dynamic_for(product.nodes[0])
            assert rule is not None, "only nodes with a rule are planned"
            kernel = _kernel(product, rule, others=len(products) > 1)
            for node in product.nodes:
                found[node.name] = Prediction("integer", kernel, rule.name, rule.because)
            added = _vector_addition(view, product, gone) if kernel != rule.kernel else None
            if added is not None:
                why = capability.reasons["dynamic_vector_add"].format(kernel=kernel)
                found[added.name] = Prediction("absorbed", kernel, found[added.name].row, why)
    return {node.name: found[node.name] for node in view.nodes}


@dataclass(frozen=True, slots=True)
class _Product:
    """One integer operator: the nodes that are it (equal ones run once), and how many scales bring it to floats."""

    nodes: tuple[NodeView, ...]
    scales: int


def _gone(view: GraphView, capability: Capability) -> frozenset[str]:
    """Nodes that never run, since an equal one does."""
    if not capability.merges_equal:
        return frozenset()
    return frozenset(pair.gone for pair in merge_nodes(view, float_edges(view), capability)[1] if pair.equal)


def _by_tensor(
    view: GraphView, tensors: Mapping[str, TensorPlan], weights: Sequence[WeightPlan]
) -> dict[tuple[str, bool], list[_Product]]:
    """The integer operators on each quantized tensor. A Gemm that transposes its input reads integers of its own."""
    planned = {weight.node: weight for weight in weights}
    found: dict[tuple[str, bool], list[_Product]] = {}
    for name, plan in tensors.items():
        equal: dict[tuple[str, bool], dict[tuple[object, ...], list[NodeView]]] = {}
        for node in (view.node(reader.node) for reader in plan.readers):
            weight = planned[node.name]
            key = (weight.tensor, weight.scheme, weight.axis, *_shape_of_product(node))
            equal.setdefault((name, _turned(node)), {}).setdefault(key, []).append(node)
        for place, groups in equal.items():
            found[place] = [_Product(tuple(nodes), len({_alpha(n) for n in nodes})) for nodes in groups.values()]
    return found


def _shape_of_product(node: NodeView) -> tuple[object, ...]:
    """What makes two nodes over the same constants different integer operators."""
    if node.op == "Conv":
        return (node.op, *sorted((name, repr(value)) for name, value in node.attrs.items()))
    return (bool(node.attrs.get("transB", 0)) and node.op == "Gemm",)


def _turned(node: NodeView) -> bool:
    return node.op == "Gemm" and bool(node.attrs.get("transA", 0))


def _alpha(node: NodeView) -> object:
    return node.attrs.get("alpha", 1.0) if node.op == "Gemm" else 1.0


def _kernel(product: _Product, rule: Dynamic, *, others: bool) -> str:
    if not rule.fused or product.scales > 1:
        return rule.kernel
    return rule.fused if others else rule.unshared


def _vector_addition(view: GraphView, product: _Product, gone: frozenset[str]) -> NodeView | None:
    """The addition of a constant vector that alone reads what a product writes: it runs in the same kernel."""
    reader = _only_reader(view, product.nodes, gone)
    if reader is None or reader.op != "Add":
        return None
    constants = [name for name in reader.inputs if view.is_constant(name)]
    shape = view.tensors[constants[0]].shape if constants else None
    if not shape or any(dim != 1 for dim in shape[:-1]):
        return None
    return reader if isinstance(shape[-1], int) and shape[-1] > 1 else None


def _only_reader(view: GraphView, nodes: Iterable[NodeView], gone: frozenset[str]) -> NodeView | None:
    readers: dict[str, NodeView] = {}
    for node in nodes:
        made = view.tensors[node.outputs[0]]
        has_bias = node.op == "Gemm" and len(node.inputs) > _BIAS and bool(node.inputs[_BIAS])
        if has_bias or made.is_output or any(use.port < 0 for use in made.uses):
            return None
        readers |= {r.name: r for r in (view.nodes[use.node] for use in made.uses) if r.name not in gone}
        if sum(1 for use in made.uses if view.nodes[use.node].name not in gone) > 1:
            return None
    return next(iter(readers.values())) if len(readers) == 1 else None
