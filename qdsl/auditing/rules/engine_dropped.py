"""Nodes that have integers and compute in floats in the engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.engine_nodes import Seen, seen_nodes
from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.telling import shown
from qdsl.diag import Severity
from qdsl.spec.engine import DROPPED, WEIGHT_ONLY


class Check:
    id: ClassVar[str] = "engine_dropped"
    summary: ClassVar[str] = "the node has integer weights, and computes in floats in the engine"
    explanation: ClassVar[str] = (
        "The engine dequantizes the weights and multiplies floats: the pairs cost accuracy and bring no speed. No "
        "parser or builder says so; it is seen in the layers of the engine (`--engine`). The rules about placement "
        "name the reason. A note, where nothing follows for other builders: TensorRT-RTX 1.7.1 runs every "
        "ConvTranspose in floats."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = ("tensorrt",)

    def check(self, audited: Audited) -> Iterator[Finding]:
        for each in seen_nodes(audited):
            dropped = each.verdict.verdict == DROPPED
            if dropped or (each.verdict.verdict == WEIGHT_ONLY and each.in_integers):
                yield self._finding(audited, each, dropped)

    def _finding(self, audited: Audited, each: Seen, dropped: bool) -> Finding:
        source = "" if audited.engine is None else audited.engine.source
        computes = "computes in floats" if dropped else "multiplies floats by integer weights"
        layer = f" (`{each.verdict.layer}`: {each.verdict.because})" if each.verdict.layer else ""
        return Finding(
            self.id,
            Severity.WARNING if each.verdict.holds_elsewhere else Severity.NOTE,
            Place("node", each.node.name),
            f"{shown(each.node.name)} is quantized and {computes} in the engine{layer}",
            source if each.verdict.holds_elsewhere else f"{source}; other builders of TensorRT may have a kernel",
            origin="" if each.weight is None else each.weight.origin,
        )
