"""Attention scores quantized together with the large negative numbers that mask them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.reach import reaches
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import standing
from qdsl.auditing.telling import recipe_lines, shown
from qdsl.diag import Severity
from qdsl.finished.codes import span
from qdsl.finished.records import QuantizedTensor
from qdsl.graph.moves import moved
from qdsl.graph.view import NodeView
from qdsl.predict.bounds import Interval

_SOFTMAX = frozenset({"Softmax", "LogSoftmax"})
_READS = 16.0  # how far below the largest of a row a Softmax tells values apart
_LEAST = 32  # levels of that, at least
_MASKED = -1000.0  # no score of a trained network lies there
_STEPS = 4


class Check:
    id: ClassVar[str] = "mask_eats_range"
    summary: ClassVar[str] = "attention scores share a scale with the mask that is added to them"
    explanation: ClassVar[str] = (
        "Nearly all integers stand for the way down to the mask (-10000, -65504, -1e9), and of the scores nothing is "
        "left. A Softmax tells apart what lies up to 16 below the largest of a row; 10000 in 256 steps is 39 a step. "
        "qdsl lets such ranges saturate where the Softmax no longer looks; without it, leave the masked scores in "
        "float."
    )
    severity: ClassVar[Severity] = Severity.ERROR
    targets: ClassVar[tuple[str, ...]] = ()

    def check(self, audited: Audited) -> Iterator[Finding]:
        told: set[str] = set()
        for node in audited.finished.view.nodes:
            record = _read(audited, node) if node.op in _SOFTMAX and not node.domain else None
            held = None if record is None else span(record.parameters)
            if record is None or held is None or record.tensor in told or not _eats(record, held):
                continue
            told.add(record.tensor)
            yield self._told(audited, node, record, held)

    def _told(self, audited: Audited, node: NodeView, record: QuantizedTensor, held: Interval) -> Finding:
        writer = audited.finished.view.producer(record.tensor)
        mask = "" if writer is None else _mask(writer, reaches(audited))
        place = node if writer is None or writer.name in standing(audited).at else writer
        step = _step(record)
        return Finding(
            self.id,
            Severity.ERROR,
            Place("node", place.name),
            f"the scores of {shown(node.name)} share a scale with {shown(mask) if mask else 'their mask'}: one step is "
            f"{step:.3g}",
            f"the scale reaches down to {held[0]:.3g}; of what a Softmax tells apart, 16, it keeps {_READS / step:.2g} "
            "levels",
            fix=recipe_lines("layers tensor {} { activations float32 }", record.tensor),
            origin=record.origin,
        )


def _read(audited: Audited, node: NodeView) -> QuantizedTensor | None:
    """The record behind what a Softmax reads, past nodes that only move values."""
    stands, view = standing(audited), audited.finished.view
    for _ in range(_STEPS):
        found = stands.read(node, 0)
        if found is not None:
            return found
        before = view.producer(node.inputs[0]) if node.inputs else None
        if before is None or len(moved(before)) != 1:
            return None
        node = before
    return None


def _eats(record: QuantizedTensor, held: Interval) -> bool:
    return held[0] <= _MASKED and _LEAST * _step(record) > _READS


def _step(record: QuantizedTensor) -> float:
    scale = record.parameters.scale
    return 0.0 if scale is None else float(scale.reshape(-1)[0])


def _mask(writer: NodeView, known: Mapping[str, Interval]) -> str:
    """The input that brings the large negative numbers in; "" where none of them is bounded."""
    found = [name for name in writer.inputs if known.get(name, (0.0, 0.0))[0] <= _MASKED]
    bounded = [name for name in found if known[name][0] > float("-inf")]
    return bounded[0] if bounded else ""
