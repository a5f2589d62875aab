"""Bytes of the file that `keep_weights` adds, for predicting its size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from qdsl.graph.view import GraphView, NodeView
from qdsl.passes.file_bytes import CONSTANT, DIM, FLOAT, ZERO_POINT, dequantize_bytes, info_bytes, text_bytes
from qdsl.spec import Granularity
from qdsl.spec.plan import Origin, Plan, TensorPlan

_BY = Origin("keep_weights")
_AXIS, _KEPT = 13, "_dequantized_kept"
_FIRST_OPSET = 13


def kept_bytes(view: GraphView, plan: Plan, kept: Iterable[Sequence[str]]) -> int:
    """What it adds for each of `kept`: a node, and the one that reads the integers for it (the same, or a Pad). Those
    that read one tensor with as many channels share."""
    planned = {tensor.tensor: tensor for tensor in plan.tensors}
    copied = {weight.node for weight in plan.weights if weight.scheme.dtype.bits < 4}
    shared: dict[tuple[str, int], list[str]] = {}
    total = 0
    for names in kept:
        node, reader = view.node(names[0]), view.node(names[-1])
        channels = 0 if node.name in copied else _repeats(view, node, planned.get(reader.inputs[0]))
        if channels:
            shared.setdefault((reader.inputs[0], channels), []).append(reader.name)
        else:
            total += _copied(view, reader.inputs[0])
    return total + sum(_repeated(view, planned, shared))


def _repeats(view: GraphView, node: NodeView, plan: TensorPlan | None) -> int:
    """For how many channels a scale is repeated; 0 where the value is copied instead."""
    shape = view.tensors[node.inputs[1]].shape or ()
    if plan is None or node.op not in ("Conv", "ConvTranspose") or len(shape) < 2 or view.opset < _FIRST_OPSET:
        return 0
    if plan.scheme.granularity is not Granularity.PER_TENSOR or plan.scheme.dtype.name == "int8":
        return 0
    groups, size = node.attrs.get("group", 1), shape[0] if node.op == "ConvTranspose" else shape[1]
    channels = size * (groups if node.op == "Conv" and isinstance(groups, int) else 1) if isinstance(size, int) else 0
    return channels if channels > 1 else 0


def _repeated(
    view: GraphView, planned: Mapping[str, TensorPlan], shared: Mapping[tuple[str, int], Sequence[str]]
) -> Iterator[int]:
    for (tensor, channels), readers in shared.items():
        plan, end = planned[tensor], len(f"_{channels}")
        integers = (channels * plan.scheme.dtype.bits + 7) // 8
        yield FLOAT * channels + integers + 2 * (CONSTANT + DIM + end) + len(f"{plan.group}_scale{ZERO_POINT}")
        yield dequantize_bytes(tensor, _BY) + 2 * len("_kept") + 2 * end + _AXIS + info_bytes(view, tensor, _KEPT)
        yield len("_kept") * len(readers)
    for tensor in {tensor for tensor, _ in shared}:
        moved = {reader for (of, _), readers in shared.items() if of == tensor for reader in readers}
        if {reader.node for reader in planned[tensor].readers} <= moved:
            yield -dequantize_bytes(tensor, planned[tensor].origin) - info_bytes(view, tensor, "_dequantized")


def _copied(view: GraphView, tensor: str) -> int:
    texts = (f"{tensor}_dequantized", f"{tensor}_copy", f"{tensor}_Max", "Max", "")
    return sum(map(text_bytes, texts)) + info_bytes(view, tensor, "_copy") + len("_copy") + text_bytes(str(_BY))
