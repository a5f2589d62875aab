"""An addition or a Concat of branches of which some are quantized and some are not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.carrying import reads_carried
from qdsl.auditing.finding import Finding, Fix, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import ORT, TENSORRT, passes_integers, reason, standing
from qdsl.auditing.telling import listed, recipe_lines, shown
from qdsl.diag import Severity
from qdsl.graph.structure import residual_skips
from qdsl.graph.view import NodeView

_JOINS = frozenset({"Add", "Sum", "Concat"})
_SKIPS = Fix(lines=("place { quantize skip of residual_add }",))


class Check:
    id: ClassVar[str] = "residual_not_quantized"
    summary: ClassVar[str] = "branches meet of which one is quantized and another is not"
    explanation: ClassVar[str] = (
        "ONNX Runtime adds and joins integers only where every branch comes through Q and DQ; else it adds floats, "
        "and so runs whatever writes the bare branch. TensorRT takes the Conv of a residual block and its addition as "
        "one kernel: there the skip has Q and DQ, and the branch of the Conv has none. A file made for TensorRT is "
        "therefore half quantized for ONNX Runtime; that is told as a warning about this target, no fault of the file."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = (ORT, TENSORRT)

    def check(self, audited: Audited) -> Iterator[Finding]:
        if not passes_integers(audited):
            return
        skips = residual_skips(audited.collapsed.view)
        names = {audited.collapsed.view.nodes[index].name: port for index, port in skips.items()}
        for node in audited.finished.view.nodes:
            if node.op in _JOINS and not node.domain:
                yield from self._join(audited, node, names.get(node.name))

    def _join(self, audited: Audited, node: NodeView, skip: int | None) -> Iterator[Finding]:
        stands = standing(audited)
        ports = tuple(stands.data_ports(node))
        bare = [port for port in ports if not _is_quantized(audited, node, port)]
        if not bare or len(bare) == len(ports):
            return
        if audited.target == TENSORRT and skip is not None and skip not in bare:
            return  # the skip is quantized and the other branch is not: one kernel with the Conv
        if audited.target == ORT and reason(audited, node.name) != "input_float":
            return
        yield Finding(
            self.id,
            Severity.WARNING,
            Place("node", node.name, bare[0]),
            f"{shown(node.name)} reads {listed([node.inputs[port] for port in bare])} in floats, and the rest through "
            "Q and DQ",
            _why(audited),
            fix=_SKIPS if skip in bare else recipe_lines("place { quantize inputs of {} }", node.name),
        )


def _is_quantized(audited: Audited, node: NodeView, port: int) -> bool:
    """Whether a branch comes through Q and DQ; TensorRT carries them over what moves values."""
    known = standing(audited).read(node, port) is not None
    return known or (audited.target == TENSORRT and reads_carried(audited, node, port))


def _why(audited: Audited) -> str:
    if audited.target == TENSORRT:
        return "what is quantized behind it is not fused with it: the values go through memory in floats"
    return "it computes in floats, and what writes a branch without a pair does, too"
