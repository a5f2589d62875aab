"""Concats that put tensors of very different ranges under one scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from qdsl.auditing.finding import Finding, Fix, Place
from qdsl.auditing.reach import reaches
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import standing
from qdsl.auditing.telling import recipe_lines, shown
from qdsl.diag import Severity
from qdsl.finished.codes import span
from qdsl.finished.records import QuantizedTensor
from qdsl.graph.structure import decode_head, mixed_concats
from qdsl.graph.view import NodeView
from qdsl.predict.bounds import Interval
from qdsl.spec import DTYPES
from qdsl.spec.words import count

# Of which a tensor keeps one, at most: a bell-shaped one then keeps about 15 dB, 24 dB less than under its own scale.
SHARE = 16
_KILLED = 2.0  # steps
_DATA = 2  # of a QLinearConcat, each third from there


@dataclass(frozen=True, slots=True)
class _Part:
    """An input of a Concat: its range, and how many steps of the shared scale that is."""

    port: int
    tensor: str
    span: Interval
    steps: float


class Check:
    id: ClassVar[str] = "scale_over_disparate_ranges"
    summary: ClassVar[str] = "a Concat joins tensors of very different ranges under one scale"
    explanation: ClassVar[str] = (
        "The scale is made for the input with the widest range: one that keeps under 1 in 16 of its steps has lost "
        "most of what it held, under 2 steps all of it. The usual case is the head of a detector: boxes in pixels "
        "(0..640) leave probabilities (0..1) 0.4 steps of 256, and every score becomes 0. YOLOv8n quantized as a "
        "whole by onnxruntime's defaults finds nothing (mAP50-95 0.000 of 0.558), with the decoding in float 0.557."
    )
    severity: ClassVar[Severity] = Severity.ERROR
    targets: ClassVar[tuple[str, ...]] = ()

    def check(self, audited: Audited) -> Iterator[Finding]:
        for node in audited.finished.view.nodes:
            record = _written(audited, node)
            held = None if record is None else span(record.parameters)
            if record is None or held is None:
                continue
            parts = _parts(audited, node, record)
            levels = 1 << DTYPES[record.parameters.element].bits
            starved = sorted((p for p in parts if 0 < p.steps < levels / SHARE), key=lambda p: (p.steps, p.port))
            if starved:
                yield self._told(audited, node, record, starved, max(parts, key=lambda p: p.steps))

    def _told(
        self, audited: Audited, node: NodeView, record: QuantizedTensor, starved: list[_Part], widest: _Part
    ) -> Finding:
        worst = starved[0]
        more = f", {count(len(starved) - 1, 'more input')} under {SHARE}" if len(starved) > 1 else ""
        reason = dict(mixed_concats(audited.finished.view)).get(node.index, "")
        return Finding(
            self.id,
            Severity.ERROR if worst.steps < _KILLED else Severity.WARNING,
            Place("node", node.name, worst.port),
            f"{shown(node.name)} puts {shown(worst.tensor)} of {_told(worst.span)} under one scale with "
            f"{_told(widest.span)}",
            f"the smaller keeps {worst.steps:.2g} steps of it{more}{f': it {reason}' if reason else ''}",
            also=tuple(Place("node", node.name, part.port) for part in starved[1:]),
            fix=_fix(audited, node),
            origin=record.origin,
        )


def _written(audited: Audited, node: NodeView) -> QuantizedTensor | None:
    """How what a Concat writes is quantized, where all of it has one form."""
    if node.op not in ("Concat", "QLinearConcat") or not node.outputs:
        return None
    found = standing(audited).writes.get(node.outputs[0], ())
    return found[0] if len(found) == 1 else None


def _parts(audited: Audited, node: NodeView, record: QuantizedTensor) -> list[_Part]:
    """Steps count from 0, which every scale has to hold; constants and what has no known range are left out."""
    known, view, scale = reaches(audited), audited.finished.view, record.parameters.scale
    step = 0.0 if scale is None else float(scale.reshape(-1)[0])
    ports = range(_DATA, len(node.inputs), 3) if node.op == "QLinearConcat" else range(len(node.inputs))
    found = []
    for port in ports:
        low, high = known.get(node.inputs[port], (0.0, float("inf")))
        wide = max(high, 0.0) - min(low, 0.0)
        if wide < float("inf") and step > 0 and not view.is_constant(node.inputs[port]):
            found.append(_Part(port, node.inputs[port], (low, high), wide / step))
    return found


def _told(held: Interval) -> str:
    return f"[{held[0]:.3g}, {held[1]:.3g}]"


def _fix(audited: Audited, node: NodeView) -> Fix | None:
    """Of a detector the whole decoding, which has more such places than one."""
    if node.index in decode_head(audited.finished.view):
        return Fix(lines=("keep decode_head in float32",))
    return recipe_lines("keep {} in float32", node.name)
