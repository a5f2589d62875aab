"""Operators of which one input is float32 and another float16."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.nodes import DEQUANTIZE, of_onnx
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import TENSORRT
from qdsl.auditing.telling import shown
from qdsl.diag import Severity
from qdsl.graph.view import GraphView, NodeView

_FLOATS = frozenset({"float32", "float16", "bfloat16", "float64"})
# All of whose inputs have one type. Of Where the first is a condition.
_ONE_TYPE = frozenset(
    ["Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Concat", "Where"]
)


class Check:
    id: ClassVar[str] = "float_types_differ"
    summary: ClassVar[str] = "an operator reads float32 at one input and float16 at another"
    explanation: ClassVar[str] = (
        "TensorRT refuses the file (`input` and `bias` must be of same type, and the like), as ONNX Runtime does: "
        "strong typing converts nothing of itself. A DequantizeLinear writes the type of its scale, so float32 scales "
        "in a float16 graph do that to whatever reads a float16 bias or weight beside them. Write the scales as "
        "float16 (opset 19 and later), or put a Cast behind the DequantizeLinear: TensorRT-RTX 1.7.1 computes such a "
        "Conv in int8, too."
    )
    severity: ClassVar[Severity] = Severity.ERROR
    targets: ClassVar[tuple[str, ...]] = (TENSORRT,)

    def check(self, audited: Audited) -> Iterator[Finding]:
        view = audited.finished.view
        for node in view.nodes:
            if node.op not in _ONE_TYPE or not of_onnx(node):
                continue
            types = _types(view, node)
            port = next((port for port, kind in types.items() if kind != next(iter(types.values()))), None)
            if port is not None:
                first, kind = next(iter(types.items()))
                yield Finding(
                    self.id,
                    Severity.ERROR,
                    Place("node", node.name, port),
                    f"{shown(node.name)} reads {kind} at input {first} and {types[port]} at input {port}",
                    "TensorRT refuses the file: all have one type, and a DequantizeLinear writes that of its scale",
                )


def _types(view: GraphView, node: NodeView) -> dict[int, str]:
    """The known types of the floats that a node reads, by port."""
    read = {port: _type(view, name) for port, name in enumerate(node.inputs) if name}
    return {port: kind for port, kind in read.items() if kind in _FLOATS}


def _type(view: GraphView, tensor: str) -> str:
    """The type of a tensor. Below opset 19 ONNX knows no scale but float32; TensorRT goes by the scale there, too."""
    before = view.producer(tensor)
    if (
        before is not None
        and before.op == DEQUANTIZE
        and len(before.inputs) > 1
        and not before.attrs.get("output_dtype")
    ):
        tensor = before.inputs[1]
    seen = view.tensors.get(tensor)
    return (seen.dtype or "") if seen is not None else ""
