"""What float16 changes in the size of the emitted file."""

from __future__ import annotations

from collections.abc import Iterator

from qdsl.plan.context import Context
from qdsl.plan.float16 import Float16Parts, casts

# Bytes in an ONNX file (protobuf wire format), see `qdsl.targets.ort.size`: of a Cast beside its names, of what is
# declared of a tensor beside its name and dims, of an initializer beside its name and data.
_CAST = 60
_DECLARED = 16
_CONSTANT = 16
_DIM = 5


def float16_bytes(context: Context, halves: Float16Parts) -> int:
    """Bytes more (less, where negative) than without float16."""
    return sum(_constants(context, halves)) + sum(_casts(context, halves)) + sum(_stored(context, halves))


def float16_reads(context: Context, halves: Float16Parts) -> set[tuple[int, int]]:
    """Where float16 is read: nodes and ports."""
    reads = {(index, port) for index, half in halves.nodes.items() for port in half.reads}
    return reads | {(context.view.node_index[weight.node], weight.port) for weight in halves.weights}


def _constants(context: Context, halves: Float16Parts) -> Iterator[int]:
    """Each constant is stored at half its size; once more where a float32 node reads it, too."""
    reads = float16_reads(context, halves)
    for name, tensor in context.view.tensors.items():
        uses = {(use.node, use.port) for use in tensor.uses}
        if tensor.kind != "constant" or not uses & reads:
            continue
        elements = tensor.elements or 0
        yield len("_float16") * (1 + len(uses & reads))
        yield 2 * elements + _CONSTANT + len(name) if uses - reads or tensor.is_output else -2 * elements


def _casts(context: Context, halves: Float16Parts) -> Iterator[int]:
    for name, kinds in casts(context, halves).items():
        for kind, uses in kinds.items():
            yield _cast(context, name, f"_{kind}") + len(uses) * (1 + len(kind))


def _stored(context: Context, halves: Float16Parts) -> Iterator[int]:
    """A Cast for each constant that float32 nodes read."""
    for name in sorted({weight.tensor for weight in halves.weights}):
        yield _cast(context, name, "_float16_float32")


def _cast(context: Context, name: str, end: str) -> int:
    rank = len(context.view.tensors[name].shape or ())
    return _CAST + 4 * len(name) + 3 * len(end) + _DECLARED + _DIM * rank
