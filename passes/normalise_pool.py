"""Spell average pooling in one way.

Rules, on float32 tensors:

    ReduceMean(x, H and W), keepdims    ->  GlobalAveragePool(x)             x of rank 4
    ReduceMean(x, H and W)              ->  Flatten(GlobalAveragePool(x))    the same with keepdims = 0
    AveragePool with dilations of 1     ->  the same without the attribute, which kernels of older opsets do not know

Axes are an attribute of ReduceMean below opset 18 and an input from there on; either is read, negative ones, too.
Refuses a ReduceMean over two axes that are computed or whose input has no known rank: it may be another mean.
Guarantees that a mean over height and width is one GlobalAveragePool of the node's name; the same sums, divided once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from qdsl.graph.constants import lazy_of
from qdsl.graph.edit import add_node, become, exchange_outputs, replace_input, set_attr
from qdsl.graph.meta import meta_of
from qdsl.graph.model import Model
from qdsl.rewrite import Changes, Outcome, Rewrite
from qdsl.rewrite.facts import is_op

_RANK, _PLANE = 4, {2, 3}


@dataclass(frozen=True, slots=True)
class NormalisePool(Rewrite):
    """No options."""

    name: ClassVar[str] = "normalise_pool"
    summary: ClassVar[str] = "spell average pooling in one way"
    requires: ClassVar[tuple[str, ...]] = ("constants_are_initializers",)
    ensures: ClassVar[tuple[str, ...]] = ("pools_normal",)

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        for node in model.nodes():
            if has_idle_dilations(node):
                changes.fire("pool_dilations", [node.name])
                set_attr(node, "dilations", None)
            found = plane_mean(node)
            if isinstance(found, str):
                changes.refuse(node.name, found)
            elif found:
                changes.fire("reduce_mean_is_pool", [node.name])
                _to_pool(model, node)
        return changes.outcome()


def has_idle_dilations(node: gs.Node) -> bool:
    """Whether an AveragePool says that it skips nothing."""
    return is_op(node, "AveragePool") and set(node.attrs.get("dilations", ())) == {1}


def plane_mean(node: gs.Node) -> bool | str:
    """Whether a ReduceMean averages over height and width of float32 maps; why that is not known."""
    if not is_op(node, "ReduceMean") or not node.outputs:
        return False
    data = node.inputs[0]
    if isinstance(data, gs.Constant) or data.dtype != np.float32:
        return False
    axes = _axes(node)
    if isinstance(axes, str):
        return axes if data.shape is not None and len(data.shape) == _RANK else False
    if len(axes) != len(_PLANE):
        return False
    if data.shape is None:
        return "the rank of its input is not known"
    return len(data.shape) == _RANK and {axis % _RANK for axis in axes} == _PLANE


def _axes(node: gs.Node) -> tuple[int, ...] | str:
    """The axes as the node gives them, none for all."""
    if "axes" in node.attrs:
        return tuple(node.attrs["axes"])
    tensor = node.inputs[1] if len(node.inputs) > 1 else None
    if tensor is None or not tensor.name:
        return ()
    if not isinstance(tensor, gs.Constant):
        return "its axes are computed"
    return tuple(lazy_of(tensor).load().reshape(-1).tolist())


def _to_pool(model: Model, node: gs.Node) -> None:
    data, keeps = node.inputs[0], node.attrs.get("keepdims", 1)
    become(model, node, "GlobalAveragePool", [data])
    if keeps:
        return
    metadata = dict(meta_of(node).metadata)
    name = f"{node.name}_Flatten"
    flat = add_node(model, "Flatten", [], name=name, output_name=f"{node.outputs[0].name}_pooled", metadata=metadata)
    exchange_outputs(model, node, flat)
    pooled = node.outputs[0]
    pooled.dtype, pooled.shape = data.dtype, (*data.shape[:2], 1, 1)
    replace_input(model, flat, 0, pooled)
