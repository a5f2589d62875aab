"""Stored integers that something moves or cuts off before they are dequantized."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Fix, Place
from qdsl.auditing.nodes import of_pairs
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import TENSORRT
from qdsl.auditing.telling import listed, shown
from qdsl.diag import Severity
from qdsl.finished.records import Form


class Check:
    id: ClassVar[str] = "stored_integers_moved"
    summary: ClassVar[str] = "a node stands between stored integers and their DequantizeLinear"
    explanation: ClassVar[str] = (
        "TensorRT's builder refuses the file: a constant of int8 may be read by a DequantizeLinear alone (Quantized "
        "constant is only allowed before DQ, seen with TensorRT-RTX 1.7.1), and not by a Clip that narrows its range, "
        "a Transpose or a Reshape. What such a node makes of the constant can be stored in its place. Behind the "
        "DequantizeLinear a Transpose or a Reshape costs nothing."
    )
    severity: ClassVar[Severity] = Severity.ERROR
    targets: ClassVar[tuple[str, ...]] = (TENSORRT,)

    def check(self, audited: Audited) -> Iterator[Finding]:
        for record in of_pairs(audited):
            seen = audited.finished.view.tensors.get(record.stored)
            integers = seen is not None and (seen.dtype or "").startswith(("int", "uint"))
            if record.form is Form.STORED and record.between and integers:
                yield Finding(
                    self.id,
                    Severity.ERROR,
                    Place("tensor", record.tensor),
                    f"{listed(record.between)} stands between stored integers and their DequantizeLinear "
                    f"{shown(record.dequantizers[0])}",
                    "TensorRT does not build it: a constant of integers goes straight into a DequantizeLinear",
                    also=tuple(Place("node", name) for name in (*record.between, *record.dequantizers)),
                    fix=Fix(rewrite="stored_integers", exact=True),
                    origin=record.origin,
                )
