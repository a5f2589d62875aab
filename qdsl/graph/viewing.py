"""From the editable graph to the light view."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from qdsl.graph.body_views import body_views, plain_attr
from qdsl.graph.constants import lazy_of
from qdsl.graph.dtypes import PACKED, number_of, numpy_type, type_name
from qdsl.graph.meta import meta_of, scopes_of
from qdsl.graph.view import GraphView, NodeView, TensorView, Use

_SMALL_ELEMENTS = 64


def view_of(model: Any) -> GraphView:
    """The view of a model whose nodes are in order. A tensor that a node's body reads by name has a Use with port
    -1."""
    uses = _uses(model)
    producers = {id(t): i for i, node in enumerate(model.graph.nodes) for t in node.outputs if t.name}
    outputs = {id(tensor) for tensor in model.graph.outputs}
    tensors: dict[str, TensorView] = {}
    small: dict[str, tuple[int | float | bool, ...]] = {}
    for tensor in _tensors(model):
        if tensor.name in tensors:
            continue
        tensors[tensor.name] = _tensor(
            tensor, producers.get(id(tensor)), tuple(uses.get(id(tensor), ())), id(tensor) in outputs
        )
        if isinstance(tensor, gs.Constant):
            value = _small(tensor)
            small |= {} if value is None else {tensor.name: value}
    bare = GraphView(
        nodes=(),
        tensors=tensors,
        inputs=tuple(tensor.name for tensor in model.graph.inputs),
        outputs=tuple(tensor.name for tensor in model.graph.outputs),
        opset=model.opset,
        small=small,
        model_name=model.name,
    )
    return replace(bare, nodes=tuple(_node(i, node, bare) for i, node in enumerate(model.graph.nodes)))


def _tensors(model: Any) -> list[gs.Tensor]:
    """In order of first appearance: inputs, then what each node reads and writes."""
    found = list(model.graph.inputs)
    for node in model.graph.nodes:
        captured = (model.tensor(name) for name in meta_of(node).captured)
        found += [t for t in (*node.inputs, *captured, *node.outputs) if t is not None and t.name]
    return found + list(model.graph.outputs)


def _uses(model: Any) -> dict[int, list[Use]]:
    uses: dict[int, list[Use]] = {}
    for i, node in enumerate(model.graph.nodes):
        for port, tensor in enumerate(node.inputs):
            uses.setdefault(id(tensor), []).append(Use(i, port))
        for name in meta_of(node).captured:
            uses.setdefault(id(model.tensor(name)), []).append(Use(i, -1))
    return uses


def _node(index: int, node: gs.Node, outer: GraphView) -> NodeView:
    meta = meta_of(node)
    return NodeView(
        index=index,
        name=node.name,
        op=node.op,
        domain=node.domain or "",
        inputs=tuple(tensor.name for tensor in node.inputs),
        outputs=tuple(tensor.name for tensor in node.outputs),
        attrs={name: plain_attr(value) for name, value in node.attrs.items()},
        scopes=scopes_of(node.name, meta.metadata),
        bodies=body_views(node.attrs, meta.body_types, outer),
    )


def _tensor(tensor: gs.Tensor, producer: int | None, uses: tuple[Use, ...], is_output: bool) -> TensorView:
    if isinstance(tensor, gs.Constant):
        value = lazy_of(tensor)
        return TensorView(tensor.name, "constant", type_name(value.element_type), value.shape, None, uses, is_output)
    dtype = None if tensor.dtype is None else type_name(number_of(tensor.dtype))
    shape = None if tensor.shape is None else tuple(tensor.shape)
    kind = "input" if producer is None else "activation"
    return TensorView(tensor.name, kind, dtype, shape, producer, uses, is_output)


def _small(constant: gs.Constant) -> tuple[int | float | bool, ...] | None:
    value = lazy_of(constant)
    plain = numpy_type(value.element_type)
    if prod(value.shape) > _SMALL_ELEMENTS or (plain is None and type_name(value.element_type) not in PACKED):
        return None
    if plain is not None and plain.kind == "c":
        return None
    return tuple(np.asarray(value.load()).reshape(-1).tolist())
