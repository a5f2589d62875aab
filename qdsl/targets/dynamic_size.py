"""The size of the file that a dynamic plan will be emitted as: what `qdsl.passes.quantize_dynamic` adds and shrinks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from qdsl.graph.view import GraphView, NodeView
from qdsl.spec import Granularity
from qdsl.spec.plan import Origin, TensorPlan, WeightPlan

# Bytes in an ONNX file (protobuf wire format): tag and length of a text or message; an attribute `to` or `axis`; the
# provenance beside its text; the fields of an initializer beside name and data; those of a tensor's type beside its
# dims.
_FIELD = 2
_NUMBER = 10
_PROVENANCE = 15
_CONSTANT = 10
_DIM = 3
_TYPE = 10
_TYPED_DIM = 5


def predicted_dynamic_bytes(
    view: GraphView, float_bytes: int, tensors: Mapping[str, TensorPlan], weights: Iterable[WeightPlan]
) -> int:
    """Bytes of the emitted file. `float_bytes` is the size of the model in canonical form."""
    weights = tuple(weights)
    parts = [*_weights(view, weights), *(_node_bytes(view, weight) for weight in weights)]
    parts += [_tensor(view, plan, weights) for plan in tensors.values()]
    return max(0, float_bytes + sum(parts))


def _weights(view: GraphView, weights: Iterable[WeightPlan]) -> Iterator[int]:
    """Each stored weight once, and its scales; a bias that gets another shape keeps its bytes."""
    stored: set[tuple[object, ...]] = set()
    seen: set[str] = set()
    for weight in weights:
        node = view.node(weight.node)
        key = (weight.tensor, weight.scheme, weight.axis, weight.guard, *_matrix(node))
        if key in stored:
            continue
        gone = 0 if weight.tensor in seen else 4 * (view.tensors[weight.tensor].elements or 0)
        seen.add(weight.tensor)
        stored.add(key)
        tensor = view.tensors[weight.tensor]
        elements, dims = tensor.elements or 0, tensor.shape or ()
        per_channel = weight.scheme.granularity is Granularity.PER_CHANNEL and weight.axis is not None
        channels = dims[weight.axis] if per_channel and weight.axis is not None else 1
        scales = channels if isinstance(channels, int) else 1
        yield elements * weight.scheme.dtype.bits // 8 - gone + len("_quantized")
        yield 4 * scales + _CONSTANT + _DIM * len(dims) + len(weight.tensor) + len("_scale")


def _matrix(node: NodeView) -> tuple[object, ...]:
    return (node.attrs.get("alpha"), node.attrs.get("transB")) if node.op == "Gemm" else ()


def _node_bytes(view: GraphView, weight: WeightPlan) -> int:
    """What a node grows by, and the Mul, Cast, Mul and Add behind it."""
    node = view.node(weight.node)
    name, made = node.name, node.outputs[0]
    rank = len(view.tensors[made].shape or ())
    has_bias = len(node.inputs) > 2 and bool(node.inputs[2])
    data = node.inputs[0]
    grown = len("ConvInteger") - len("Conv") if node.op == "Conv" else len("MatMulInteger") - len(node.op)
    grown += len("_quantized_int8") + len("_quantized") + len(data) + 30 + 2 * _FIELD + _provenance(weight.origin)
    grown += len(name) + len("_sums") - len(made) - (_FIELD + len(node.inputs[2]) if has_bias else 0)
    texts = ("_sums", "_sums_float", "_scale") + (("_scaled",) if has_bias else ())
    total = grown + sum(_info(name + text, rank) for text in texts)
    total += _node("Mul", f"{name}_Mul_scales", (f"{data}_scale", f"{weight.tensor}_scale", f"{name}_scale"), weight)
    total += _node("Cast", f"{name}_Cast", (f"{name}_sums", f"{name}_sums_float"), weight) + _NUMBER
    product = f"{name}_scaled" if has_bias else made
    total += _node("Mul", f"{name}_Mul", (f"{name}_sums_float", f"{name}_scale", product), weight)
    if has_bias:
        added = f"{node.inputs[2]}_shaped" if node.op == "Conv" else node.inputs[2]
        total += _node("Add", f"{name}_Add", (product, added, made), weight) + len("_shaped") + _DIM
    return total


def _tensor(view: GraphView, plan: TensorPlan, weights: tuple[WeightPlan, ...]) -> int:
    """The DynamicQuantizeLinear of a tensor, and what makes int8 of it where a ConvInteger reads it."""
    name, rank = plan.tensor, len(view.tensors[plan.tensor].shape or ())
    readers = {reader.node for reader in plan.readers}
    written = tuple(f"{name}_{word}" for word in ("quantized", "scale", "zero_point"))
    total = _named("DynamicQuantizeLinear", f"{name}_DynamicQuantizeLinear", (name, *written), plan.origin)
    total += sum(_info(text, rank if text == written[0] else 0) for text in written)
    reads = [w for w in weights if w.node in readers and view.node(w.node).op == "Conv"]
    if all(weight.scheme.dtype.signed for weight in reads):
        return total
    wide, less, zero = (f"{name}_zero_point_{word}" for word in ("int32", "less_128", "int8"))
    total += _named("Cast", f"{name}_Cast_zero_point", (written[2], wide), plan.origin) + _NUMBER
    total += _named("Sub", f"{name}_Sub_zero_point", (wide, "zero_point_offset", less), plan.origin)
    total += _named("Cast", f"{name}_Cast_int8", (less, zero), plan.origin) + _NUMBER
    integers = f"{name}_quantized_int8"
    total += _named("QuantizeLinear", f"{name}_QuantizeLinear", (name, written[1], zero, integers), plan.origin)
    return total + sum(_info(text, 0) for text in (wide, less, zero)) + _info(integers, rank)


def _node(op: str, name: str, texts: tuple[str, ...], weight: WeightPlan) -> int:
    return _named(op, name, texts, weight.origin)


def _named(op: str, name: str, texts: tuple[str, ...], origin: Origin) -> int:
    """A node: inputs and outputs, name, operator and provenance; ONNX's own domain is not written."""
    return sum(_text(text) for text in (*texts, name, op)) + _provenance(origin) + _FIELD + 1


def _provenance(origin: Origin) -> int:
    return _FIELD + _PROVENANCE + len(str(origin))


def _info(name: str, rank: int) -> int:
    return _FIELD + _text(name) + _TYPE + _TYPED_DIM * rank


def _text(text: str) -> int:
    return _FIELD + len(text.encode(errors="replace"))
