"""Scales per channel whose axis is left to a default."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Fix, Place
from qdsl.auditing.nodes import pair_nodes
from qdsl.auditing.rule import Audited
from qdsl.auditing.telling import shown
from qdsl.diag import Severity
from qdsl.spec import Granularity


class Check:
    id: ClassVar[str] = "axis_not_written"
    summary: ClassVar[str] = "a scale per channel without `axis`: parsers of TensorRT differ in what they take"
    explanation: ClassVar[str] = (
        "ONNX means axis 1 by that, TensorRT 10.1 axis 0, later parsers axis 1 (axis 0 below opset 13): weights are "
        "scaled along another axis than was meant, or the file is refused, by version. Where a Conv has as many inputs "
        "as outputs, TensorRT-RTX 1.7.1 takes it, and computes it in floats without a word. Write the axis."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = ("tensorrt",)

    def check(self, audited: Audited) -> Iterator[Finding]:
        for node, record in pair_nodes(audited):
            several = record.parameters.granularity is Granularity.PER_CHANNEL
            if several and "axis" not in node.attrs:
                yield Finding(
                    self.id,
                    Severity.WARNING,
                    Place("node", node.name),
                    f"{shown(node.name)} has a scale per channel and no `axis`",
                    "ONNX means axis 1; TensorRT takes axis 0 or 1, by version",
                    fix=Fix(rewrite="written_axis", exact=True),
                    origin=record.origin,
                )
