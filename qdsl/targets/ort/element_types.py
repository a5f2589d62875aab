"""Element types of the tensors of a graph, as far as its file says them."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import GraphProto, ModelProto, NodeProto

from qdsl.graph.integer_operators import Factor

_SMALL_TENSOR = 1024  # bytes


def light(model: ModelProto) -> ModelProto:
    """A copy without the values of large constants, of which no type depends."""
    copy = ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if len(tensor.raw_data) > _SMALL_TENSOR:
            tensor.ClearField("raw_data")
    return copy


def declared(graph: GraphProto) -> dict[str, int]:
    """ONNX element types by tensor name, of everything that the graph declares or stores."""
    found = {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info, *graph.output)}
    return found | {tensor.name: tensor.data_type for tensor in graph.initializer}


def factor_type(node: NodeProto, factor: Factor, types: Mapping[str, int]) -> int | None:
    """The element type of a factor: that of its zero point, or else of the tensor itself; None where none is known."""
    names = [node.input[port] for port in (factor.zero, factor.port) if port < len(node.input)]
    return next((types[name] for name in names if types.get(name)), None)
