"""A Relu or a Clip that stays a node of its own behind what it could be part of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Fix, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import ORT, TENSORRT, mostly_signed, reason, standing
from qdsl.auditing.telling import recipe_lines, shown
from qdsl.capability import COMPUTE
from qdsl.diag import Severity
from qdsl.finished.records import Form, Parameters, QuantizedTensor
from qdsl.graph.view import NodeView

_ACTIVATIONS = frozenset({"Relu", "Clip"})
_FUSES = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_UNSIGNED = "layers {} { activations uint8 affine }"
_ALL_UNSIGNED = "layers all { activations uint8 affine }"


class Check:
    id: ClassVar[str] = "activation_not_fused"
    summary: ClassVar[str] = "a Relu or Clip that does not become part of the kernel before it"
    explanation: ClassVar[str] = (
        "A Conv and its Relu are one kernel where nothing stands between them and the QuantizeLinear behind the Relu "
        "stores nothing negative: then cutting off is what storing does. A pair between the two makes them two, and "
        "rounds twice. With a symmetric signed scale, or a zero point in the middle, the Relu has to run, and ONNX "
        "Runtime then computes the Conv in floats, too; TensorRT fuses it all the same."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = (ORT, TENSORRT)

    def check(self, audited: Audited) -> Iterator[Finding]:
        for node in audited.finished.view.nodes:
            if node.op in _ACTIVATIONS and not node.domain:
                yield from self._apart(audited, node)
            elif audited.target == ORT and node.outputs and reason(audited, node.name) == "not_redundant":
                yield from self._kept(audited, node)

    def _apart(self, audited: Audited, node: NodeView) -> Iterator[Finding]:
        """A pair between an activation and what writes its input."""
        record = standing(audited).read(node, 0)
        writer = None if record is None else _fusing(audited, node, record)
        if record is None or writer is None:
            return
        yield Finding(
            self.id,
            Severity.WARNING,
            Place("node", node.name),
            f"a pair stands between {shown(writer.name)} and its {node.op} {shown(node.name)}",
            "the two run as two kernels, and values are rounded before and behind the activation",
            also=(Place("node", writer.name), *(Place("node", name) for name in record.quantizers)),
            fix=self._cure(audited, node, record),
            origin=record.origin,
        )

    def _cure(self, audited: Audited, node: NodeView, record: QuantizedTensor) -> Fix | None:
        """Without the pair the two become one kernel, if what stands behind the activation lets them."""
        behind = standing(audited).writes.get(node.outputs[0], ())
        if audited.target == ORT and mostly_signed(audited):
            return Fix(lines=(_ALL_UNSIGNED,))
        if audited.target == ORT and not all(_starts_at_lowest(each.parameters) for each in behind):
            return recipe_lines(_UNSIGNED, node.name)
        return recipe_lines("place { leave tensor {} }", record.tensor)

    def _kept(self, audited: Audited, node: NodeView) -> Iterator[Finding]:
        """An activation that the QuantizeLinear behind it does not make redundant."""
        view = audited.finished.view
        after = next((each for each in view.consumers(node.outputs[0]) if each.op in _ACTIVATIONS), None)
        if after is None:
            return
        record = next(iter(standing(audited).writes.get(after.outputs[0], ())), None)
        if record is None:
            return
        yield Finding(
            self.id,
            Severity.WARNING,
            Place("node", node.name),
            f"{shown(node.name)} keeps its {after.op} {shown(after.name)}: what is stored behind it goes beyond what "
            f"the {after.op} leaves",
            "both compute in floats; unsigned activations that begin at 0 make the activation part of the kernel",
            also=(Place("node", after.name),),
            fix=Fix(lines=(_ALL_UNSIGNED,)) if mostly_signed(audited) else recipe_lines(_UNSIGNED, after.name),
            origin=record.origin,
        )


def _starts_at_lowest(made: Parameters) -> bool:
    """Whether the lowest integer of an unsigned type stands for 0."""
    zero = 0 if not made.zero_written else None if made.zero_point is None else int(made.zero_point.reshape(-1)[0])
    return zero == 0 and made.element.startswith("uint")


def _fusing(audited: Audited, node: NodeView, record: QuantizedTensor) -> NodeView | None:
    """What writes the input of an activation through a pair that stands there for the activation alone, and would take
    it up."""
    view = audited.finished.view
    writer = view.producer(record.tensor)
    alone = len(record.readers) == 1 and not standing(audited).float_readers(record.tensor)
    if writer is None or record.form is not Form.PAIR or not alone or standing(audited).is_float_output(record.tensor):
        return None
    if audited.target != ORT:
        return writer if writer.op in _FUSES else None
    row = audited.capability.row_for(writer, view)
    return writer if row.kind == COMPUTE and node.op in row.absorbs else None
