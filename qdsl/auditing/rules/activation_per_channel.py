"""Activations with a scale per channel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.nodes import of_pairs
from qdsl.auditing.rule import Audited
from qdsl.auditing.telling import recipe_lines, shown
from qdsl.diag import Severity
from qdsl.finished.records import Role
from qdsl.spec import Granularity


class Check:
    id: ClassVar[str] = "activation_per_channel"
    summary: ClassVar[str] = "an activation has a scale per channel or in blocks: TensorRT computes in float behind it"
    explanation: ClassVar[str] = (
        "TensorRT imports the file and runs the nodes behind in float without a word (seen with TensorRT-RTX). It "
        "takes one scale for an activation; more of them only where the quantized tensor comes from a constant."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = ("tensorrt",)

    def check(self, audited: Audited) -> Iterator[Finding]:
        for record in of_pairs(audited):
            if record.role is Role.ACTIVATION and record.parameters.granularity is not Granularity.PER_TENSOR:
                yield Finding(
                    self.id,
                    Severity.WARNING,
                    Place("tensor", record.tensor),
                    f"{shown(record.tensor)} is an activation with more scales than one",
                    "TensorRT computes what reads it in float",
                    fix=recipe_lines("layers tensor {} { activations int8 symmetric per_tensor }", record.tensor),
                    origin=record.origin,
                )
