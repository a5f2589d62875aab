"""How much of a shared or wide scale an activation function that saturates really reads.

A Sigmoid tells values from -8 to 8 apart, a Softmax those up to 16 below the largest of a row. Where under 32 levels
lie in that span, one step changes a Sigmoid by up to an eighth and a probability by more than half: seen in yolox_nano,
whose stem spans [-102, 131].
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from qdsl.calibrate import Ranges
from qdsl.capability.flat import ROWS
from qdsl.diag import Diagnostic, Severity
from qdsl.findings.cures import Cure, first_cure
from qdsl.graph.view import NodeView
from qdsl.lang.quoting import names
from qdsl.passes.qdq_parameters import activation_parameters
from qdsl.plan import Decisions
from qdsl.predict.needs import flat_ends
from qdsl.quant import limits
from qdsl.spec.plan import TensorPlan
from qdsl.spec.words import plain
from qdsl.work.prepared import Prepared

_LEAST = 32
_ROW = 16.0
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class _Starved:
    """A node that reads `levels` of `of` levels of `tensor`; `step` is one of them."""

    node: NodeView
    tensor: str
    levels: float
    of: int
    step: float


def few_levels(prepared: Prepared, decided: Decisions, ranges: Ranges, sets: Mapping[str, str]) -> Iterator[Diagnostic]:
    """One warning for all activations that read too few levels, with a cure that was tried."""
    found = sorted(_starved(prepared, decided, ranges), key=lambda each: (each.levels, each.node.index))
    if not found:
        return
    tensors = list(dict.fromkeys(each.tensor for each in found))

    def cured(again: Decisions) -> bool:
        return not {each.node.name for each in _starved(prepared, again, ranges)} & {each.node.name for each in found}

    lines = [f"layers tensor {quoted} {{ activations float32 }}"] if (quoted := names(tensors)) else []
    lines += [f"keep {quoted} in float32"] if (quoted := names([each.node.name for each in found])) else []
    cure = first_cure([Cure(line) for line in lines], prepared, sets, decided.plan.target, cured)
    worst = found[0]
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    rare = "or leave rare outliers out: `calibrate percentile 99.99`, with `bias_correct` in `improve`"
    yield Diagnostic(
        "few-levels",
        f"{worst.node.op} {plain(worst.node.name)}{more} tell{'' if more else 's'} few levels apart",
        decided.context.cascade.mode.span,
        _words(worst),
        (cure.told if cure is not None else "keep what reads these tensors in float32", rare),
        tuple(_words(each) for each in found[1 : _SHOWN + 1]),
        Severity.WARNING,
    )


def _words(each: _Starved) -> str:
    return f"{plain(each.node.name)} reads {each.levels:.2g} of {each.of} levels of {plain(each.tensor)}"


def _starved(prepared: Prepared, decided: Decisions, ranges: Ranges) -> Iterable[_Starved]:
    spans = dict(_spans(decided))
    tensors = [t for t in decided.plan.tensors if t.scheme.dtype.integer and t.calibration.method != "dynamic"]
    read = [(tensor, node, width) for tensor in tensors for node, width in _readers(tensor, spans, decided)]
    if not read:
        return
    parameters = activation_parameters(tensors, ranges, prepared.view, prepared.model)
    for tensor, node, width in read:
        lowest, highest = limits(tensor.scheme)
        step = float(parameters[tensor.group].scale)
        if width / step < min(_LEAST, (highest - lowest + 1) / 4):
            yield _Starved(node, tensor.tensor, width / step, highest - lowest + 1, step)


def _readers(tensor: TensorPlan, spans: Mapping[int, float], decided: Decisions) -> Iterator[tuple[NodeView, float]]:
    for node in decided.context.view.consumers(tensor.tensor):
        if node.index in spans and node.inputs[0] == tensor.tensor and tensor.read_by(node.name, 0):
            yield node, spans[node.index]


def _spans(decided: Decisions) -> Iterator[tuple[int, float]]:
    """How wide the values are that a saturating node tells apart."""
    flats = {op: flat for flat in decided.context.capability.flats for op in flat.ops}
    for node in decided.context.view.nodes:
        flat = flats.get(node.op) if not node.domain else None
        if flat is None or node.op in ("Clip", "Relu"):
            continue
        low, high = (-_ROW, 0.0) if flat.kind == ROWS else flat_ends(node, flat, decided.context.view)
        if math.isfinite(high - low):
            yield node.index, high - low
