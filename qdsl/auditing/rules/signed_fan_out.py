"""int8 activations that stay int8 on x86, which has no kernels for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Fix, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.signs import unsigned
from qdsl.auditing.standing import ORT, reason, standing
from qdsl.auditing.telling import listed, shown
from qdsl.diag import Severity
from qdsl.finished.records import Form, QuantizedTensor
from qdsl.graph.view import NodeView
from qdsl.spec.words import count

_SIGNED = frozenset({"signed_shared", "unsigned"})
# Beside uint8 tensors one that stays int8 is told as a difference of types.
_MIXED = frozenset({"type_mix", "output_types"})
_BYTES = frozenset({"int8", "uint8"})


class Check:
    id: ClassVar[str] = "signed_fan_out"
    summary: ClassVar[str] = "an int8 tensor that is not one Q, one DQ and one reader keeps its neighbours in floats"
    explanation: ClassVar[str] = (
        "The kernels of ONNX Runtime for x86 read uint8. It turns an int8 pair into uint8 where one QuantizeLinear "
        "feeds one DequantizeLinear with one reader, and nowhere else: a tensor with several readers (a SiLU, a skip, "
        "feeds one DequantizeLinear with one reader, and nowhere else: a tensor with several readers (a SiLU, a skip, "
        "a Split), one that enters or leaves the graph as integers and one that is moved between Q and DQ stay int8, "
        "and whatever reads or writes them computes in floats between Q and DQ, slower than without. The same values "
        "as uint8, zero point 128 higher, are the same numbers to the bit."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = (ORT,)

    def check(self, audited: Audited) -> Iterator[Finding]:
        lost: dict[str, dict[str, None]] = {}
        for node in audited.finished.view.nodes:
            for record in _shared(audited, node):
                lost.setdefault(record.tensor, {})[node.name] = None
        for tensor, nodes in lost.items():
            yield self._finding(audited, tensor, list(nodes))

    def _finding(self, audited: Audited, tensor: str, nodes: list[str]) -> Finding:
        record = standing(audited).writes[tensor][0]
        return Finding(
            self.id,
            Severity.WARNING,
            Place("tensor", tensor),
            f"{shown(tensor)} is int8 {_how(record)}: {listed(nodes)} {'computes' if len(nodes) == 1 else 'compute'} "
            "in floats for it",
            "kernels on x86 read uint8, and onnxruntime makes that of int8 pairs with one reader alone",
            also=tuple(Place("node", name) for name in nodes),
            fix=_cure(audited, record),
            origin=record.origin,
        )


def _shared(audited: Audited, node: NodeView) -> Iterator[QuantizedTensor]:
    """The int8 tensors around a node that stay int8 and keep it in floats, in the order of its ports."""
    key, stands = reason(audited, node.name), standing(audited)
    if key not in _SIGNED | _MIXED:
        return
    read = [stands.read(node, port) for port in range(len(node.inputs))]
    written = [record for name in node.outputs for record in stands.writes.get(name, ())]
    around = [record for record in (*read, *written) if record is not None and record.tensor in stands.writes]
    if key in _SIGNED or all(record.parameters.element in _BYTES for record in around):
        yield from filter(_stays, around)


def _stays(record: QuantizedTensor) -> bool:
    return record.parameters.element == "int8" and bool(_how(record))


def _how(record: QuantizedTensor) -> str:
    """What keeps an int8 tensor from being made uint8; "" where nothing does."""
    if len(record.readers) > 1:
        return f"with {count(len(record.readers), 'reader')}"
    if record.form is Form.LONE_DEQUANTIZE:
        return "without a QuantizeLinear of its own"
    if record.form is Form.LONE_QUANTIZE:
        return "without a DequantizeLinear of its own"
    return "and moved between Q and DQ" if record.form is Form.PAIR and record.between else ""


def _cure(audited: Audited, record: QuantizedTensor) -> Fix | None:
    """The lines that give the tensor another type, or all of them, and what mends the file itself."""
    lines = unsigned(audited, [record])
    if record.form in (Form.LONE_DEQUANTIZE, Form.LONE_QUANTIZE):
        return lines  # the integers are somebody else's, too
    return Fix(() if lines is None else lines.lines, "unsigned_activations", exact=True)
