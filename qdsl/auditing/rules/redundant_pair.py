"""Q and DQ that change nothing, or that no integer kernel uses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Fix, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.standing import DEQUANTIZERS, ORT, QUANTIZERS, in_integers, runs_in_floats, standing
from qdsl.auditing.telling import recipe_lines, shown
from qdsl.diag import Severity
from qdsl.finished.records import Form, QuantizedTensor, Role
from qdsl.graph.moves import move_of
from qdsl.graph.view import NodeView

_OWN_SOURCE = frozenset({Form.LONE_DEQUANTIZE, Form.OPERATOR})


class Check:
    id: ClassVar[str] = "redundant_pair"
    summary: ClassVar[str] = "Q and DQ that change nothing, or around a mere move of values between floats"
    explanation: ClassVar[str] = (
        "A DequantizeLinear with a QuantizeLinear of equal scale and zero point behind it gives back the integers that "
        "it read. A pair between an operator in floats and one that only moves values (Reshape, Transpose, Concat) "
        "rounds every value, and no integer kernel is gained by it."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = ()

    def check(self, audited: Audited) -> Iterator[Finding]:
        yield from self._around_nothing(audited)
        if audited.target == ORT:
            yield from self._around_moves(audited)

    def _around_nothing(self, audited: Audited) -> Iterator[Finding]:
        at, view = standing(audited).at, audited.finished.view
        for node in view.nodes:
            before = view.producer(node.inputs[0]) if node.op in QUANTIZERS and node.inputs else None
            if before is None or before.op not in DEQUANTIZERS:
                continue
            first, second = at.get(before.name), at.get(node.name)
            if first is None or second is None or first.form not in _OWN_SOURCE:
                continue
            if first.parameters.key == second.parameters.key and second.parameters.gives_back:
                yield Finding(
                    self.id,
                    Severity.WARNING,
                    Place("node", node.name),
                    f"{shown(before.name)} and {shown(node.name)} give back the integers that they read",
                    "every value is read and written twice for nothing",
                    also=(Place("node", before.name),),
                    fix=Fix(rewrite="redundant_pairs", exact=True),
                    origin=second.origin,
                )

    def _around_moves(self, audited: Audited) -> Iterator[Finding]:
        for record in audited.finished.tensors:
            moves = _float_moves(audited, record)
            if not moves:
                continue
            yield Finding(
                self.id,
                Severity.WARNING,
                Place("node", record.quantizers[0]),
                f"the pair on {shown(record.tensor)} is read in floats alone, by what only moves values",
                "it rounds every value, and no integer kernel is gained by it",
                also=tuple(Place("node", node.name) for node in moves),
                fix=recipe_lines("place { leave tensor {} }", record.tensor),
                origin=record.origin,
            )


def _float_moves(audited: Audited, record: QuantizedTensor) -> tuple[NodeView, ...]:
    """The readers of a pair between floats, where all of them only move values; none otherwise."""
    view = audited.finished.view
    if record.role is not Role.ACTIVATION or record.form is not Form.PAIR or not record.readers:
        return ()
    writer = view.producer(record.tensor)
    if record.parameters.scale_element != "float32":  # `float16_scales` says why
        return ()
    if writer is None or in_integers(audited, writer.name) or any(not each.node for each in record.readers):
        return ()
    nodes = tuple(view.node(name) for name in dict.fromkeys(each.node for each in record.readers))
    idle = all(move_of(node) is not None and runs_in_floats(audited, node.name) for node in nodes)
    return nodes if idle and not _leads_to_pairs(audited, nodes) else ()


def _leads_to_pairs(audited: Audited, nodes: tuple[NodeView, ...]) -> bool:
    """Whether what the moves write is quantized again: then another rule says why they run in floats."""
    writes = standing(audited).writes
    return any(name in writes for node in nodes for name in node.outputs)
