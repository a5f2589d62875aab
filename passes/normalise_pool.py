"""Spell average pooling in one way.

Rules, on float32 tensors, where the plane is all axes but the first two:

    ReduceMean(x, plane), keepdims      ->  GlobalAveragePool(x)             x of rank 4 or 5
    ReduceMean(x, plane)                ->  Flatten(GlobalAveragePool(x))    the same with keepdims = 0, and of rank 3
    ReduceMean(ReduceMean(x, a), b)     ->  as the mean over a and b, where nobody else reads the inner one
    ReduceMean(Transpose(x), [1, 2])    ->  as the mean over the plane of x, channels last
    AveragePool with dilations of 1     ->  the same without the attribute, which kernels of older opsets do not know

A mean over the last axis of rank 3 that keeps it is left alone: it may be part of a LayerNormalization spelled out.
Axes are an attribute of ReduceMean below opset 18 and an input from there on; either is read, negative ones, too.
Refuses a ReduceMean over two axes that are computed or whose input has no known rank: it may be another mean.
Guarantees that a mean over the plane is one GlobalAveragePool of the node's name; the same sums, divided once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import onnx_graphsurgeon as gs

from qdsl.graph.constants import lazy_of
from qdsl.graph.edit import add_node, become, exchange_outputs, remove_node, replace_input, set_attr
from qdsl.graph.meta import meta_of
from qdsl.graph.model import Model
from qdsl.graph.walk import inner, only_writer
from qdsl.passes.constant_nodes import constants_are_initializers
from qdsl.rewrite import Changes, Fact, Outcome, Rewrite
from qdsl.rewrite.facts import is_op

_IMAGE = 4
_TO_LAST = [0, 2, 3, 1]


class Plane(NamedTuple):
    """A mean over the plane of `data`. `behind`: how its channels stand at the end where that is another place."""

    data: gs.Tensor
    keeps: bool
    behind: tuple[int, ...] = ()


class _Mean(NamedTuple):
    data: gs.Tensor
    rank: int
    axes: frozenset[int]
    keeps: bool


def pools_normal(model: Model) -> Iterator[str]:
    """No ReduceMean that is a GlobalAveragePool, no AveragePool with dilations of 1."""
    return (
        node.name for node in model.nodes() if isinstance(plane_mean(model, node), Plane) or has_idle_dilations(node)
    )


@dataclass(frozen=True, slots=True)
class NormalisePool(Rewrite):
    """No options."""

    name: ClassVar[str] = "normalise_pool"
    summary: ClassVar[str] = "spell average pooling in one way"
    requires: ClassVar[tuple[Fact, ...]] = (constants_are_initializers,)
    ensures: ClassVar[tuple[Fact, ...]] = (pools_normal,)

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        for node in model.nodes():
            if has_idle_dilations(node):
                changes.fire("pool_dilations", [node.name])
                set_attr(node, "dilations", None)
            found = plane_mean(model, node)
            if isinstance(found, str):
                changes.refuse(node.name, found)
            elif found is not None:
                changes.fire("reduce_mean_is_pool", [node.name])
                _to_pool(model, node, found)
        return changes.outcome()


def has_idle_dilations(node: gs.Node) -> bool:
    """Whether an AveragePool says that it skips nothing."""
    return is_op(node, "AveragePool") and set(node.attrs.get("dilations", ())) == {1}


def plane_mean(model: Model, node: gs.Node) -> Plane | str | None:
    """What a ReduceMean averages, if that is the plane of float32 maps; why that is not known."""
    mean = _mean(node)
    if not isinstance(mean, _Mean):
        return mean
    inner = _inner(model, mean)
    mean = mean if inner is None else inner
    if mean.axes == frozenset(range(2, mean.rank)) and (mean.rank >= _IMAGE or not mean.keeps):
        return Plane(mean.data, mean.keeps)
    turn = mean.data.inputs[0] if mean.rank == _IMAGE and mean.axes == {1, 2} and mean.data.inputs else None
    if turn is not None and is_op(turn, "Transpose") and list(turn.attrs.get("perm", ())) == _TO_LAST:
        return Plane(turn.inputs[0], mean.keeps, tuple(_TO_LAST))
    return None


def _mean(node: gs.Node) -> _Mean | str | None:
    """A ReduceMean of float32 over some axes; why that is not known where it may be the plane of an image."""
    if not is_op(node, "ReduceMean") or not node.outputs:
        return None
    data = node.inputs[0]
    if isinstance(data, gs.Constant) or data.dtype != np.float32:
        return None
    axes = _axes(node)
    if isinstance(axes, str):
        return axes if data.shape is not None and len(data.shape) == _IMAGE else None
    if data.shape is None:
        return "the rank of its input is not known" if len(axes) == _IMAGE - 2 else None
    rank = len(data.shape)
    if not axes or rank <= 2:
        return None
    return _Mean(data, rank, frozenset(axis % rank for axis in axes), bool(node.attrs.get("keepdims", 1)))


def _inner(model: Model, outer: _Mean) -> _Mean | None:
    """The mean over the axes of both, where `outer` alone reads another mean."""
    writer = only_writer(model, outer.data)
    inner = None if writer is None else _mean(writer)
    if not isinstance(inner, _Mean) or inner.keeps != outer.keeps:
        return None
    left = range(inner.rank) if inner.keeps else [axis for axis in range(inner.rank) if axis not in inner.axes]
    both = inner.axes | {left[axis] for axis in outer.axes}
    # The same count in every mean that is averaged again: an axis twice changes nothing.
    return _Mean(inner.data, inner.rank, both, inner.keeps)


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


def _to_pool(model: Model, node: gs.Node, plane: Plane) -> None:
    before, (data, keeps, behind) = node.inputs[0], plane
    become(model, node, "GlobalAveragePool", [data])
    _forget(model, before, data)
    if keeps and not behind:
        return
    op, attrs = ("Transpose", {"perm": list(behind)}) if keeps else ("Flatten", {})
    metadata = dict(meta_of(node).metadata)
    name, output = f"{node.name}_{op}", f"{node.outputs[0].name}_pooled"
    last = add_node(model, op, [], name=name, output_name=output, attrs=attrs, metadata=metadata)
    exchange_outputs(model, node, last)
    pooled = node.outputs[0]
    pooled.dtype, pooled.shape = data.dtype, (*data.shape[:2], *[1] * (len(data.shape) - 2))
    replace_input(model, last, 0, pooled)


def _forget(model: Model, tensor: gs.Tensor, until: gs.Tensor) -> None:
    """What wrote `tensor` from `until` goes where nobody reads it any more."""
    while tensor is not until and inner(model, tensor, 0):
        writer = tensor.inputs[0]
        tensor = writer.inputs[0]
        remove_node(model, writer)
