"""A result that is quantized and read in floats as well."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Fix, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import ORT, QUANTIZERS, behind_activation, reason, row_of, standing
from qdsl.auditing.telling import listed, recipe_lines, shown
from qdsl.capability import COMPUTE
from qdsl.diag import Severity
from qdsl.graph.view import NodeView

_FLOAT_OUTPUT = "output_float"
_LOST_BY_IT = frozenset({"output_shared", "output_graph"})


class Check:
    id: ClassVar[str] = "float_consumer"
    summary: ClassVar[str] = "a result is quantized, and read in floats beside its QuantizeLinear"
    explanation: ClassVar[str] = (
        "An integer kernel of ONNX Runtime writes integers: whoever needs the floats, a node or the caller, keeps the "
        "node that writes them in floats. Read through the pair, the other reader gets the rounded values at the cost "
        "of one DequantizeLinear, and the kernel is there."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = (ORT,)

    def check(self, audited: Audited) -> Iterator[Finding]:
        for node in audited.finished.view.nodes:
            key = reason(audited, node.name) if node.outputs else ""
            if key in _LOST_BY_IT:
                yield from self._shared(audited, node, node.outputs[0])
            elif key == _FLOAT_OUTPUT:
                yield from self._shared(audited, node, behind_activation(audited, node))

    def _shared(self, audited: Audited, node: NodeView, tensor: str) -> Iterator[Finding]:
        stands = standing(audited)
        readers = [stands.view.nodes[use.node] for use in stands.float_readers(tensor)]
        readers = [each for each in readers if each.op not in QUANTIZERS]
        output = stands.is_float_output(tensor)
        if tensor not in stands.writes or not (readers or output):
            return
        names = list(dict.fromkeys(each.name for each in readers))
        by = [*([listed(names)] if names else []), *(["the caller"] if output else [])]
        yield Finding(
            self.id,
            Severity.WARNING,
            Place("node", node.name),
            f"{shown(node.name)} writes {shown(tensor)}, which is quantized, and read in floats by {' and '.join(by)}",
            "it computes in floats: an integer kernel writes no floats beside its integers",
            also=tuple(Place("node", name) for name in names),
            fix=_cure(audited, tensor, readers, output=output),
            origin=stands.writes[tensor][0].origin,
        )


def _cure(audited: Audited, tensor: str, readers: list[NodeView], *, output: bool) -> Fix | None:
    """Readers that have an integer kernel are quantized whole; others read the tensor through its pair."""
    able = list(dict.fromkeys(each.name for each in readers if row_of(audited, each).kind == COMPUTE))
    fixes = [recipe_lines("place { quantize inputs of {} }", *able)] if able else []
    if output or len(able) < len({each.name for each in readers}):
        fixes.append(recipe_lines("place { quantize tensor {} }", tensor))
    lines = [line for each in fixes if each is not None for line in each.lines]
    return Fix(lines=tuple(lines)) if lines else None
