"""Quantized ConvTranspose nodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.carrying import reads_carried
from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import TENSORRT, data_port, standing, weights
from qdsl.auditing.telling import listed, recipe_lines, shown
from qdsl.diag import Severity
from qdsl.graph.view import NodeView
from qdsl.spec import Granularity

_INT8 = "int8"


class Check:
    id: ClassVar[str] = "deconvolution_quantized"
    summary: ClassVar[str] = (
        "a quantized ConvTranspose: versions of TensorRT differ in its axis, and in whether it runs"
    )
    explanation: ClassVar[str] = (
        "The scales of its weight per channel lie along axis 0 for TensorRT 8.2, as NVIDIA said, and along axis 1 for "
        "Model Optimizer: one scale for the weight means the same to all. TensorRT-RTX 1.7.1 computes every "
        "ConvTranspose in floats, whatever its scales, and NVIDIA's issues tell of 10.x doing so with explicit pairs: "
        "look at the layers of an engine before it is counted on."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = (TENSORRT,)

    def check(self, audited: Audited) -> Iterator[Finding]:
        known: list[NodeView] = []
        for node, weight in weights(audited):
            record = standing(audited).read(node, weight.port)
            if node.op != "ConvTranspose" or record is None or record.parameters.element != _INT8:
                continue
            if not reads_carried(audited, node, data_port(weight)):
                continue
            known.append(node)
            if record.parameters.granularity is not Granularity.PER_TENSOR:
                yield Finding(
                    self.id,
                    Severity.WARNING,
                    Place("node", node.name, weight.port),
                    f"the weight of the ConvTranspose {shown(node.name)} has its scales along axis "
                    f"{record.parameters.axis}",
                    "versions of TensorRT differ in which axis that is: one scale means the same to all",
                    fix=recipe_lines("layers {} { weights int8 symmetric per_tensor }", node.name),
                    origin=record.origin,
                )
        if known:
            names = [node.name for node in known]
            yield Finding(
                self.id,
                Severity.NOTE,
                Place("node", names[0]),
                f"{listed(names)} {'is' if len(names) == 1 else 'are'} a ConvTranspose in int8",
                "TensorRT-RTX computes it in floats; other versions may: look at the engine's layers",
                also=tuple(Place("node", name) for name in names[1:]),
            )
