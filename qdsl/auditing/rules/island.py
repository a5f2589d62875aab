"""Nodes in floats that integers come to and leave."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Fix, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.rules import (
    activation_not_fused,
    dangling_quantizer,
    float16_scales,
    float_consumer,
    half_quantized_op,
    output_not_quantized,
    quantized_twice,
    residual_not_quantized,
    signed_fan_out,
)
from qdsl.auditing.signs import unsigned
from qdsl.auditing.standing import ORT, reason, row_of, runs_in_floats, standing
from qdsl.auditing.telling import recipe_lines, shown
from qdsl.capability import COMPUTE
from qdsl.diag import Severity
from qdsl.finished.records import QuantizedTensor, Role
from qdsl.graph.float_islands import MOVED_BYTES, FloatIsland, joined
from qdsl.graph.view import NodeView
from qdsl.predict.macs_shapes import size
from qdsl.spec.words import mebibytes

_SHOWN = 3
_MIXED = frozenset({"type_mix", "output_types"})
# What no Q or DQ around the node would change.
_NOT_HERE = frozenset({"not_lowered", "input_float", "rises"})
_TYPES = frozenset({"activation_type", "weight_type", "signed_shared", "unsigned"})
_TELL_OF_IT = (
    dangling_quantizer,
    float16_scales,
    output_not_quantized,
    quantized_twice,
    signed_fan_out,
    float_consumer,
    half_quantized_op,
    residual_not_quantized,
    activation_not_fused,
)


class Check:
    id: ClassVar[str] = "island"
    summary: ClassVar[str] = "nodes in floats between integers, which cost a DQ and a Q"
    explanation: ClassVar[str] = (
        "Integers are dequantized for an operator and quantized again behind it: every value is read and written twice "
        "more. Where the target has no kernel for the operator that is a note, since the choice is between this and "
        "floats for more; where it has one, and only a scale, a type or a missing pair keeps the node from it, a "
        "warning. What another rule tells the reason of is not told again."
    )
    severity: ClassVar[Severity] = Severity.WARNING
    targets: ClassVar[tuple[str, ...]] = (ORT,)

    def check(self, audited: Audited) -> Iterator[Finding]:
        known = _told(audited)
        alike: dict[tuple[str, ...], list[FloatIsland]] = {}
        for each in _islands(audited):
            if each.enter and each.leave and not any(_is_told(audited, node, known) for node in each.nodes):
                kind = tuple(dict.fromkeys(node.op for node in each.nodes))
                alike.setdefault((*kind, reason(audited, each.nodes[0].name)), []).append(each)
        for islands in alike.values():
            yield self._finding(audited, islands)

    def _finding(self, audited: Audited, islands: list[FloatIsland]) -> Finding:
        nodes = sorted((node for island in islands for node in island.nodes), key=lambda node: node.index)
        names = [node.name for node in nodes]
        scales = [node.name for node in nodes if reason(audited, node.name) == "scale_differs"]
        lost = scales or [node.name for node in nodes if _had_kernel(audited, node)]
        where = "between integers" if len(islands) == 1 else f"between integers at {len(islands)} places"
        return Finding(
            self.id,
            Severity.WARNING if lost else Severity.NOTE,
            Place("node", names[0]),
            f"{_ops(nodes)} in floats {where}, first {shown(names[0])}{_moved(audited, islands)}",
            _why(audited, (lost or names)[0]),
            also=tuple(Place("node", name) for name in names[1:]),
            fix=_cure(audited, nodes, scales),
        )


def _had_kernel(audited: Audited, node: NodeView) -> bool:
    """Whether the target computes such a node in integers as it stands, and only its neighbours keep it from that."""
    return row_of(audited, node).kind == COMPUTE and reason(audited, node.name) not in _NOT_HERE


def _why(audited: Audited, node: str) -> str:
    because = audited.predictions[node].because
    return f"{shown(node)}: {because}" if because else f"no integer kernel of {shown(node)} is known"


def _cure(audited: Audited, nodes: list[NodeView], scales: list[str]) -> Fix | None:
    if scales:
        return recipe_lines("place { share scale across {} }", *scales)
    if any(reason(audited, node.name) == "bias_type" for node in nodes):
        return Fix(rewrite="float_bias", exact=True)
    mixed = [node for node in nodes if reason(audited, node.name) in _MIXED]
    return unsigned(audited, [record for node in mixed for record in _around(audited, node)])


def _around(audited: Audited, node: NodeView) -> Iterator[QuantizedTensor]:
    """How `node` reads its ports, and how what it writes is quantized."""
    stands = standing(audited)
    for port in range(len(node.inputs)):
        record = stands.read(node, port)
        if record is not None:
            yield record
    for name in node.outputs:
        yield from stands.writes.get(name, ())


def _ops(nodes: list[NodeView]) -> str:
    once = list(dict.fromkeys(node.op for node in nodes))
    return ", ".join(once[:_SHOWN]) + (", .." if len(once) > _SHOWN else "")


def _moved(audited: Audited, islands: list[FloatIsland]) -> str:
    """What their Q and DQ read and write, as far as sizes are known."""
    view = audited.finished.view
    sizes = [size(view, name) for island in islands for name in (*island.enter, *island.leave)]
    total = MOVED_BYTES * sum(known for known in sizes if known is not None)
    return f": Q and DQ move {mebibytes(total)} a sample" if total else ""


def _is_told(audited: Audited, node: NodeView, known: frozenset[str]) -> bool:
    """Whether something else says why `node` runs in floats: another rule, or the type of what it reads or writes."""
    return node.name in known or reason(audited, node.name) in _TYPES


def _told(audited: Audited) -> frozenset[str]:
    """The nodes of which another rule says why they run in floats."""
    found = (finding for rule in _TELL_OF_IT for finding in rule.Check().check(audited))
    return frozenset(place.name for each in found for place in (each.place, *each.also) if place.kind == "node")


def _islands(audited: Audited) -> Iterator[FloatIsland]:
    """In graph order; a node of several islands makes one of them."""
    stands, view = standing(audited), audited.finished.view
    at: dict[int, FloatIsland] = {}
    for node in view.nodes:
        if not runs_in_floats(audited, node.name):
            continue
        own = at[node.index] = FloatIsland([node])
        for port, name in enumerate(node.inputs):
            record, tensor = stands.read(node, port), view.tensors.get(name)
            if record is not None and record.role is Role.ACTIVATION:
                own.enter[record.tensor] = None
            elif record is None and tensor is not None and tensor.producer in at:
                own = joined(at, at[tensor.producer], own)
        own.leave.update(dict.fromkeys(name for name in node.outputs if name in stands.writes))
    yield from {id(island): island for island in at.values()}.values()
