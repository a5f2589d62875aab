"""What float16 changes in the size of an ONNX file: constants at half their size, Casts, and the scales of pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Protocol

from qdsl.graph.view import GraphView, Use
from qdsl.passes.file_bytes import DIM, dequantize_bytes, info_bytes
from qdsl.passes.half_pairs import HalfPairsPlan, paired_reads
from qdsl.spec.plan import Float16Node, Float16Weight, TensorPlan, WeightPlan

# Bytes in an ONNX file: of a Cast beside its names, of what is declared of a tensor beside its name
# and dims, of an initializer beside its name and data.
_CAST = 60
_DECLARED = 16
_CONSTANT = 16
_DIM = 5
_END = "_float16"


class Float16Plan(HalfPairsPlan, Protocol):
    """The part of a plan that speaks of float16. `recipe` is the recipe's name."""

    @property
    def recipe(self) -> str: ...

    @property
    def halves(self) -> Sequence[Float16Node]: ...

    @property
    def half_weights(self) -> Sequence[Float16Weight]: ...


def float16_bytes(view: GraphView, plan: Float16Plan) -> int:
    """Bytes that the file of `plan` takes more than it would in float32; less where negative."""
    return sum((*_constants(view, plan), *_casts(view, plan), *_stored(view, plan), *_pairs(view, plan)))


def float16_reads(view: GraphView, plan: Float16Plan) -> set[tuple[int, int]]:
    """Where float16 is read: nodes and ports."""
    reads = {(view.node_index[half.node], port) for half in plan.halves for port in half.reads}
    return reads | {(view.node_index[weight.node], weight.port) for weight in plan.half_weights}


def _constants(view: GraphView, plan: Float16Plan) -> Iterator[int]:
    """Each constant is stored at half its size; once more where a float32 node reads it, too."""
    reads = float16_reads(view, plan) - paired_reads(view, plan)
    for name, tensor in view.tensors.items():
        uses = {(use.node, use.port) for use in tensor.uses}
        if tensor.kind != "constant" or not uses & reads:
            continue
        elements = tensor.elements or 0
        yield len("_float16") * (1 + len(uses & reads))
        yield 2 * elements + _CONSTANT + len(name) if uses - reads or tensor.is_output else -2 * elements


def _casts(view: GraphView, plan: Float16Plan) -> Iterator[int]:
    for name, kinds in _between(view, plan).items():
        for kind, uses in kinds.items():
            yield _cast(view, name, f"_{kind}") + len(uses) * (1 + len(kind))


def _stored(view: GraphView, plan: Float16Plan) -> Iterator[int]:
    """A Cast for each constant that float32 nodes read."""
    for name in sorted({weight.tensor for weight in plan.half_weights}):
        yield _cast(view, name, "_float16_float32")


def _cast(view: GraphView, name: str, end: str) -> int:
    rank = len(view.tensors[name].shape or ())
    return _CAST + 4 * len(name) + 3 * len(end) + _DECLARED + _DIM * rank


def _between(view: GraphView, plan: Float16Plan) -> dict[str, dict[str, list[Use]]]:
    """The Casts between float16 and float32 nodes: by tensor, then by the type cast to, the ports that read it. A graph
    output reads float32; constants have none."""
    written = _written(view, plan)
    wanted = {(view.node_index[half.node], port) for half in plan.halves for port in half.reads}
    paired = paired_reads(view, plan)
    found: dict[str, dict[str, list[Use]]] = {}
    for name, tensor in view.tensors.items():
        if tensor.kind == "constant":
            continue
        for use in tensor.uses:
            if (use.node, use.port) in paired:
                continue
            to = "float16" if (use.node, use.port) in wanted else "float32"
            if (to == "float16") != (name in written):
                found.setdefault(name, {}).setdefault(to, []).append(use)
        if tensor.is_output and name in written:
            found.setdefault(name, {}).setdefault("float32", [])
    return found


def _pairs(view: GraphView, plan: Float16Plan) -> Iterator[int]:
    """What pairs with float16 scales take more than with float32 scales."""
    written, reads = _written(view, plan), float16_reads(view, plan)
    groups: dict[str, set[bool]] = {}
    for each in plan.tensors:
        if not each.scheme.float16_scales:
            continue
        kinds = {bool(to.node) and (view.node_index[to.node], to.port) in reads for to in each.readers}
        yield from _dequantizers(view, each, kinds)
        yield len(_END) if each.tensor in written else 0
        groups.setdefault(each.group, set()).update({each.tensor in written} if _quantized(view, each) else (), kinds)
    for group, kinds in groups.items():
        yield _scales(group, 1, kinds)
    weights: dict[tuple[object, ...], tuple[WeightPlan, set[bool]]] = {}
    for weight in plan.weights:
        if weight.scheme.float16_scales:
            key = (weight.tensor, weight.scheme, weight.axis, weight.guard)
            found = weights.setdefault(key, (weight, set()))
            found[1].add((view.node_index[weight.node], weight.port) in reads)
    for weight, kinds in weights.values():
        yield from _dequantizers(view, weight, kinds)
        yield _scales(weight.tensor, _count(view, weight), kinds)


def _quantized(view: GraphView, plan: TensorPlan) -> bool:
    return not view.is_constant(plan.tensor)


def _dequantizers(view: GraphView, plan: TensorPlan | WeightPlan, kinds: set[bool]) -> Iterator[int]:
    """The longer name of a scale, and one DequantizeLinear more where both types are read."""
    yield len(_END) * (True in kinds)
    if len(kinds) > 1:
        yield dequantize_bytes(plan.tensor, plan.origin) + info_bytes(view, plan.tensor, "_dequantized") + 4 * len(_END)


def _scales(name: str, count: int, kinds: set[bool]) -> int:
    """A constant of `count` scales as float16, in the place of the float32 one or beside it."""
    if kinds == {True}:
        return len(_END) - 2 * count
    return 2 * count + _CONSTANT + DIM + len(f"{name}_scale{_END}") if True in kinds else 0


def _count(view: GraphView, weight: WeightPlan) -> int:
    """Scales of a weight: one for each channel or block."""
    dims = [dim if isinstance(dim, int) else 1 for dim in view.tensors[weight.tensor].shape or ()]
    if weight.axis is None or not dims:
        return 1
    size = dims[weight.axis]
    return -(-size // weight.scheme.block) * (prod(dims) // size) if weight.scheme.block else size


def _written(view: GraphView, plan: Float16Plan) -> set[str]:
    """The tensors that are float16."""
    return {view.node(half.node).outputs[port] for half in plan.halves for port in half.writes}
