"""What ST Edge AI Core documents that it does not import, looked for in a graph.

From "ONNX toolbox support" (2.2 and 3.0): opsets 7 to 20, the operators of `operators`, tensors of known size with at
most six dimensions below 65536, float32, int8 and uint8, int32 for a bias; what it says of single operators stands in
`attributes`. The tool itself was never run here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qdsl.graph.integer_operators import says_quantized
from qdsl.graph.view import GraphView, NodeView, TensorView
from qdsl.spec.words import count, plain
from qdsl.stedgeai.attributes import attributes
from qdsl.stedgeai.operators import imported, since

OPSET, OPERATOR, SHAPE, TYPE, ATTRIBUTE = "st_opset", "st_operator", "st_shape", "st_type", "st_attribute"
FIRST_OPSET, LAST_OPSET = 7, 20
MOST_RANK, MOST_SIDE = 6, 65535
# Neither floats of 32 bits nor integers of 8, as values that are computed or stored; shapes, indices and masks have
# types of their own.
_REFUSED = frozenset(
    {
        *("float16", "bfloat16", "float64", "int16", "uint16", "uint32", "uint64", "int4", "uint4", "int2", "uint2"),
        *("float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz", "float8e8m0", "float4e2m1"),
        *("string", "complex64", "complex128"),
    }
)
_RECOMMENDED = "ST takes it, and recommends QuantizeLinear and DequantizeLinear instead"
_WITH_BIAS = frozenset({"Conv", "ConvTranspose", "Gemm"})
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Limit:
    """Something that the tool's documentation speaks against. `rule` is its id among those of the audit; `grave`: the
    tool does not take it, else it takes it otherwise or less well than meant. `kind` is "node", "tensor" or "file", and
    `names` are the places, the first one first."""

    rule: str
    grave: bool
    kind: str
    names: tuple[str, ...]
    message: str
    why: str


def limits(view: GraphView) -> Iterator[Limit]:
    """All that is found in `view`, a graph with its Q and DQ, in the order of the rules and of the graph."""
    yield from _opset(view)
    yield from _operators(view)
    yield from _shapes(view)
    yield from _types(view)
    yield from _attributes(view)


def _opset(view: GraphView) -> Iterator[Limit]:
    if not FIRST_OPSET <= view.opset <= LAST_OPSET:
        what = f"opset {view.opset} is none of those that ST Edge AI Core reads"
        yield Limit(OPSET, True, "file", (), what, f"it reads {FIRST_OPSET} to {LAST_OPSET}")


def _operators(view: GraphView) -> Iterator[Limit]:
    alike: dict[tuple[str, str], list[str]] = {}
    for node in view.nodes:
        if not imported(node.domain, node.op) or _is_quantized(node):
            alike.setdefault((node.domain, node.op), []).append(node.name)
    for (domain, op), names in alike.items():
        told = f"{plain(op)[:_SHOWN]}{f' of {plain(domain)[:_SHOWN]}' if domain else ''}"
        nodes = f"{count(len(names), 'node')} {told}"
        if imported(domain, op):
            yield Limit(OPERATOR, False, "node", tuple(names), f"{nodes} on integers", _RECOMMENDED)
        elif first := since(domain, op):
            why = f"ST Edge AI Core lists it from {first} on, not in 2.2"
            yield Limit(OPERATOR, False, "node", tuple(names), f"{nodes}, which not every version imports", why)
        else:
            what = f"{nodes}, which ST Edge AI Core does not import"
            yield Limit(OPERATOR, True, "node", tuple(names), what, _why_not(op))


def _is_quantized(node: NodeView) -> bool:
    return node.op not in ("QuantizeLinear", "DequantizeLinear") and says_quantized(node.op)


def _why_not(op: str) -> str:
    if says_quantized(op) or op == "DynamicQuantizeLinear":
        return "it takes static scales alone, in QuantizeLinear and DequantizeLinear"
    return "it is none of the operators that its documentation lists"


def _shapes(view: GraphView) -> Iterator[Limit]:
    found: dict[str, list[str]] = {}
    for tensor in view.tensors.values():
        for what in _odd(tensor):
            found.setdefault(what, []).append(tensor.name)
    for what, names in found.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        shown = f"`{plain(names[0])[:_SHOWN]}`{more}"
        yield Limit(SHAPE, True, "tensor", tuple(names), f"{shown} {what}", "ST Edge AI Core refuses such a tensor")
    for name in view.inputs:
        shape = view.tensors[name].shape
        if shape is not None and len(shape) > 1 and isinstance(shape[0], int) and shape[0] > 1:
            what = f"the input `{plain(name)[:_SHOWN]}` takes {shape[0]} samples at once"
            yield Limit(SHAPE, False, "tensor", (name,), what, "ST Edge AI Core takes a batch as 1")


def _odd(tensor: TensorView) -> Iterator[str]:
    if tensor.shape is None:
        if tensor.kind != "constant":
            yield "has a shape that is not known before it runs"
        return
    # A batch that is left open is taken as 1.
    rest = tensor.shape[1:] if tensor.shape and not isinstance(tensor.shape[0], int) else tensor.shape
    if not all(isinstance(side, int) for side in rest):
        yield "has a size that is not known before it runs"
    if len(tensor.shape) > MOST_RANK:
        yield f"has more than {MOST_RANK} dimensions"
    if any(isinstance(side, int) and side > MOST_SIDE for side in tensor.shape):
        yield f"has a side longer than {MOST_SIDE}"


def _types(view: GraphView) -> Iterator[Limit]:
    found: dict[str, list[str]] = {}
    for tensor in view.tensors.values():
        if tensor.dtype in _REFUSED:
            found.setdefault(tensor.dtype, []).append(tensor.name)
    for dtype, names in found.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        what = f"`{plain(names[0])[:_SHOWN]}`{more} holds {dtype}"
        why = "ST Edge AI Core computes in float32, int8 and uint8"
        yield Limit(TYPE, True, "tensor", tuple(names), what, why)
    for node in view.nodes:
        stored = _stored_bias(view, node)
        if stored is not None and stored.dtype != "int32":
            what = f"the bias of `{plain(node.name)[:_SHOWN]}` is stored in {stored.dtype}"
            yield Limit(TYPE, True, "node", (node.name,), what, "ST Edge AI Core takes a quantized bias in int32 alone")


def _stored_bias(view: GraphView, node: NodeView) -> TensorView | None:
    """The constant that a bias is dequantized of."""
    if node.op not in _WITH_BIAS or len(node.inputs) < 3:
        return None
    dequantizes = view.producer(node.inputs[2])
    if dequantizes is None or dequantizes.op != "DequantizeLinear" or not view.is_constant(dequantizes.inputs[0]):
        return None
    return view.tensors[dequantizes.inputs[0]]


def _attributes(view: GraphView) -> Iterator[Limit]:
    alike: dict[tuple[bool, str, str], list[str]] = {}
    for node in view.nodes:
        for grave, what, why in attributes(view, node):
            alike.setdefault((grave, what, why), []).append(node.name)
    for (grave, what, why), names in alike.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        message = f"`{plain(names[0])[:_SHOWN]}`{more}: {what}"
        yield Limit(ATTRIBUTE, grave, "node", tuple(names), message, why)
