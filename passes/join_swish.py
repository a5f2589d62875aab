"""Compute x sigmoid(x) behind a DequantizeLinear as one operator.

    x sigmoid(x)  ->  QuickGelu(x) with alpha 1, of com.microsoft

ONNX Runtime makes this of a Sigmoid and a Mul by itself, but behind a DequantizeLinear it does not: there each of the
two reads a DequantizeLinear of its own by the time that it looks, and three operators run in place of two.
Fires where both read one DequantizeLinear and the recipe leaves both in float.
Refuses what reads the Sigmoid as well, and int8: with one reader less the runtime makes uint8 of such a pair, and
integers of what the plan knows to run in float.
Guarantees that the Mul keeps its name and computes what the runtime computes where no pair stands before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from qdsl.capability import Capability
from qdsl.graph.constants import lazy_of
from qdsl.graph.dtypes import type_name
from qdsl.graph.edit import become, remove_node
from qdsl.graph.model import Model
from qdsl.graph.view import GraphView
from qdsl.graph.walk import inner
from qdsl.passes.file_bytes import FIELD, PROVENANCE, info_bytes, text_bytes
from qdsl.passes.insert_qdq import CONTRIB
from qdsl.passes.lowering import Foresight, Lowering
from qdsl.passes.origins import JOINS_KEY, by_pass, mark
from qdsl.rewrite import Changes, Outcome
from qdsl.rewrite.facts import is_op
from qdsl.rewrite.sketch import Looked, Sketch
from qdsl.spec.plan import Plan

_OP = "QuickGelu"
_FLOAT32 = (np.float32, "float32")  # as a model has it, and as a sketch
_ALPHA = 18  # bytes of the attribute


@dataclass(frozen=True, slots=True)
class JoinSwish(Lowering):
    """No options."""

    name: ClassVar[str] = "join_swish"
    summary: ClassVar[str] = "x * sigmoid(x) in float behind a DequantizeLinear as one operator"

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        for mul, sigmoid in _matches(model, changes):
            become(model, mul, _OP, [sigmoid.inputs[0]], {"alpha": 1.0}, CONTRIB)
            mark(mul, {**by_pass(JoinSwish.name), JOINS_KEY: sigmoid.name})
            remove_node(model, sigmoid)
        return changes.outcome()

    def foresees(self, sketch: Sketch, capability: Capability) -> Foresight:
        """Both run in float, as the plan says."""
        changes = Changes()
        for mul, sigmoid in _matches(sketch, changes):
            mul.op, mul.domain = _OP, CONTRIB
            sketch.redirect(sigmoid.outputs[0], sigmoid.inputs[0], [(mul, mul.inputs.index(sigmoid.outputs[0]))])
            sketch.remove(sigmoid)
        return Foresight(changes.outcome())

    def saves(self, view: GraphView, plan: Plan, outcome: Outcome) -> int:
        return sum(_saved(view, sigmoid) for _, sigmoid in (fired.nodes for fired in outcome.fired))


def _matches(model: Looked, changes: Changes) -> Iterator[tuple[gs.Node, gs.Node]]:
    """Each Mul to rewrite with its Sigmoid; notes that it fires, and what is left alone."""
    for node in model.nodes():
        sigmoid = _sigmoid(node)
        if sigmoid is None:
            continue
        reason = _obstacle(model, sigmoid)
        if reason is not None:
            changes.refuse(node.name, reason)
            continue
        changes.fire(JoinSwish.name, [node.name, sigmoid.name])
        yield node, sigmoid


def _sigmoid(node: gs.Node) -> gs.Node | None:
    """The Sigmoid of what a Mul multiplies with it, where both read one DequantizeLinear."""
    if not is_op(node, "Mul") or len(node.inputs) != 2 or node.outputs[0].dtype not in _FLOAT32:
        return None
    for one, other in (node.inputs, node.inputs[::-1]):
        sigmoid = other.inputs[0] if other.inputs else None
        if sigmoid is None or not is_op(sigmoid, "Sigmoid") or sigmoid.inputs[0] is not one or not one.inputs:
            continue
        return sigmoid if is_op(one.inputs[0], "DequantizeLinear") else None
    return None


def _obstacle(model: Looked, sigmoid: gs.Node) -> str | None:
    if not inner(model, sigmoid.outputs[0]):
        return "what the Sigmoid writes has another use"
    zeros = sigmoid.inputs[0].inputs[0].inputs[2:]
    if not all(isinstance(zero, gs.Constant) for zero in zeros):
        return "the zero point of its pair is computed"
    kinds = [type_name(lazy_of(zero).element_type) for zero in zeros]
    return "its pair is of int8" if kinds == ["int8"] else None


def _saved(view: GraphView, sigmoid: str) -> int:
    """The Sigmoid and what it writes; the other operator's name, its domain and attribute, and where it comes from."""
    node = view.node(sigmoid)
    gone = [node.name, "Sigmoid", node.outputs[0], node.outputs[0], "Mul"]
    less = sum(map(text_bytes, gone)) + info_bytes(view, node.outputs[0], "") + FIELD
    told = (PROVENANCE + len(JoinSwish.name), PROVENANCE + len(JOINS_KEY) + len(sigmoid))
    return less - sum(map(text_bytes, (_OP, CONTRIB))) - _ALPHA - sum(told)
