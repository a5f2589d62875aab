"""What shape inference finds out inside the bodies of If, Loop and Scan, which are kept as they came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnx import AttributeProto, GraphProto, NodeProto, TypeProto


@dataclass(frozen=True, slots=True)
class BodyTypes:
    """One body: types of its tensors by name, and the bodies of its own nodes by node index and attribute."""

    tensors: Mapping[str, TypeProto]
    inner: Mapping[int, Mapping[str, BodyTypes]]


def types_of(node: NodeProto) -> dict[str, BodyTypes]:
    """The types inside the bodies of a node that inference has been through, by attribute. Nesting was bounded on
    loading."""
    return {
        attribute.name: _body(attribute.g) for attribute in node.attribute if attribute.type == AttributeProto.GRAPH
    }


def _body(graph: GraphProto) -> BodyTypes:
    infos = (*graph.input, *graph.value_info, *graph.output)
    inner = {index: types_of(node) for index, node in enumerate(graph.node)}
    return BodyTypes(
        {info.name: info.type for info in infos}, {index: found for index, found in inner.items() if found}
    )
