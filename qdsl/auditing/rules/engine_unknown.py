"""Nodes with integers of which the engine does not say what they compute in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.engine_nodes import seen_nodes
from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.telling import shown
from qdsl.diag import Severity
from qdsl.spec.engine import ELIMINATED, UNKNOWN


class Check:
    id: ClassVar[str] = "engine_unknown"
    summary: ClassVar[str] = "the node has integer weights, and the engine does not say what it computes in"
    explanation: ClassVar[str] = (
        "Whether the node runs in integers is not known, which is no pass: it was fused into a layer that reads "
        "integers and whose arithmetic is not shown (a Gemm with scales along its inputs, in TensorRT-RTX 1.7.1), or "
        "it stands in no layer at all."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = ("tensorrt",)

    def check(self, audited: Audited) -> Iterator[Finding]:
        source = "" if audited.engine is None else audited.engine.source
        for each in seen_nodes(audited):
            if each.verdict.verdict not in (UNKNOWN, ELIMINATED):
                continue
            said = "stands in no layer of the engine"
            if each.verdict.verdict == UNKNOWN:
                said = f"is quantized, and what it computes in is not known: {each.verdict.because}"
            place = Place("node", each.node.name)
            yield Finding(self.id, Severity.WARNING, place, f"{shown(each.node.name)} {said}", source)
