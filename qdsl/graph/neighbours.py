"""What every structural predicate stands on: neighbours, constants, and which nodes hold weights of which shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TypeVar, cast

from qdsl.graph.integer_operators import MULTIPLYING
from qdsl.graph.moves import FROM_ONE, SAME_VALUES
from qdsl.graph.view import GraphView, NodeView

T = TypeVar("T")

_RETYPES = frozenset({"Cast", "QuantizeLinear", "DequantizeLinear"})
# What carries the values of its first input on, in whatever type: patterns go on behind it.
CARRIES = FROM_ONE | _RETYPES | {"Pad"}
# Where the weight stands, for operators whose weight is a constant input.
WEIGHT_PORTS: dict[str, tuple[int, ...]] = {
    "Conv": (1,),
    "FusedConv": (1,),
    "ConvTranspose": (1,),
    "DeformConv": (1,),
    "Gemm": (1, 0),
    "FusedGemm": (1, 0),
    "MatMul": (1, 0),
    "FusedMatMul": (1, 0),
    "MatMulNBits": (1,),
    "Attention": (1,),
    "LSTM": (1,),
    "GRU": (1,),
    "RNN": (1,),
    **{name: operator.weight_ports for name, operator in MULTIPLYING.items()},
}
CONVS = frozenset({"Conv", "FusedConv", "ConvInteger", "QLinearConv"})
_SPATIAL = CONVS | {"ConvTranspose", "DeformConv"}
_OPAQUE = frozenset({"LSTM", "GRU", "RNN", "Attention", "MatMulNBits", "QAttention", "DynamicQuantizeLSTM"})
_THROUGH = SAME_VALUES | _RETYPES | {"Clip"}  # of integers, a width


@dataclass(frozen=True, slots=True)
class Weight:
    """The constant that a node multiplies its data by. Channels count whole nodes, all groups together; what the
    shapes do not tell is None. `kernel` and `stride` are None for matrices."""

    port: int
    tensor: str
    in_channels: int | None
    out_channels: int | None
    groups: int
    kernel: tuple[int, ...] | None
    stride: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Links:
    """Neighbours by node index, each once and in graph order."""

    before: tuple[tuple[int, ...], ...]
    after: tuple[tuple[int, ...], ...]


def once_per_view(compute: Callable[[GraphView], T]) -> Callable[[GraphView], T]:
    """Keeps a fact about a view beside the view itself, as `functools.cached_property` would: views never change."""
    key = f"{compute.__module__}.{compute.__qualname__}"

    @wraps(compute)
    def cached(view: GraphView) -> T:
        kept = view.__dict__
        if key not in kept:
            kept[key] = compute(view)
        return cast(T, kept[key])

    return cached


@once_per_view
def regular(view: GraphView) -> tuple[NodeView, ...]:
    """The nodes that read and write something; only these are looked at for patterns."""
    return tuple(node for node in view.nodes if _is_regular(node))


def writer(view: GraphView, tensor: str) -> NodeView | None:
    """The regular node that writes `tensor`."""
    node = view.producer(tensor)
    return node if node is not None and _is_regular(node) else None


def readers(view: GraphView, tensor: str) -> tuple[NodeView, ...]:
    """The nodes that read `tensor`, one entry per node; a tensor with an irregular reader has no pattern around it."""
    found = view.consumers(tensor)
    return found if all(map(_is_regular, found)) else ()


def _is_regular(node: NodeView) -> bool:
    return bool(node.inputs and node.outputs and node.inputs[0] and node.outputs[0])


@once_per_view
def links(view: GraphView) -> Links:
    """Which node reads which, the bodies of If, Loop and Scan included."""
    before: list[set[int]] = [set() for _ in view.nodes]
    after: list[set[int]] = [set() for _ in view.nodes]
    for tensor in view.tensors.values():
        if tensor.producer is None:
            continue
        for use in tensor.uses:
            before[use.node].add(tensor.producer)
            after[tensor.producer].add(use.node)
    return Links(tuple(tuple(sorted(n)) for n in before), tuple(tuple(sorted(n)) for n in after))


@once_per_view
def fixed(view: GraphView) -> frozenset[int]:
    """Nodes that compute on constants only, so that no graph input reaches them."""
    found: set[int] = set()
    for node in view.nodes:
        known = all(not name or is_fixed(view, name, found) for name in node.inputs)
        if known and (node.inputs or node.op == "Constant"):
            found.add(node.index)
    return frozenset(found)


def is_fixed(view: GraphView, tensor: str, fixed_nodes: set[int] | frozenset[int]) -> bool:
    """Whether `tensor` is a constant, or written by a node of `fixed_nodes`."""
    known = view.tensors.get(tensor)
    return known is not None and (known.kind == "constant" or known.producer in fixed_nodes)


def scalar(view: GraphView, tensor: str) -> float | None:
    """The value of a constant of one element; None for everything else."""
    values = view.small.get(tensor, ())
    return float(values[0]) if len(values) == 1 else None


def constant_operand(view: GraphView, node: NodeView) -> str | None:
    """The constant of a two-operand node that has exactly one."""
    constants = [name for name in node.inputs[:2] if view.is_constant(name)]
    return constants[0] if len(constants) == 1 and len(node.inputs) == 2 else None


def other_operand(node: NodeView, tensor: str) -> str | None:
    """The operand beside `tensor` of a two-operand node; None when `tensor` is not an operand."""
    if len(node.inputs) != 2 or tensor not in node.inputs:
        return None
    return node.inputs[1] if node.inputs[0] == tensor else node.inputs[0]


@once_per_view
def weighted(view: GraphView) -> dict[int, Weight]:
    """Every node with a constant weight, by index: convolutions, matrix products and recurrent layers."""
    found = {}
    for node in regular(view):
        weight = _weight(view, node)
        if weight is not None:
            found[node.index] = weight
    return found


def _weight(view: GraphView, node: NodeView) -> Weight | None:
    for port in WEIGHT_PORTS.get(node.op, ()):
        if port < len(node.inputs) and _stored(view, node.inputs[port]):
            return _facts(view, node, port)
    return None


def _stored(view: GraphView, tensor: str) -> bool:
    """A constant, or a constant behind a few nodes such as DequantizeLinear."""
    for _ in range(4):
        if view.is_constant(tensor):
            return True
        producer = writer(view, tensor)
        if producer is None or producer.op not in _THROUGH:
            return False
        tensor = producer.inputs[0]
    return False


def _facts(view: GraphView, node: NodeView, port: int) -> Weight:
    tensor = node.inputs[port]
    known = view.tensors.get(tensor)
    shape = tuple(d if isinstance(d, int) else None for d in (known.shape if known and known.shape else ()))
    group = node.attrs.get("group", 1)
    groups = group if isinstance(group, int) else 1
    if node.op in _SPATIAL:
        return _conv_facts(view, node, port, shape, groups)
    if node.op in _OPAQUE or len(shape) < 1:
        return Weight(port, tensor, None, None, 1, None, None)
    flip = bool(node.attrs.get("transB" if port else "transA", 0))
    rows, columns = (shape[-2], shape[-1]) if len(shape) > 1 else (shape[0], 1)
    if flip:
        rows, columns = columns, rows
    inside, outside = (columns, rows) if port == 0 else (rows, columns)
    return Weight(port, tensor, inside, outside, 1, None, None)


def _conv_facts(view: GraphView, node: NodeView, port: int, shape: tuple[int | None, ...], groups: int) -> Weight:
    tensor = node.inputs[port]
    kernel = _ints(node.attrs.get("kernel_shape")) or _ints(shape[2:])
    first, second = shape[:2] if len(shape) >= 2 else (None, None)
    transposed = node.op == "ConvTranspose"
    inside, outside = (first, _times(second, groups)) if transposed else (_times(second, groups), first)
    if inside is None:
        data = view.tensors.get(node.inputs[0])
        channels = data.shape[1] if data and data.shape and len(data.shape) > 1 else None
        inside = channels if isinstance(channels, int) else None
    stride = _ints(node.attrs.get("strides")) or (None if kernel is None else (1,) * len(kernel))
    return Weight(port, tensor, inside, outside, groups, kernel, stride)


def _times(size: int | None, groups: int) -> int | None:
    return None if size is None else size * groups


def _ints(value: object) -> tuple[int, ...] | None:
    """A tuple of ints, or None when it is empty or something else."""
    if not isinstance(value, tuple) or not value or not all(isinstance(item, int) for item in value):
        return None
    return cast(tuple[int, ...], value)


def reachable(start: set[int] | frozenset[int], neighbours: tuple[tuple[int, ...], ...]) -> set[int]:
    """The nodes of `start` and all that `neighbours` leads to from them; linear in nodes and connections."""
    found = set(start)
    waiting = sorted(found)
    while waiting:
        for index in neighbours[waiting.pop()]:
            if index not in found:
                found.add(index)
                waiting.append(index)
    return found
