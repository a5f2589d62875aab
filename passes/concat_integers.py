"""Let a Concat whose inputs and output have one scale join the integers themselves.

    quantize(concat(dequantize(a), dequantize(b))) = concat(a, b)

where all of them have one scale and one zero point, since quantize(dequantize(a)) = a. ONNX Runtime copies with several
threads in Concat and with one in QLinearConcat, which it makes of the left side.
Fires where every input comes from a DequantizeLinear and one QuantizeLinear alone reads the result, all of them with
the same two constants, as `insert_qdq` writes them for tensors of one group: so the plan knows. The QuantizeLinear
goes, and each DequantizeLinear that nobody else reads. Concat takes uint8 at every opset that has QuantizeLinear.
Refuses another use of the result in float, scales and zero points of their own, even if they happen to be equal, and
types other than uint8: the runtime looks for whole pairs to make uint8 of int8, and in other widths the plan has no
integers here.
Guarantees that nodes keep their names and that every integer and float that is left stays the same, bit for bit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from qdsl.capability import Capability
from qdsl.graph.constants import lazy_of
from qdsl.graph.dtypes import type_name
from qdsl.graph.edit import move_outputs, remove_node, replace_input
from qdsl.graph.model import Model
from qdsl.graph.view import GraphView
from qdsl.graph.walk import inner
from qdsl.passes.file_bytes import FIELD, PROVENANCE, dequantize_bytes, info_bytes, quantize_bytes
from qdsl.passes.lowering import Foresight, Lowering
from qdsl.passes.origins import by_pass, mark
from qdsl.rewrite import Changes, Outcome
from qdsl.rewrite.facts import is_op
from qdsl.rewrite.sketch import Looked, Sketch
from qdsl.spec.plan import Plan, Prediction, TensorPlan

_JOINED = ("uint8",)
BECAUSE = "one scale over its inputs and its output: the integers are joined as they are"


@dataclass(frozen=True, slots=True)
class ConcatIntegers(Lowering):
    """No options."""

    name: ClassVar[str] = "concat_integers"
    summary: ClassVar[str] = "let a Concat between Q/DQ pairs of one scale join the integers"

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        for node, pairs in _matches(model, changes):
            _rewrite(model, node, pairs)
        return changes.outcome()

    def foresees(self, sketch: Sketch, capability: Capability) -> Foresight:
        changes = Changes()
        runs = {}
        for node, _ in _matches(sketch, changes):
            row = capability.row_for(sketch.view.node(node.name), sketch.view)
            runs[node.name] = Prediction("integer", node.op, row.name, BECAUSE)
        return Foresight(changes.outcome(), runs)

    def saves(self, view: GraphView, plan: Plan, outcome: Outcome) -> int:
        joined = {name for fired in outcome.fired for name in fired.nodes}
        return sum(_saved(view, plan.tensors, joined))


def _matches(model: Looked, changes: Changes) -> Iterator[tuple[gs.Node, list[gs.Node]]]:
    """Each Concat to rewrite, with what writes its inputs; notes that it fires, and what is left alone."""
    for node in model.nodes():
        pairs = _dequantized(node)
        if not pairs:
            continue
        reason = _obstacle(model, node, pairs)
        if reason is not None:
            changes.refuse(node.name, reason)
            continue
        changes.fire(ConcatIntegers.name, [node.name])
        yield node, pairs


def _dequantized(node: gs.Node) -> list[gs.Node]:
    """What writes the inputs of a Concat, by port, where each is a DequantizeLinear; else nothing."""
    if not is_op(node, "Concat"):
        return []
    writers = [tensor.inputs[0] for tensor in node.inputs if tensor.inputs]
    whole = len(writers) == len(node.inputs) and all(is_op(writer, "DequantizeLinear") for writer in writers)
    return writers if whole else []


def _obstacle(model: Looked, node: gs.Node, pairs: list[gs.Node]) -> str | None:
    written = node.outputs[0]
    if not inner(model, written):
        return "what it writes has another use than one QuantizeLinear"
    quantize = written.outputs[0]
    if not is_op(quantize, "QuantizeLinear"):
        return "what it writes stays float"
    if any(len(each.inputs) != 3 for each in (*pairs, quantize)):
        return "a scale without a zero point"
    if len({(id(each.inputs[1]), id(each.inputs[2])) for each in (*pairs, quantize)}) > 1:
        return "its inputs and its output have scales of their own"
    return _unfit(quantize)


def _unfit(quantize: gs.Node) -> str | None:
    """Why the integers that a QuantizeLinear writes are not joined."""
    scale, zero = quantize.inputs[1:]
    if not isinstance(scale, gs.Constant) or not isinstance(zero, gs.Constant) or lazy_of(scale).shape:
        return "its scale is no constant, or one per channel"
    kind = type_name(lazy_of(zero).element_type)
    return None if kind in _JOINED else f"{kind} is not joined, only {', '.join(_JOINED)}"


def _rewrite(model: Model, node: gs.Node, pairs: list[gs.Node]) -> None:
    quantize = node.outputs[0].outputs[0]
    for port, pair in enumerate(pairs):
        replace_input(model, node, port, pair.inputs[0])
    move_outputs(model, quantize, node)
    remove_node(model, quantize)
    for pair in {id(pair): pair for pair in pairs}.values():
        floats = pair.outputs[0]
        if inner(model, floats, 0):
            remove_node(model, pair)
    mark(node, by_pass(ConcatIntegers.name))


def _saved(view: GraphView, tensors: Iterable[TensorPlan], joined: Collection[str]) -> Iterator[int]:
    """The Q behind a joined node with the float tensor before it, and each DQ that joined nodes alone read."""
    written = {view.node(name).outputs[0] for name in joined}
    for plan in tensors:
        if plan.tensor in written:
            yield quantize_bytes(plan.tensor, plan.origin)
            yield info_bytes(view, plan.tensor, "") - len("_quantized") - FIELD - PROVENANCE - len(ConcatIntegers.name)
        if plan.readers and all(reader.node in joined for reader in plan.readers):
            yield dequantize_bytes(plan.tensor, plan.origin)
            yield info_bytes(view, plan.tensor, "_dequantized")
