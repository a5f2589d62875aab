"""Layers in float8 beside layers in int8."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.nodes import of_pairs
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import TENSORRT
from qdsl.auditing.telling import shown
from qdsl.diag import Severity

_EIGHT, _INT8 = "float8e4m3fn", "int8"


class Check:
    id: ClassVar[str] = "float8_beside_int8"
    summary: ClassVar[str] = "a file has float8 and int8: TensorRT 10 builds it with strong typing alone"
    explanation: ClassVar[str] = (
        "Built with weak typing, TensorRT 10 asks for --int8 and for --fp8, and takes no two of them. With "
        "--stronglyTyped, and in 11, where there is nothing else, the types are those of the graph: TensorRT-RTX "
        "1.7.1 computes each layer in its own."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = (TENSORRT,)

    def check(self, audited: Audited) -> Iterator[Finding]:
        first = {each.parameters.element: each.tensor for each in reversed(tuple(of_pairs(audited)))}
        if _EIGHT in first and _INT8 in first:
            eight, integers = first[_EIGHT], first[_INT8]
            yield Finding(
                self.id,
                Severity.WARNING,
                Place("file"),
                f"{shown(eight)} is float8, and {shown(integers)} is int8",
                "--fp8 and --int8 together are an error in TensorRT 10: build it with --stronglyTyped",
                also=(Place("tensor", eight), Place("tensor", integers)),
            )
