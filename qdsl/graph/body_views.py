"""The bodies of If, Loop and Scan as views: to be counted and looked at, never edited."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, TypeProto, numpy_helper

from qdsl.graph.body_types import BodyTypes
from qdsl.graph.dtypes import numpy_type, type_name
from qdsl.graph.importer import attr_value, shape_of
from qdsl.graph.view import AttrValue, GraphView, NodeView, TensorView

_SMALL_ELEMENTS = 64
_NOTHING = BodyTypes({}, {})
Small = Mapping[str, tuple[int | float | bool, ...]]


def body_views(attributes: Mapping[str, Any], types: Mapping[str, BodyTypes], outer: GraphView) -> dict[str, GraphView]:
    """The bodies among a node's attributes, by name. `outer` is the graph that they may read from: its tensors and
    small values are theirs, too. Nesting was bounded on loading."""
    found = {}
    for name, value in attributes.items():
        if isinstance(value, AttributeProto) and value.type == AttributeProto.GRAPH:
            found[name] = _view(value.g, types.get(name, _NOTHING), outer)
    return found


def _view(graph: GraphProto, types: BodyTypes, outer: GraphView) -> GraphView:
    constants = [*graph.initializer, *(value for node in graph.node for value in _held(node))]
    small = {tensor.name: value for tensor in constants if (value := _small(tensor)) is not None}
    tensors: dict[str, TensorView] = {}
    for index, node in enumerate(graph.node):
        tensors.update((name, _tensor(name, types.tensors.get(name), index)) for name in node.output if name)
    for info in graph.input:
        tensors[info.name] = _tensor(info.name, types.tensors.get(info.name, info.type), None)
    for tensor in constants:
        shape = tuple(tensor.dims)
        tensors[tensor.name] = TensorView(tensor.name, "constant", type_name(tensor.data_type), shape, None, (), False)
    here = GraphView(
        nodes=(),
        tensors=ChainMap(tensors, outer.tensors),  # type: ignore[arg-type]  # read only
        inputs=tuple(info.name for info in graph.input),
        outputs=tuple(info.name for info in graph.output),
        opset=outer.opset,
        small=ChainMap(small, outer.small),  # type: ignore[arg-type]
        model_name=outer.model_name,
    )
    nodes = tuple(_node(index, node, types.inner.get(index, {}), here) for index, node in enumerate(graph.node))
    return replace(here, nodes=nodes)


def _held(node: NodeProto) -> list[TensorProto]:
    """The value of a Constant node, under the name of what it writes."""
    if node.op_type != "Constant" or node.domain not in ("", "ai.onnx"):
        return []
    found = [attribute.t for attribute in node.attribute if attribute.name == "value"]
    made = [TensorProto() for _ in found]
    for copy, tensor in zip(made, found, strict=True):
        copy.CopyFrom(tensor)
        copy.name = node.output[0]
    return made


def _small(tensor: TensorProto) -> tuple[int | float | bool, ...] | None:
    plain = numpy_type(tensor.data_type)
    if plain is None or plain.kind == "c" or prod(tensor.dims) > _SMALL_ELEMENTS:
        return None
    return tuple(numpy_helper.to_array(tensor).reshape(-1).tolist())


def _tensor(name: str, known: TypeProto | None, producer: int | None) -> TensorView:
    dense = known is not None and known.HasField("tensor_type")
    dtype = type_name(known.tensor_type.elem_type) if known is not None and dense else None
    shape = shape_of(known) if known is not None and dense and known.tensor_type.HasField("shape") else None
    return TensorView(name, "input" if producer is None else "activation", dtype, shape, producer, (), False)


def _node(index: int, node: NodeProto, types: Mapping[str, BodyTypes], here: GraphView) -> NodeView:
    values = {attribute.name: attr_value(attribute) for attribute in node.attribute}
    return NodeView(
        index=index,
        name=node.name or f"{node.op_type}_{index}",
        op=node.op_type,
        domain="" if node.domain == "ai.onnx" else node.domain,
        inputs=tuple(node.input),
        outputs=tuple(node.output),
        attrs={name: plain_attr(value) for name, value in values.items()},
        scopes=(),
        bodies=body_views(values, types, here),
    )


def plain_attr(value: Any) -> AttrValue:
    """An attribute as a view shows it: scalars and tuples; tensors and bodies are there, and None."""
    if isinstance(value, list | tuple):
        return tuple(value)
    if isinstance(value, int | float | str):
        return value
    return None
