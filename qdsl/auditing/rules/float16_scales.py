"""Q and DQ in a float16 graph, around which ONNX Runtime has no integer kernels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import ORT, row_of, runs_in_floats, standing
from qdsl.auditing.telling import shown
from qdsl.capability import FLOAT
from qdsl.diag import Severity
from qdsl.finished.records import Role
from qdsl.graph.view import NodeView
from qdsl.spec.words import count

_HALF = "float16"


class Check:
    id: ClassVar[str] = "float16_scales"
    summary: ClassVar[str] = "the scales are float16: no integer kernel on a CPU takes them"
    explanation: ClassVar[str] = (
        "Model Optimizer writes the floats of a file, scales among them, as float16: TensorRT computes in that what is "
        "not quantized. ONNX Runtime on a CPU has kernels for float32 alone: it puts Casts around every node, and "
        "fuses none of them with its Q and DQ. Written with float32 (`high_precision_dtype`), or compiled from the "
        "float model by a recipe, the same layers run in integers."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = (ORT,)

    def check(self, audited: Audited) -> Iterator[Finding]:
        nodes = [node for node in audited.finished.view.nodes if _lost(audited, node)]
        if not nodes:
            return
        yield Finding(
            self.id,
            Severity.WARNING,
            Place("node", nodes[0].name),
            f"{count(len(nodes), 'node')} between Q and DQ with float16 scales, first {shown(nodes[0].name)}, "
            f"compute{'s' * (len(nodes) == 1)} in floats",
            "no integer kernel of onnxruntime for CPUs takes float16: what is quantized is dequantized, widened and "
            "narrowed again",
            also=tuple(Place("node", node.name) for node in nodes[1:]),
        )


def _lost(audited: Audited, node: NodeView) -> bool:
    """Whether a node with a kernel reads activations through float16 scales, and runs in floats."""
    if not runs_in_floats(audited, node.name) or row_of(audited, node).kind == FLOAT:
        return False
    read = (standing(audited).read(node, port) for port in range(len(node.inputs)))
    return any(
        record is not None and record.role is Role.ACTIVATION and record.parameters.scale_element == _HALF
        for record in read
    )
