"""What float16 changes in the size of the emitted file."""

from __future__ import annotations

from collections.abc import Iterator

from qdsl.graph.view import GraphView, Use
from qdsl.spec.plan import Plan

# Bytes in an ONNX file (protobuf wire format), see `qdsl.targets.ort.size`: of a Cast beside its names, of what is
# declared of a tensor beside its name and dims, of an initializer beside its name and data.
_CAST = 60
_DECLARED = 16
_CONSTANT = 16
_DIM = 5


def float16_bytes(view: GraphView, plan: Plan) -> int:
    """Bytes more (less, where negative) than without float16."""
    return sum(_constants(view, plan)) + sum(_casts(view, plan)) + sum(_stored(view, plan))


def float16_reads(view: GraphView, plan: Plan) -> set[tuple[int, int]]:
    """Where float16 is read: nodes and ports."""
    reads = {(view.node_index[half.node], port) for half in plan.halves for port in half.reads}
    return reads | {(view.node_index[weight.node], weight.port) for weight in plan.half_weights}


def _constants(view: GraphView, plan: Plan) -> Iterator[int]:
    """Each constant is stored at half its size; once more where a float32 node reads it, too."""
    reads = float16_reads(view, plan)
    for name, tensor in view.tensors.items():
        uses = {(use.node, use.port) for use in tensor.uses}
        if tensor.kind != "constant" or not uses & reads:
            continue
        elements = tensor.elements or 0
        yield len("_float16") * (1 + len(uses & reads))
        yield 2 * elements + _CONSTANT + len(name) if uses - reads or tensor.is_output else -2 * elements


def _casts(view: GraphView, plan: Plan) -> Iterator[int]:
    for name, kinds in _between(view, plan).items():
        for kind, uses in kinds.items():
            yield _cast(view, name, f"_{kind}") + len(uses) * (1 + len(kind))


def _stored(view: GraphView, plan: Plan) -> Iterator[int]:
    """A Cast for each constant that float32 nodes read."""
    for name in sorted({weight.tensor for weight in plan.half_weights}):
        yield _cast(view, name, "_float16_float32")


def _cast(view: GraphView, name: str, end: str) -> int:
    rank = len(view.tensors[name].shape or ())
    return _CAST + 4 * len(name) + 3 * len(end) + _DECLARED + _DIM * rank


def _between(view: GraphView, plan: Plan) -> dict[str, dict[str, list[Use]]]:
    """The Casts between float16 and float32 nodes: by tensor, then by the type cast to, the ports that read it. A graph
    output reads float32; constants have none."""
    written = {view.node(half.node).outputs[port] for half in plan.halves for port in half.writes}
    wanted = {(view.node_index[half.node], port) for half in plan.halves for port in half.reads}
    found: dict[str, dict[str, list[Use]]] = {}
    for name, tensor in view.tensors.items():
        if tensor.kind == "constant":
            continue
        for use in tensor.uses:
            to = "float16" if (use.node, use.port) in wanted else "float32"
            if (to == "float16") != (name in written):
                found.setdefault(name, {}).setdefault(to, []).append(use)
        if tensor.is_output and name in written:
            found.setdefault(name, {}).setdefault("float32", [])
    return found
