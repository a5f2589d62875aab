"""float8 and float4 where TensorRT has no kernel that multiplies them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import TENSORRT, data_port, standing, weights
from qdsl.auditing.telling import shown
from qdsl.diag import Severity
from qdsl.finished.records import Parameters
from qdsl.graph.view import NodeView
from qdsl.spec import Granularity

_EIGHT, _FOUR = "float8e4m3fn", "float4e2m1"
_FOUR_BLOCK = 16
_Verdict = tuple[Severity, str, str] | None
_FALLS = "TensorRT falls back without a message, and Q and DQ cost more than they save"
_EXPANDED = "a kernel of its own makes floats of them at every inference, and the product is one of floats"


class Check:
    id: ClassVar[str] = "narrow_floats_without_kernel"
    summary: ClassVar[str] = "float8 or float4 weights in a form that TensorRT multiplies in floats, or refuses"
    explanation: ClassVar[str] = (
        "TensorRT multiplies float8 by float8, with one scale or one per output: beside int8 activations the builder "
        "fails, and in blocks with float scales it makes floats of the weights in a kernel of its own (seen with "
        "TensorRT-RTX 1.7.1, compute capability 12.0). A Conv of more than 32 kernel elements falls back to floats, "
        "and so does one behind a MaxPool that its pair stands before. float4 weights it makes floats of, too; NVIDIA "
        f"documents blocks of {_FOUR_BLOCK} for them."
    )
    severity: ClassVar[Severity] = Severity.ERROR
    targets: ClassVar[tuple[str, ...]] = (TENSORRT,)

    def check(self, audited: Audited) -> Iterator[Finding]:
        stands = standing(audited)
        for node, weight in weights(audited):
            stored, data = stands.read(node, weight.port), stands.read(node, data_port(weight))
            if stored is None:
                continue
            judged = _judged(stored.parameters, "" if data is None else data.parameters.element)
            judged = judged or _kernel(audited, node, stored.parameters)
            if judged is None:
                continue
            severity, what, why = judged
            place = Place("node", node.name, weight.port)
            yield Finding(self.id, severity, place, f"{shown(node.name)} {what}", why, origin=stored.origin)


def _kernel(audited: Audited, node: NodeView, stored: Parameters) -> _Verdict:
    """Of a Conv with float8 weights whose kernel is too large, or which reads floats: a MaxPool pools no float8."""
    found = audited.predictions.get(node.name)
    if node.op != "Conv" or stored.element != _EIGHT or found is None or found.runs != "float":
        return None
    return Severity.WARNING, "is a Conv of float8 that computes in floats", f"{found.because}; {_FALLS}"


def _judged(weight: Parameters, data: str) -> _Verdict:
    """How grave it is, what it is and why; None where there is a kernel."""
    if data and data != weight.element and _EIGHT in (data, weight.element):
        return (
            Severity.ERROR,
            f"multiplies {data} by {weight.element}",
            "both factors have one type, or the builder fails",
        )
    blocks = weight.granularity is Granularity.PER_BLOCK
    if weight.element == _EIGHT and blocks:
        return Severity.WARNING, "has float8 weights in blocks", _EXPANDED
    if weight.element == _FOUR and (not blocks or weight.block != _FOUR_BLOCK):
        form = f"in blocks of {weight.block}" if blocks else "without blocks"
        return (
            Severity.WARNING,
            f"has float4 weights {form}",
            f"TensorRT documents blocks of {_FOUR_BLOCK}; {_EXPANDED}",
        )
    return (Severity.NOTE, "has float4 weights", _EXPANDED) if weight.element == _FOUR else None
