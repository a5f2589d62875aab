"""Where what a node writes is quantized: right there, or behind nodes that a kernel takes in with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qdsl.graph.moves import is_data_port
from qdsl.graph.structure_activations import activation, spelled
from qdsl.graph.view import GraphView, NodeView
from qdsl.plan.context import Context
from qdsl.spec.plan import Reader, TensorPlan


@dataclass(frozen=True, slots=True)
class Behind:
    """`type` is that of the pair through which all readers of the values go, "" where one reads floats; `past` are the
    operators between the node and its Q, in order: activations, a residual addition whose skip comes through a pair,
    nodes that only move values. `floats` says who reads floats, in words."""

    type: str = ""
    past: tuple[str, ...] = ()
    floats: str = ""


def quantized_behind(context: Context, tensors: Mapping[str, TensorPlan], node: NodeView) -> Behind:
    """What becomes of the first output of `node`. `tensors` are the pairs of the plan, by tensor."""
    if not node.outputs or not context.quantizable(node.outputs[0]):
        return Behind()
    tensor, past = node.outputs[0], list[str]()
    while True:
        plan = tensors.get(tensor)
        bare = _bare_readers(context.view, plan, tensor)
        if plan is not None and not bare:
            return Behind(plan.scheme.width, tuple(past))
        if plan is not None:
            return Behind("", tuple(past), f"{bare[0]}, beside the pair")
        found = _next(context, tensors, tensor)
        if isinstance(found, str):
            return Behind("", tuple(past), found)
        past.append(found[0])
        tensor = found[1]


def _bare_readers(view: GraphView, plan: TensorPlan | None, tensor: str) -> list[str]:
    """Who reads `tensor` in floats, in words."""
    found = view.tensors[tensor]
    through = set() if plan is None else set(plan.readers)
    bare = [
        f"{view.nodes[use.node].name} reads floats"
        for use in found.uses
        if Reader(view.nodes[use.node].name, use.port) not in through
    ]
    return bare + (["a graph output"] if found.is_output and Reader("", -1) not in through else [])


def _next(context: Context, tensors: Mapping[str, TensorPlan], tensor: str) -> tuple[str, str] | str:
    """The operator that alone takes the values of `tensor`, with what it writes; or why there is none."""
    view = context.view
    if view.tensors[tensor].is_output:
        return "a graph output"
    users = {use.node for use in view.tensors[tensor].uses}
    pattern = next((each for each in spelled(view) if each.tensor == tensor and users <= each.nodes), None)
    if pattern is not None:
        last = view.nodes[max(pattern.nodes)]
        return ("SiLU" if pattern.op == "Sigmoid" else pattern.op), last.outputs[0]
    if len(users) != 1:
        return _bare_readers(view, None, tensor)[0] if users else "nobody reads it"
    (index,) = users
    return _past(context, tensors, tensor, view.nodes[index])


def _past(context: Context, tensors: Mapping[str, TensorPlan], tensor: str, user: NodeView) -> tuple[str, str] | str:
    port = user.inputs.index(tensor)
    skip = context.skips.get(user.index)
    if skip is not None and skip != port:
        before = tensors.get(user.inputs[skip])
        if before is not None and before.read_by(user.name, skip):
            return user.op, user.outputs[0]
        return f"the skip of {user.name} comes in floats"
    if user.outputs and (user.index in activation(context.view) or is_data_port(user, port)):
        return user.op, user.outputs[0]
    return f"{user.name} reads floats"
