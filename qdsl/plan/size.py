"""The size of the file that a plan will be emitted as, from the float model's size and what changes in it."""

from __future__ import annotations

from collections.abc import Iterable

from qdsl.graph.view import GraphView
from qdsl.plan.types import BiasPlan, TensorPlan, WeightPlan
from qdsl.spec import Granularity

# Bytes of a protobuf node, initializer or property beyond its names and data: tags, lengths, type and shape fields.
_NODE = 24
_CONSTANT = 22
_PROPERTY = 16
_VALUE_INFO = 40


def predicted_bytes(
    view: GraphView,
    float_bytes: int,
    tensors: Iterable[TensorPlan],
    weights: Iterable[WeightPlan],
    biases: Iterable[BiasPlan],
) -> int:
    """Bytes of the emitted file: each constant at its new width, plus scales, zero points and Q/DQ nodes."""
    total = float_bytes
    stored: set[tuple[str, object]] = set()
    for weight in weights:
        if (weight.tensor, weight.scheme) not in stored:
            stored.add((weight.tensor, weight.scheme))
            total += _shrunk(view, weight.tensor, weight.scheme.dtype.bits) + _weight_parameters(view, weight)
        total += _pair_nodes(weight.tensor, 1)
    for bias in biases:
        channels = view.tensors[bias.tensor].elements or 0
        total += 4 * channels + _CONSTANT + len(bias.tensor) + _pair_nodes(bias.tensor, 1)
    return total + sum(_tensor(plan) for plan in tensors)


def _shrunk(view: GraphView, tensor: str, bits: int) -> int:
    """What a float32 constant gains or loses when it is stored in `bits`."""
    elements = view.tensors[tensor].elements or 0
    return (elements * bits + 7) // 8 - 4 * elements


def _weight_parameters(view: GraphView, weight: WeightPlan) -> int:
    shape = view.tensors[weight.tensor].shape or ()
    dims = [dim if isinstance(dim, int) else 1 for dim in shape]
    scales = 1
    if weight.scheme.granularity is Granularity.PER_CHANNEL and weight.axis is not None:
        scales = dims[weight.axis]
    elif weight.scheme.granularity is Granularity.PER_BLOCK and weight.axis is not None:
        blocks = -(-dims[weight.axis] // (weight.scheme.block or 1))
        scales = blocks * _product(dims[: weight.axis] + dims[weight.axis + 1 :])
    zero_points = -(-scales * weight.scheme.dtype.bits // 8)
    return 4 * scales + zero_points + 2 * (_CONSTANT + len(weight.tensor))


def _product(dims: list[int]) -> int:
    total = 1
    for dim in dims:
        total *= dim
    return total


def _tensor(plan: TensorPlan) -> int:
    """A Q node, a DQ node, and (at a group's source) one scale and one zero point."""
    parameters = 2 * (_CONSTANT + len(plan.group) + 4) if plan.tensor == plan.group else 0
    return parameters + _pair_nodes(plan.tensor, 2) + 2 * _VALUE_INFO


def _pair_nodes(tensor: str, count: int) -> int:
    """Names of a node, its inputs and its output, its operator and its provenance."""
    return count * (_NODE + 5 * (len(tensor) + 12) + 2 * _PROPERTY + 60)
