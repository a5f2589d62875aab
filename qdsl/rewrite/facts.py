"""Named facts about a graph. Each names the first offenders; none of them means that it holds.

A pass lists facts under `requires` and `ensures`; the runner checks them. All are linear in the size of the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import onnx_graphsurgeon as gs

from qdsl.graph.model import Model
from qdsl.graph.sort import ordered

Fact = Callable[[Model], Iterator[str]]


def sorted_nodes(model: Model) -> Iterator[str]:
    """Every node stands after the nodes that it reads from."""
    nodes = model.nodes()
    place = {id(node): i for i, node in enumerate(nodes)}
    return (node.name for i, node in enumerate(nodes) if not ordered(node, i, place, model.tensor))


def linked(model: Model) -> Iterator[str]:
    """Every tensor that is read has a source, and the links between nodes and tensors agree in both directions."""
    inputs = {id(tensor) for tensor in model.graph.inputs}
    # As sets: a constant that the whole graph shares has as many readers as there are nodes.
    readers: dict[int, set[int]] = {}
    for node in model.nodes():
        for tensor in node.inputs:
            if id(tensor) not in readers:
                readers[id(tensor)] = {id(reader) for reader in tensor.outputs}
            if id(node) not in readers[id(tensor)]:
                yield f"{node.name} <- {tensor.name}"
            if tensor.name and not isinstance(tensor, gs.Constant) and not tensor.inputs and id(tensor) not in inputs:
                yield f"{node.name} <- {tensor.name}"
        for tensor in node.outputs:
            if len(tensor.inputs) != 1 or tensor.inputs[0] is not node:
                yield f"{node.name} -> {tensor.name}"


def unique_names(model: Model) -> Iterator[str]:
    """Every node has a name of its own."""
    seen: set[str] = set()
    for node in model.nodes():
        if not node.name or node.name in seen:
            yield str(node.name)
        seen.add(node.name)


def constants_are_initializers(model: Model) -> Iterator[str]:
    """No Constant node with a dense value."""
    from qdsl.passes.constant_nodes import dense_value

    return (node.name for node in model.nodes() if is_op(node, "Constant") and dense_value(node) is not None)


def no_identity(model: Model) -> Iterator[str]:
    """No Identity, except one that stands between two names that must both stay."""
    return (node.name for node in model.nodes() if is_op(node, "Identity") and bypass_obstacle(model, node) is None)


def no_dead_nodes(model: Model) -> Iterator[str]:
    """Every node has an output that somebody reads."""
    outputs = {id(tensor) for tensor in model.graph.outputs}
    for node in model.nodes():
        if not any(t.outputs or id(t) in outputs or model.captured(t) for t in node.outputs):
            yield str(node.name)


def no_batchnorm_after_conv(model: Model) -> Iterator[str]:
    """No inference BatchNormalization with constant parameters as the only reader of a Conv with constant weights."""
    from qdsl.passes.fold_batchnorm import foldable

    return (node.name for node in model.nodes() if isinstance(foldable(model, node), tuple))


def no_affine_after_conv(model: Model) -> Iterator[str]:
    """No Mul, Add, Sub or Div by a constant per channel as the only reader of a Conv with constant weights."""
    from qdsl.passes.fold_affine import foldable

    return (node.name for node in model.nodes() if isinstance(foldable(model, node), tuple))


def distinct_initializers(model: Model) -> Iterator[str]:
    """No two stored constants with equal type, shape and bytes."""
    from qdsl.passes.share_initializers import duplicates

    return (twin.name for _, twins in duplicates(model) for twin in twins)


def clips_normal(model: Model) -> Iterator[str]:
    """No Clip that is a Relu or does nothing, no Relu of a Relu, no Max and Min that are a Clip."""
    from qdsl.passes.normalise_clip import first_match

    return (node.name for node in model.nodes() if first_match(model, node) is not None)


def no_swish(model: Model) -> Iterator[str]:
    """No Swish of float32."""
    from qdsl.passes.normalise_swish import is_float_swish

    return (node.name for node in model.nodes() if is_float_swish(node))


def pools_normal(model: Model) -> Iterator[str]:
    """No ReduceMean that is a GlobalAveragePool, no AveragePool with dilations of 1."""
    from qdsl.passes.normalise_pool import Plane, has_idle_dilations, plane_mean

    return (
        node.name for node in model.nodes() if isinstance(plane_mean(model, node), Plane) or has_idle_dilations(node)
    )


FACTS: dict[str, Fact] = {
    "clips_normal": clips_normal,
    "constants_are_initializers": constants_are_initializers,
    "distinct_initializers": distinct_initializers,
    "linked": linked,
    "no_affine_after_conv": no_affine_after_conv,
    "no_batchnorm_after_conv": no_batchnorm_after_conv,
    "no_dead_nodes": no_dead_nodes,
    "no_identity": no_identity,
    "no_swish": no_swish,
    "pools_normal": pools_normal,
    "sorted": sorted_nodes,
    "unique_names": unique_names,
}


def offenders(model: Model, fact: str, most: int = 3) -> tuple[str, ...]:
    """The first nodes or tensors that break a fact. KeyError for a name that is not a fact."""
    return tuple(islice(FACTS[fact](model), most))


def is_op(node: gs.Node, *ops: str) -> bool:
    """Whether the node is one of these operators of ai.onnx."""
    return node.op in ops and not node.domain


def bypass_obstacle(model: Model, node: gs.Node) -> str | None:
    """Why a node whose output equals its first input cannot be taken out; None when it can.

    A graph output keeps its name. It can move to the tensor before it only where that one's name is free to change."""
    source, target = node.inputs[0], node.outputs[0]
    if model.captured(target):
        return "a body reads its output by name"
    if not model.is_output(target):
        return None
    if isinstance(source, gs.Constant) or not source.inputs:
        return "it joins a graph input or constant to a graph output"
    if model.is_output(source):
        return "it joins two graph outputs"
    return "a body reads its input by name" if model.captured(source) else None
