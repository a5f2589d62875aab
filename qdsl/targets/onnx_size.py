"""The size of the ONNX file that a plan will be emitted as, from the float model's size and what changes in it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from math import prod

from qdsl.graph.view import GraphView
from qdsl.passes.file_bytes import CONSTANT, DIM, FIELD, FLOAT, ZERO_POINT, dequantize_bytes, info_bytes, quantize_bytes
from qdsl.spec import Granularity
from qdsl.spec.plan import BiasPlan, Plan, TensorPlan, WeightPlan

_AXIS = 13  # bytes of an attribute `axis`
_NOT_BELOW_ZERO = frozenset({"Relu", "Sigmoid", "HardSigmoid", "Softmax", "Abs", "Exp", "Sqrt", "Softplus", "Clip"})
_PASSES_ON = frozenset(
    {"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Flatten", "Reshape", "Transpose", "Squeeze"}
)


def predicted_bytes(
    view: GraphView,
    float_bytes: int,
    tensors: Iterable[TensorPlan],
    weights: Iterable[WeightPlan],
    biases: Iterable[BiasPlan],
) -> int:
    """Bytes of the emitted file: each constant at its new width, plus scales, zero points and Q/DQ nodes with their
    names and types, before lowerings. `float_bytes` is the size of the model in canonical form."""
    tensors = tuple(tensors)
    return float_bytes + sum(
        [
            *_weights(view, weights),
            *_biases(view, biases),
            *(_tensor(view, plan) for plan in tensors),
            _zero_points(view, tensors),
        ]
    )


def weight_bytes(view: GraphView, weights: Iterable[WeightPlan], biases: Iterable[BiasPlan]) -> int:
    """Of `predicted_bytes` what these weights and biases add to the float model or take from it."""
    return sum([*_weights(view, weights), *_biases(view, biases)])


def kept_floats(view: GraphView, weights: Iterable[WeightPlan], halved: Collection[tuple[int, int]]) -> int:
    """Bytes of the constants that stay beside their integers: a node that computes in float, a body or an output reads
    them, too. `halved` are the reads (node, port) that get float16."""
    weights = tuple(weights)
    turned = {(view.node_index[weight.node], weight.port) for weight in weights} | set(halved)
    tensors = (view.tensors[name] for name in {weight.tensor for weight in weights})
    kept = (t for t in tensors if t.is_output or any((use.node, use.port) not in turned for use in t.uses))
    return sum(FLOAT * (tensor.elements or 0) for tensor in kept)


def float16_reads(view: GraphView, plan: Plan) -> set[tuple[int, int]]:
    """Where a plan reads float16: nodes and ports."""
    if not (plan.halves or plan.half_weights):
        return set()
    from qdsl.passes.float16_bytes import float16_reads as reads  # which most plans do without

    return reads(view, plan)


def _weights(view: GraphView, weights: Iterable[WeightPlan]) -> Iterator[int]:
    stored: set[tuple[object, ...]] = set()
    seen: set[str] = set()
    for weight in weights:
        yield len("_dequantized")
        if (weight.tensor, weight.scheme, weight.guard) in stored:
            continue
        if weight.tensor in seen:  # one more form of it takes nothing's place
            yield FLOAT * (view.tensors[weight.tensor].elements or 0)
        seen.add(weight.tensor)
        stored.add((weight.tensor, weight.scheme, weight.guard))
        scales = _scales(view, weight)
        name = len(weight.tensor)
        yield _shrunk(view, weight.tensor, weight.scheme.dtype.bits) + len("_quantized")
        yield 4 * scales + CONSTANT + DIM + name + len("_scale")
        yield dequantize_bytes(weight.tensor, weight.origin)
        yield name + len("_zero_point") - len(ZERO_POINT)
        yield _AXIS if weight.axis is not None else 0
        yield info_bytes(view, weight.tensor, "_dequantized")
        yield (scales * weight.scheme.dtype.bits + 7) // 8 + CONSTANT + DIM + name + len("_zero_point")


def _biases(view: GraphView, biases: Iterable[BiasPlan]) -> Iterator[int]:
    for bias in biases:
        channels = view.tensors[bias.tensor].elements or 0
        name = len(bias.tensor)
        yield 4 * channels + CONSTANT + DIM + name + len("_scale") + len("_quantized_dequantized")
        yield dequantize_bytes(bias.tensor, bias.origin) + _AXIS
        yield info_bytes(view, bias.tensor, "_dequantized") - FIELD - len(ZERO_POINT)


def _tensor(view: GraphView, plan: TensorPlan) -> int:
    """A Q node, a DQ node, the readers' longer name and, once per group, a scale."""
    total = quantize_bytes(plan.tensor, plan.origin) + dequantize_bytes(plan.tensor, plan.origin)
    total += info_bytes(view, plan.tensor, "_quantized") + info_bytes(view, plan.tensor, "_dequantized")
    total += len(plan.readers) * len("_dequantized")
    scale = 4 + CONSTANT + len(plan.group) + len("_scale")
    return total + (scale if plan.tensor == plan.group else 0)


def _zero_points(view: GraphView, tensors: Iterable[TensorPlan]) -> int:
    """The zero points of tensors, one constant for all that are equal: those of ranges from 0 on are, and those of
    symmetric types; others are taken to differ."""
    found: set[tuple[str, str]] = set()
    for plan in tensors:
        alike = plan.scheme.symmetric or _from_zero(view, plan.group)
        found.add((str(plan.scheme.dtype), "" if alike else plan.group))
    return len(found) * (len(ZERO_POINT) + CONSTANT)


def _from_zero(view: GraphView, tensor: str) -> bool:
    """Whether what writes a tensor, or what writes the input of a node that chooses or averages values, writes nothing
    below 0."""
    while (producer := view.tensors[tensor].producer) is not None:
        node = view.nodes[producer]
        if node.op not in _PASSES_ON:
            return node.op in _NOT_BELOW_ZERO
        tensor = node.inputs[0]
    return False


def _shrunk(view: GraphView, tensor: str, bits: int) -> int:
    """What a float32 constant gains or loses when it is stored in `bits`."""
    elements = view.tensors[tensor].elements or 0
    return (elements * bits + 7) // 8 - 4 * elements


def _scales(view: GraphView, weight: WeightPlan) -> int:
    """Number of scales of a weight."""
    dims = [dim if isinstance(dim, int) else 1 for dim in view.tensors[weight.tensor].shape or ()]
    if weight.axis is None or weight.axis >= len(dims):
        return 1
    if weight.scheme.granularity is Granularity.PER_CHANNEL:
        return dims[weight.axis]
    blocks = -(-dims[weight.axis] // (weight.scheme.block or 1))
    return blocks * prod(dims[: weight.axis] + dims[weight.axis + 1 :])
