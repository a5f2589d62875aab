"""The size of the file that a plan will be emitted as, from the float model's size and what changes in it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from math import prod

from qdsl.graph.view import GraphView
from qdsl.spec import Granularity
from qdsl.spec.plan import BiasPlan, Origin, TensorPlan, WeightPlan

# Bytes in an ONNX file (protobuf wire format): tag and length of a text or message, an attribute `axis`, the
# provenance beside its text, the fields of an initializer beside name and data, of a tensor's type beside its dims; a
# float32 number.
_FIELD = 2
_FLOAT = 4
_AXIS = 13
_PROVENANCE = 19
_CONSTANT = 10
_DIM = 3
_TYPE = 10
_TYPED_DIM = 5
_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_ZERO_POINT = "zero_point_uint8_127"
# Nodes that stand before what the emitter writes in the place of an operator: see passes/hard_activations.
_STEPS_OF = {"HardSwish": 5, "HardSigmoid": 2}
_WORD = "_risen"  # what their names end in, as long as the average


def predicted_bytes(
    view: GraphView,
    float_bytes: int,
    tensors: Iterable[TensorPlan],
    weights: Iterable[WeightPlan],
    biases: Iterable[BiasPlan],
    joined: Collection[str] = (),
    lowered: Collection[str] = (),
) -> int:
    """Bytes of the emitted file: each constant at its new width, plus scales, zero points and Q/DQ nodes with their
    names and types. `float_bytes` is the size of the model in canonical form; `joined` are nodes on integers, whose
    pairs are gone; `lowered` those that the emitter writes as several."""
    tensors = tuple(tensors)
    parts = [*_weights(view, weights), *_biases(view, biases), *(_tensor(view, plan) for plan in tensors)]
    parts += [_lowered(view, name) for name in lowered]
    return max(0, float_bytes + sum(parts) - sum(_saved(view, tensors, joined)))


def kept_floats(view: GraphView, weights: Iterable[WeightPlan], halved: Collection[tuple[int, int]]) -> int:
    """Bytes of the constants that stay beside their integers: a node that computes in float, a body or an output reads
    them, too. `halved` are the reads (node, port) that get float16."""
    weights = tuple(weights)
    turned = {(view.node_index[weight.node], weight.port) for weight in weights} | set(halved)
    tensors = (view.tensors[name] for name in {weight.tensor for weight in weights})
    kept = (t for t in tensors if t.is_output or any((use.node, use.port) not in turned for use in t.uses))
    return sum(_FLOAT * (tensor.elements or 0) for tensor in kept)


def _weights(view: GraphView, weights: Iterable[WeightPlan]) -> Iterator[int]:
    stored: set[tuple[object, ...]] = set()
    seen: set[str] = set()
    for weight in weights:
        yield len("_dequantized")
        if (weight.tensor, weight.scheme, weight.guard) in stored:
            continue
        if weight.tensor in seen:  # one more form of it takes nothing's place
            yield _FLOAT * (view.tensors[weight.tensor].elements or 0)
        seen.add(weight.tensor)
        stored.add((weight.tensor, weight.scheme, weight.guard))
        scales = _scales(view, weight)
        name = len(weight.tensor)
        yield _shrunk(view, weight.tensor, weight.scheme.dtype.bits) + len("_quantized")
        yield 4 * scales + _CONSTANT + _DIM + name + len("_scale")
        yield _node(_DEQUANTIZE, weight.tensor, ("_quantized", "_scale"), "_dequantized", weight.origin)
        yield name + len("_zero_point") - len(_ZERO_POINT)
        yield _AXIS if weight.axis is not None else 0
        yield _value_info(view, weight.tensor, "_dequantized")
        yield (scales * weight.scheme.dtype.bits + 7) // 8 + _CONSTANT + _DIM + name + len("_zero_point")


def _biases(view: GraphView, biases: Iterable[BiasPlan]) -> Iterator[int]:
    for bias in biases:
        channels = view.tensors[bias.tensor].elements or 0
        name = len(bias.tensor)
        yield 4 * channels + _CONSTANT + _DIM + name + len("_scale") + len("_quantized_dequantized")
        yield _node(_DEQUANTIZE, bias.tensor, ("_quantized", "_scale"), "_dequantized", bias.origin) + _AXIS
        yield _value_info(view, bias.tensor, "_dequantized") - _FIELD - len(_ZERO_POINT)


def _tensor(view: GraphView, plan: TensorPlan) -> int:
    """A Q node, a DQ node, the readers' longer name and, once per group, a scale."""
    total = _node(_QUANTIZE, plan.tensor, ("", "_scale"), "_quantized", plan.origin)
    total += _node(_DEQUANTIZE, plan.tensor, ("_quantized", "_scale"), "_dequantized", plan.origin)
    total += _value_info(view, plan.tensor, "_quantized") + _value_info(view, plan.tensor, "_dequantized")
    total += len(plan.readers) * len("_dequantized")
    scale = 4 + _CONSTANT + len(plan.group) + len("_scale")
    return total + (scale if plan.tensor == plan.group else 0)


def _saved(view: GraphView, tensors: Iterable[TensorPlan], joined: Collection[str]) -> Iterator[int]:
    """What `joined` nodes do without: the Q behind them with the float tensor before it, and each DQ that they alone
    read."""
    written = {view.node(name).outputs[0] for name in joined}
    for plan in tensors:
        if plan.tensor in written:
            yield _node(_QUANTIZE, plan.tensor, ("", "_scale"), "_quantized", plan.origin)
            yield _value_info(view, plan.tensor, "") - len("_quantized") - _FIELD - _PROVENANCE - len("concat_integers")
        if plan.readers and all(reader.node in joined for reader in plan.readers):
            yield _node(_DEQUANTIZE, plan.tensor, ("_quantized", "_scale"), "_dequantized", plan.origin)
            yield _value_info(view, plan.tensor, "_dequantized")


def _lowered(view: GraphView, name: str) -> int:
    """Nodes with the tensors they write, and a number on integers with its scale and zero point."""
    node = view.node(name)
    texts = 5 * _text(name + _WORD) + _text(_DEQUANTIZE) + 3 * _FIELD + _PROVENANCE + len("hard_activations")
    constants = 3 * (_CONSTANT + len(name) + len(_WORD)) + _FLOAT + _DIM * len(view.tensors[node.inputs[0]].shape or ())
    return _STEPS_OF.get(node.op, 0) * (texts + _value_info(view, node.inputs[0], _WORD)) + constants


def _node(op: str, name: str, inputs: tuple[str, ...], output: str, origin: Origin) -> int:
    """A node called after `name`: inputs and a zero point, output, name, operator, domain and provenance."""
    texts = [*(name + end for end in inputs), _ZERO_POINT, name + output, f"{name}_{op}", op, ""]
    provenance = _FIELD + _PROVENANCE + len(str(origin))
    return sum(_text(text) for text in texts) + provenance + _FIELD + 1


def _value_info(view: GraphView, tensor: str, end: str) -> int:
    rank = len(view.tensors[tensor].shape or ())
    return _FIELD + _text(tensor + end) + _TYPE + _TYPED_DIM * rank


def _text(text: str) -> int:
    return _FIELD + len(text.encode(errors="replace"))


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
