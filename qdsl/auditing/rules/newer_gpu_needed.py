"""Types of few bits that only newer GPUs compute with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.nodes import of_pairs
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import TENSORRT
from qdsl.auditing.telling import listed
from qdsl.diag import Severity
from qdsl.spec.words import count

# The first compute capability of each, and the GPUs that are left out.
NEEDS = {
    "float8e4m3fn": ("8.9", "Ada, Hopper and later; not Ampere, nor Jetson Orin, which is 8.7"),
    "float4e2m1": ("10.0", "Blackwell and later"),
}


class Check:
    id: ClassVar[str] = "newer_gpu_needed"
    summary: ClassVar[str] = "float8 or float4, which TensorRT builds for newer GPUs alone"
    explanation: ClassVar[str] = (
        "The builder refuses the file for other GPUs (Cannot compile for target, because the model contains "
        "HW-specific datatypes): TensorRT-RTX 1.7.1 builds float8 E4M3 for compute capability 8.9 and 12.0 and not for "
        "8.0 and 8.6, and float4 for 12.0 alone. int8 runs on all of them from 8.0 on."
    )
    severity: ClassVar[Severity] = Severity.NOTE
    targets: ClassVar[tuple[str, ...]] = (TENSORRT,)

    def check(self, audited: Audited) -> Iterator[Finding]:
        for element, (capability, which) in NEEDS.items():
            tensors = list(
                dict.fromkeys(each.tensor for each in of_pairs(audited) if each.parameters.element == element)
            )
            if not tensors:
                continue
            yield Finding(
                self.id,
                Severity.NOTE,
                Place("tensor", tensors[0]),
                f"{count(len(tensors), 'tensor')} of {element}, first {listed(tensors[:1])}: it takes a GPU of compute "
                f"capability {capability} or later",
                f"TensorRT builds {element} for {which}",
                also=tuple(Place("tensor", name) for name in tensors[1:]),
            )
