"""Element types of the tensors of a graph, as far as its file says them."""

from __future__ import annotations

from onnx import GraphProto, ModelProto

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
