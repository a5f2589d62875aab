"""Whether the types of an emitted file agree, node by node, as a strongly typed network of TensorRT asks: one type for
all ports that ONNX's schema of the operator gives one type (the input, weight and bias of a Conv), and what a
DequantizeLinear writes as its scale is.

Types come from the file's own constants and inputs, through ONNX's inference; what the file declares of tensors is not
believed. What no schema knows is passed over: the target's parser refuses it by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import chain

import onnx
from onnx import ModelProto, NodeProto, TensorProto

from qdsl.graph.dtypes import type_name

_HEAVY = 64  # bytes; types and small shapes are all that inference reads


def disagreement(proto: ModelProto) -> str:
    """The first node, or else graph output, whose types do not agree, and how, in words; "" where all do."""
    types = _types(proto)
    opset = next(entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx"))
    nodes = (fault for node in proto.graph.node for fault in _faults(node, types, opset))
    return next(chain(nodes, _outputs(proto, types)), "")


def _outputs(proto: ModelProto, types: Mapping[str, int]) -> Iterator[str]:
    for value in proto.graph.output:
        said, kind = value.type.tensor_type.elem_type, types.get(value.name, 0)
        if said and kind and said != kind:
            yield f"the graph output `{value.name}` is declared as {type_name(said)}, and is {type_name(kind)}"


def _types(proto: ModelProto) -> dict[str, int]:
    """The element type of every tensor whose type is known."""
    bare = ModelProto()
    bare.CopyFrom(proto)
    del bare.graph.value_info[:]
    for value in bare.graph.output:
        value.type.tensor_type.ClearField("elem_type")
    for constant in bare.graph.initializer:
        if len(constant.raw_data) > _HEAVY:
            _empty(constant)
    graph = onnx.shape_inference.infer_shapes(bare).graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info, *graph.output)}
    return types | {constant.name: constant.data_type for constant in graph.initializer}


def _empty(constant: TensorProto) -> None:
    """Leave type and shape alone: the values lie elsewhere, and nobody reads them."""
    constant.ClearField("raw_data")
    constant.data_location = TensorProto.EXTERNAL
    constant.external_data.add(key="location", value="nowhere")


def _faults(node: NodeProto, types: Mapping[str, int], opset: int) -> Iterator[str]:
    if node.domain not in ("", "ai.onnx"):
        return
    schema = _words(node.op_type, opset)
    if schema is None:
        return
    seen: dict[str, tuple[str, int]] = {}
    for formal, names, side in ((schema[0], node.input, "input"), (schema[1], node.output, "output")):
        for port, name in enumerate(names):
            kind = types.get(name, 0)
            word = formal[min(port, len(formal) - 1)] if formal else ""
            if not name or not kind or word.startswith(("tensor(", "seq(", "optional(")):
                continue
            here = f"{side} {port}"
            place, known = seen.setdefault(word, (here, kind))
            if known != kind:
                yield f"`{node.name}` ({node.op_type}): {place} is {type_name(known)}, {here} is {type_name(kind)}"


@cache
def _words(op: str, opset: int) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """The type word of each input and output; the last may repeat. None for an operator that ONNX does not have."""
    try:
        schema = onnx.defs.get_schema(op, max_inclusive_version=opset)
    except onnx.defs.SchemaError:
        return None
    return tuple(one.type_str for one in schema.inputs), tuple(one.type_str for one in schema.outputs)
