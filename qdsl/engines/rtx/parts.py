"""A model in parts that are parsed one by one: a parser that refuses a model stops at its first bad node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx
from onnx import ModelProto, NodeProto, TensorProto, TypeProto, ValueInfoProto, helper

from qdsl.graph.integer_operators import computes_in_integers

_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_ZERO = 2  # the port of a zero point
_ALONE = frozenset({_QUANTIZE, _DEQUANTIZE, "DynamicQuantizeLinear"})


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known by the names of tensors."""

    types: Mapping[str, TypeProto]
    constants: Mapping[str, TensorProto]
    writers: Mapping[str, NodeProto]


def parts(model: ModelProto) -> list[ModelProto]:
    """Models of one node that holds integers, or of a QuantizeLinear with one of its DequantizeLinear nodes, one for
    each."""
    known = _known(model)
    made = []
    for node in model.graph.node:
        source = known.writers.get(node.input[0]) if node.input else None
        if node.op_type == _DEQUANTIZE and source is not None and source.op_type == _QUANTIZE:
            made.append(_part(model, [source, node], known))
        elif node.op_type in _ALONE or computes_in_integers(node.op_type):
            made.append(_part(model, [node], known))
    return made


def _known(model: ModelProto) -> _Known:
    try:
        typed = onnx.shape_inference.infer_shapes(model)
    except Exception:  # the C++ side throws several types; what is wrong with the file is for the parser to say
        typed = model
    told = (*typed.graph.value_info, *typed.graph.input, *typed.graph.output)
    return _Known(
        {each.name: each.type for each in told},
        {each.name: each for each in model.graph.initializer},
        {name: node for node in model.graph.node for name in node.output if name},
    )


def _part(model: ModelProto, nodes: list[NodeProto], known: _Known) -> ModelProto:
    writers = [known.writers.get(name) for node in nodes for name in node.input]
    held = {id(each): each for each in writers if each is not None and each.op_type == "Constant"}
    within = {name for node in (*nodes, *held.values()) for name in node.output}
    read = dict.fromkeys(name for node in nodes for name in node.input if name and name not in within)
    integers = {node.input[0]: _zero_type(node, known) for node in nodes if node.op_type == _DEQUANTIZE}
    inputs = [_typed(name, known, integers) for name in read if name not in known.constants]
    outputs = [_typed(name, known, {}) for name in nodes[-1].output if name]
    stored = [known.constants[name] for name in read if name in known.constants]
    graph = helper.make_graph([*held.values(), *nodes], "part", inputs, outputs, stored)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def _zero_type(node: NodeProto, known: _Known) -> int:
    """The type of what a DequantizeLinear reads, by its zero point: ONNX does not know what operators of ONNX Runtime
    write."""
    stored = known.constants.get(node.input[_ZERO]) if len(node.input) > _ZERO else None
    return TensorProto.INT8 if stored is None else stored.data_type


def _typed(name: str, known: _Known, integers: Mapping[str, int]) -> ValueInfoProto:
    if name not in known.types:
        return helper.make_tensor_value_info(name, integers.get(name, TensorProto.FLOAT), None)
    found = helper.make_empty_tensor_value_info(name)
    found.type.CopyFrom(known.types[name])
    return found
