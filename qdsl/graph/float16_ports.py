"""Which inputs and outputs of an operator have one float type, as ONNX's schemas say: they change type together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from qdsl.graph.view import NodeView

_HALF, _FLOAT = "tensor(float16)", "tensor(float)"


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports of one node, in order, that hold its float type; absent optional inputs are not among them. A node that
    writes no floats (Shape, ArgMax) has no `writes`."""

    reads: tuple[int, ...]
    writes: tuple[int, ...]


def float16_ports(node: NodeView, opset: int) -> Ports | None:
    """The ports that become float16 together; None where ONNX has no float16 for the operator at this opset, or none
    that follows an input."""
    if node.domain:
        return None
    schema = _schema(node.op, opset)
    if schema is None:
        return None
    inputs, outputs, able = schema
    reads = tuple(_kinds(inputs, len(node.inputs)))
    writes = tuple(_kinds(outputs, len(node.outputs)))
    kind = next((word for word in (*writes, *reads) if word in able), None)
    if kind is None or kind not in reads:
        return None
    return Ports(
        tuple(port for port, word in enumerate(reads) if word == kind and node.inputs[port]),
        tuple(port for port, word in enumerate(writes) if word == kind and node.outputs[port]),
    )


def _kinds(formal: tuple[str, ...], count: int) -> list[str]:
    """The type word of each port; the last formal parameter of an operator may repeat."""
    return [formal[min(port, len(formal) - 1)] for port in range(count)] if formal else []


@cache
def _schema(op: str, opset: int) -> tuple[tuple[str, ...], tuple[str, ...], frozenset[str]] | None:
    """Type words of inputs and outputs, and those words that may be float16 as well as float32."""
    import onnx

    try:
        found: Any = onnx.defs.get_schema(op, max_inclusive_version=opset)
    except onnx.defs.SchemaError:
        return None
    able = frozenset(
        limit.type_param_str for limit in found.type_constraints if {_HALF, _FLOAT} <= set(limit.allowed_type_strs)
    )
    return tuple(one.type_str for one in found.inputs), tuple(one.type_str for one in found.outputs), able
