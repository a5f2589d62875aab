"""Shapes for which TensorRT has no fast int8 kernel, or none on some versions: known from the shapes alone.

Bounds of channels and matrices are those by which NVIDIA's Model Optimizer 0.47 leaves layers in floats
(`modelopt/onnx/quantization/graph_utils.py`), read as knowledge of which kernels there are. What else is said was seen
in TensorRT-RTX 1.7.1, which builds all of them in int8, or is told of versions by name. None is a reason to refuse.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from qdsl.graph.neighbours import CONVS, Weight, regular
from qdsl.graph.view import GraphView, NodeView

_CHANNELS = 16  # of a Conv, and rows or columns of a matrix
_EIGHTH = 8
_COLORS, _STEM = 3, 7
_KERNEL = 3  # the smallest of a grouped Conv
_MATRICES = frozenset({"Gemm", "MatMul"})


@dataclass(frozen=True, slots=True)
class Slow:
    """Nodes that have one `reason`, a key of `BECAUSE`, in graph order."""

    reason: str
    nodes: tuple[str, ...]


BECAUSE = {
    "stem": (
        "a 7x7 kernel on 3 channels",
        "with Relu and MaxPool behind it TensorRT 10.16 did not build it (Could not find any implementation): leave "
        "the first layer in floats, or build twice",
    ),
    "depthwise": (
        "a channel of its own for every output",
        "TensorRT-RTX pads each to 4 channels (the engine of a MobileNetV2-0.5 is 11.6 MB, in floats 3.2), and on an "
        "Orin Nano with 10.3 MobileNetV2 gains 1.09 times over float16: time it in both",
    ),
    "few_channels": (
        "fewer than 16 channels on a side",
        "int8 kernels take 16 channels at a time: Model Optimizer leaves such layers in floats",
    ),
    "grouped": (
        "groups of a number of outputs that 8 does not divide, or a kernel below 3",
        "Model Optimizer leaves such layers in floats",
    ),
    "vector": (
        "a vector to multiply, or a side below 16",
        "reading the weights takes the time, and there is no fast int8 kernel: Model Optimizer leaves it in floats",
    ),
    "group_norm": (
        "a GroupNorm in pieces (Reshape, InstanceNormalization, Reshape)",
        "it runs in floats between layers of int8, with a requantization on each side: GroupNormalization of opset 21 "
        "says it in one node",
    ),
}


def slow_kernels(view: GraphView, layers: Iterable[tuple[NodeView, Weight]]) -> Iterator[Slow]:
    """What is slow of `layers`, which compute in int8, and of what stands between them; each reason once, in the order
    of `BECAUSE`. A layer has one reason."""
    found: dict[str, list[str]] = {reason: [] for reason in BECAUSE}
    for node, weight in layers:
        reason = _reason(view, node, weight)
        if reason:
            found[reason].append(node.name)
    found["group_norm"] = [node.name for node in regular(view) if _is_group_norm(view, node)]
    yield from (Slow(reason, tuple(names)) for reason, names in found.items() if names)


def _reason(view: GraphView, node: NodeView, weight: Weight) -> str:
    if node.op in _MATRICES:
        return "vector" if _is_vector(view, node, weight) else ""
    if node.op not in CONVS or weight.in_channels is None or weight.out_channels is None:
        return ""
    kernel = weight.kernel or ()
    if weight.in_channels == _COLORS and len(kernel) > 1 and min(kernel) >= _STEM:
        return "stem"
    if weight.groups > 1:
        return _grouped(weight, kernel)
    return "" if _has_channels(view, node, weight, kernel) else "few_channels"


def _grouped(weight: Weight, kernel: tuple[int, ...]) -> str:
    if weight.groups == weight.in_channels:
        return "depthwise"
    aligned = weight.out_channels is not None and weight.out_channels % _EIGHTH == 0
    return "" if aligned and kernel and min(kernel) >= _KERNEL else "grouped"


def _has_channels(view: GraphView, node: NodeView, weight: Weight, kernel: tuple[int, ...]) -> bool:
    """Whether both sides are wide; or one side, or the first layer, with a square kernel and channels by eights."""
    inside, outside = weight.in_channels or 0, weight.out_channels or 0
    if min(inside, outside) >= _CHANNELS:
        return True
    eights = inside % _EIGHTH == 0 or outside % _EIGHTH == 0
    wide = max(inside, outside) >= _CHANNELS or _is_first(view, node)
    return eights and wide and len(set(kernel)) == 1


def _is_first(view: GraphView, node: NodeView) -> bool:
    """Whether a layer reads an input of the graph, through Q and DQ or not."""
    tensor = node.inputs[0]
    for _ in range(3):
        before = view.producer(tensor)
        if before is None or before.op not in ("QuantizeLinear", "DequantizeLinear"):
            break
        tensor = before.inputs[0]
    return tensor in view.inputs


def _is_vector(view: GraphView, node: NodeView, weight: Weight) -> bool:
    """Whether a product has one row or one column, or few of what it adds up or gives."""
    if min(weight.in_channels or _CHANNELS, weight.out_channels or _CHANNELS) < _CHANNELS:
        return True
    seen = view.tensors.get(node.inputs[1 - weight.port])
    if seen is None or seen.shape is None or not seen.shape:
        return False
    turned = bool(node.attrs.get("transA" if weight.port else "transB", 0))
    rows = seen.shape[-1] if turned else seen.shape[-2] if len(seen.shape) > 1 else 1
    return rows == 1


def _is_group_norm(view: GraphView, node: NodeView) -> bool:
    if node.op != "InstanceNormalization":
        return False
    before, after = view.producer(node.inputs[0]), view.consumers(node.outputs[0])
    return before is not None and before.op == "Reshape" and [each.op for each in after] == ["Reshape"]
