"""Bytes that parts of a graph take in an ONNX file (protobuf wire format), for predicting its size."""

from __future__ import annotations

from qdsl.graph.view import Dim, GraphView
from qdsl.spec.plan import Origin

# Tag and length of a text or message; the provenance beside its text; the fields of an initializer beside name and
# data; a dim of it; a float32 number.
FIELD = 2
PROVENANCE = 15
CONSTANT = 10
DIM = 3
FLOAT = 4
# The fields of a tensor's type beside its dims.
_TYPE = 8
ZERO_POINT = "zero_point_uint8_127"  # as long as such names are


def quantize_bytes(tensor: str, origin: Origin) -> int:
    """A QuantizeLinear of a tensor."""
    return pair_bytes("QuantizeLinear", tensor, ("", "_scale"), "_quantized", origin)


def dequantize_bytes(tensor: str, origin: Origin) -> int:
    """A DequantizeLinear of a tensor."""
    return pair_bytes("DequantizeLinear", tensor, ("_quantized", "_scale"), "_dequantized", origin)


def pair_bytes(op: str, name: str, inputs: tuple[str, ...], output: str, origin: Origin) -> int:
    """A node called after `name`: inputs and a zero point, output, name, operator and provenance; ONNX's own domain is
    not written."""
    texts = [*(name + end for end in inputs), ZERO_POINT, name + output, f"{name}_{op}", op]
    provenance = FIELD + PROVENANCE + len(str(origin))
    return sum(text_bytes(text) for text in texts) + provenance + FIELD + 1


def info_bytes(view: GraphView, tensor: str, end: str) -> int:
    """The type of a tensor that is called after `tensor` and has its shape."""
    return FIELD + text_bytes(tensor + end) + _TYPE + sum(map(_dim_bytes, view.tensors[tensor].shape or ()))


def _dim_bytes(dim: Dim) -> int:
    """A number has seven bits to a byte; one that is not known has none."""
    if dim is None:
        return FIELD
    return FIELD + (text_bytes(dim) if isinstance(dim, str) else 1 + max(1, -(-dim.bit_length() // 7)))


def text_bytes(text: str) -> int:
    return FIELD + len(text.encode(errors="replace"))
