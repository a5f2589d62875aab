"""What a build with weak typing has to be told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.nodes import of_pairs
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import TENSORRT
from qdsl.diag import Severity

# What TensorRT 8.6 to 10.16 ask for, by type, unless the network is strongly typed.
_FLAGS = {"int8": "--int8", "float8e4m3fn": "--fp8", "int4": "--int4"}
_HALF = frozenset({"float16", "bfloat16"})


class Check:
    id: ClassVar[str] = "weakly_typed_flags"
    summary: ClassVar[str] = "flags without which TensorRT before 11 does not build the file, or not as it is meant"
    explanation: ClassVar[str] = (
        "TensorRT 8.6 refuses a network with Q and DQ that is not built with --int8 (Int8 precision has been set for a "
        "layer or layer output, but int8 is not configured in the builder); 10 takes --fp16 alone and does not give "
        "an engine of float16. In 10 --stronglyTyped takes the types from the graph, as a file with float16 scales is "
        "meant; 11 always does, and has none of these flags."
    )
    severity: ClassVar[Severity] = Severity.NOTE
    targets: ClassVar[tuple[str, ...]] = (TENSORRT,)

    def check(self, audited: Audited) -> Iterator[Finding]:
        elements = {each.parameters.element for each in of_pairs(audited)}
        flags = [flag for element, flag in _FLAGS.items() if element in elements]
        if not flags:
            return
        if any(each.parameters.scale_element in _HALF for each in of_pairs(audited)):
            yield Finding(
                self.id,
                Severity.NOTE,
                Place("file"),
                "TensorRT 10 builds it with --stronglyTyped",
                "with weak typing its builder chooses the types; 8.6 knows no float16 scales; 11 takes the types from "
                "the graph",
            )
            return
        halves = any(tensor.dtype in _HALF for tensor in audited.finished.view.tensors.values())
        flags += ["--fp16"] if halves else []
        yield Finding(
            self.id,
            Severity.NOTE,
            Place("file"),
            f"TensorRT 8 and 10 build it with {' '.join(flags)}, or 10 with --stronglyTyped",
            "without them it is refused, or built otherwise than the file says; 11 takes the types from the graph",
        )
