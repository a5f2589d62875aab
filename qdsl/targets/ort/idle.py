"""Nodes of a file that nothing runs for, where the runtime took them out: they hang on constants, or do nothing."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

_FIRST_IR_OF_CONSTANTS = 4  # before, every initializer was a graph input, and a constant all the same
_COPIES = frozenset({"Identity", "Dropout"})
_NEUTRAL = {"Add": 0.0, "Sub": 0.0, "Mul": 1.0, "Div": 1.0}
_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE})


def idle(model: ModelProto, types: Mapping[str, int]) -> frozenset[str]:
    """Their names. `types` are element types by tensor name, as far as they are known. Linear in the size of the
    graph."""
    graph = model.graph
    given = {info.name for info in graph.input} if model.ir_version >= _FIRST_IR_OF_CONSTANTS else set()
    known = {tensor.name for tensor in graph.initializer} - given
    small = {t.name: t for t in graph.initializer if t.name in known and sum(t.dims) <= 1 and t.data_type in _FLOATS}
    found = set()
    for node in graph.node:
        if all(name in known for name in node.input if name):
            known.update(node.output)
            found.add(node.name)
        elif node.op_type in _COPIES or _neutral(node, small) or _casts_nothing(node, types):
            found.add(node.name)
    return frozenset(found)


def _casts_nothing(node: NodeProto, types: Mapping[str, int]) -> bool:
    wanted = next((each.i for each in node.attribute if each.name == "to"), None)
    return node.op_type == "Cast" and wanted is not None and types.get(node.input[0]) == wanted


def _neutral(node: NodeProto, small: Mapping[str, TensorProto]) -> bool:
    """Whether the node adds zero, or multiplies by one."""
    if node.op_type not in _NEUTRAL:
        return False
    ports = (0, 1) if node.op_type in ("Add", "Mul") else (1,)
    values = [numpy_helper.to_array(small[node.input[port]]) for port in ports if node.input[port] in small]
    return any(float(value.reshape(-1)[0]) == _NEUTRAL[node.op_type] for value in values if value.size == 1)
