"""Layers in int8 for whose shapes TensorRT has no fast kernel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.carrying import reads_carried
from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import TENSORRT, data_port, passes_integers, standing, weights
from qdsl.auditing.telling import listed, recipe_lines
from qdsl.diag import Severity
from qdsl.graph.neighbours import Weight
from qdsl.graph.view import NodeView
from qdsl.predict.slow_kernels import BECAUSE, Slow, slow_kernels
from qdsl.spec.words import count

_PIECES = "group_norm"


class Check:
    id: ClassVar[str] = "slow_kernel"
    summary: ClassVar[str] = "layers in int8 of shapes for which TensorRT has no fast kernel"
    explanation: ClassVar[str] = (
        "A layer in int8 may take longer than in float16, or its engine more memory: few channels, depthwise layers, "
        "products of a vector, a 7x7 kernel on pictures, GroupNorm in pieces. The bounds are those by which NVIDIA's "
        "Model Optimizer leaves layers in floats; TensorRT-RTX 1.7.1 computes all of them in int8, and how fast is for "
        "a profile on the device to say."
    )
    severity: ClassVar[Severity] = Severity.NOTE
    targets: ClassVar[tuple[str, ...]] = (TENSORRT,)

    def check(self, audited: Audited) -> Iterator[Finding]:
        if not passes_integers(audited):
            return
        layers = [(node, weight) for node, weight in weights(audited) if _in_int8(audited, node, weight)]
        for slow in slow_kernels(audited.finished.view, layers):
            yield self._told(slow)

    def _told(self, slow: Slow) -> Finding:
        what, why = BECAUSE[slow.reason]
        few = len(slow.nodes) == 1
        return Finding(
            self.id,
            Severity.NOTE,
            Place("node", slow.nodes[0]),
            f"{count(len(slow.nodes), 'node')} {'has' if few else 'have'} {what}: {listed(slow.nodes)}",
            why,
            also=tuple(Place("node", name) for name in slow.nodes[1:]),
            fix=None if slow.reason == _PIECES else recipe_lines("keep {} in float16", *slow.nodes),
        )


def _in_int8(audited: Audited, node: NodeView, weight: Weight) -> bool:
    record = standing(audited).read(node, weight.port)
    element = "" if record is None else record.parameters.element
    return element in ("int8", "uint8") and reads_carried(audited, node, data_port(weight))
