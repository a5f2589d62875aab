"""Compute HardSwish and HardSigmoid between Q/DQ pairs with the integer kernels that there are.

    hard_sigmoid(x) = min(max(alpha x + beta, 0), 1)        quantized as h: uint8 of scale 1/255 and zero point 0
    hard_swish(x)   = x h, with alpha 1/6 and beta 1/2

A factor on integers costs nothing: alpha x are the integers of x under the scale alpha s. The addition of beta becomes
QLinearAdd; the steps of h, 0 to 255 of 1/255, end where the limits do, which so need no node of their own. The product
becomes QLinearMul. A HardSigmoid whose own scale does not end at the limits gets it from h times 1.
Fires where a node reads a DequantizeLinear of uint8 with one scale and a QuantizeLinear with one scale alone reads it,
of uint8 or of int8 with one reader, which the runtime computes in uint8: a lowering, run after the plan was carried
out; the plan knows (`lowered` in the target's table).
Refuses an alpha that is not above 0, and what has another use in float.
Guarantees that the last operator keeps the node's name; against the operator in float, rounded once, h in uint8 adds
1/510 of x at most.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from qdsl.capability import Capability
from qdsl.graph.constants import lazy_of
from qdsl.graph.dtypes import type_name
from qdsl.graph.edit import add_constant, add_node, become, remove_node
from qdsl.graph.model import Model
from qdsl.graph.view import GraphView
from qdsl.graph.walk import inner
from qdsl.passes.file_bytes import CONSTANT, DIM, FIELD, FLOAT, PROVENANCE, info_bytes, text_bytes
from qdsl.passes.lowering import Foresight, Lowering
from qdsl.passes.origins import by_pass, mark
from qdsl.rewrite import Changes, Outcome
from qdsl.rewrite.facts import is_op
from qdsl.rewrite.sketch import Looked, Sketch
from qdsl.spec.plan import Plan

_STEPS = 255
_LOWEST = {"uint8": 0, "int8": -128}
_ALPHA, _BETA = 0.2, 0.5  # of HardSigmoid, where it names none
_HALF_A_STEP = 0.5
_STEPS_BEFORE = {"HardSwish": 5, "HardSigmoid": 2}  # nodes that stand before the last one
_WORD = "_risen"  # what their names end in, as long as the average


@dataclass(frozen=True, slots=True)
class HardActivations(Lowering):
    """No options."""

    name: ClassVar[str] = "hard_activations"
    summary: ClassVar[str] = "HardSwish and HardSigmoid between Q/DQ pairs as integer sums and products"

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        for node in _matches(model, changes):
            _Writer(model, node).rewrite()
        return changes.outcome()

    def foresees(self, sketch: Sketch, capability: Capability) -> Foresight:
        """The rows say what they run as."""
        changes = Changes()
        deque(_matches(sketch, changes), maxlen=0)
        return Foresight(changes.outcome())

    def saves(self, view: GraphView, plan: Plan, outcome: Outcome) -> int:
        return -sum(_more(view, name) for fired in outcome.fired for name in fired.nodes)


def _matches(model: Looked, changes: Changes) -> Iterator[gs.Node]:
    """Each node to rewrite; notes that it fires, and what is left alone."""
    for node in model.nodes():
        if not is_op(node, "HardSwish", "HardSigmoid") or not _between_pairs(node):
            continue
        reason = _obstacle(model, node)
        if reason is not None:
            changes.refuse(node.name, reason)
            continue
        changes.fire(node.op, [node.name])
        yield node


def _between_pairs(node: gs.Node) -> bool:
    before, behind = node.inputs[0].inputs, node.outputs[0].outputs
    return len(before) == 1 and is_op(before[0], "DequantizeLinear") and any(is_op(r, "QuantizeLinear") for r in behind)


def _obstacle(model: Looked, node: gs.Node) -> str | None:
    written = node.outputs[0]
    if not inner(model, written):
        return "what it writes has another use than one QuantizeLinear"
    if _kind(node.inputs[0].inputs[0]) != "uint8" or not _writes_uint8(written.outputs[0]):
        return "its pairs are not of uint8 with one scale"
    return None if _slope(node)[0] > 0 else "it does not rise"


def _kind(pair: gs.Node) -> str:
    """The integers of a QuantizeLinear or DequantizeLinear with one constant scale and zero point; "" for another."""
    if len(pair.inputs) != 3 or not all(isinstance(tensor, gs.Constant) for tensor in pair.inputs[1:]):
        return ""
    scale, zero = (lazy_of(tensor) for tensor in pair.inputs[1:])
    plain = scale.shape in ((), (1,)) and type_name(scale.element_type) == "float32"
    return (type_name(zero.element_type) or "") if plain else ""


def _writes_uint8(quantize: gs.Node) -> bool:
    """int8 counts where one node reads it: the runtime then makes uint8 of the pair."""
    kind = _kind(quantize)
    return kind == "uint8" or (kind == "int8" and len(quantize.outputs[0].outputs) == 1)


def _slope(node: gs.Node) -> tuple[float, float]:
    if node.op == "HardSwish":
        return 1 / 6, 0.5
    return float(node.attrs.get("alpha", _ALPHA)), float(node.attrs.get("beta", _BETA))


def _number(tensor: gs.Tensor) -> float:
    return float(lazy_of(tensor).load().reshape(-1)[0])


def _more(view: GraphView, name: str) -> int:
    """Bytes of the nodes in a node's place with the tensors they write, and of a number on integers with its scale and
    zero point."""
    node = view.node(name)
    texts = 5 * text_bytes(name + _WORD) + text_bytes("DequantizeLinear") + 3 * FIELD
    texts += PROVENANCE + len(HardActivations.name)
    constants = 3 * (CONSTANT + len(name) + len(_WORD)) + FLOAT + DIM * len(view.tensors[node.inputs[0]].shape or ())
    return _STEPS_BEFORE[node.op] * (texts + info_bytes(view, node.inputs[0], _WORD)) + constants


class _Writer:
    """Writes one node anew."""

    def __init__(self, model: Model, node: gs.Node) -> None:
        self._model = model
        self._node = node
        self._metadata = by_pass(HardActivations.name)  # an exporter's notes, often long, stand on the node

    def rewrite(self) -> None:
        node, model = self._node, self._model
        pair = node.inputs[0].inputs[0]
        floats = pair.outputs[0]
        sum_inputs = self._sum_inputs(pair)
        if node.op == "HardSigmoid" and self._ends_at_the_limits():
            become(model, node, "Add", sum_inputs)
        else:
            factor = floats if node.op == "HardSwish" else self._constant(1.0)
            become(model, node, "Mul", [factor, self._held(sum_inputs)])
        mark(node, by_pass(HardActivations.name))
        if inner(model, floats, 0):
            remove_node(model, pair)

    def _ends_at_the_limits(self) -> bool:
        """Whether what the node's own QuantizeLinear stores lies in [0, 1]."""
        quantize = self._node.outputs[0].outputs[0]
        scale, zero = (_number(tensor) for tensor in quantize.inputs[1:])
        return zero == _LOWEST[_kind(quantize)] and (_STEPS - _HALF_A_STEP) * scale <= 1

    def _sum_inputs(self, pair: gs.Node) -> list[gs.Tensor]:
        """alpha x and beta."""
        alpha, beta = _slope(self._node)
        stored, scale, zero = pair.inputs
        made = self._scale(np.float32(_number(scale) * alpha), f"{scale.name}_{self._node.op}")
        return [self._dequantized([stored, made, zero], "risen"), self._constant(beta)]

    def _held(self, sum_inputs: list[gs.Tensor]) -> gs.Tensor:
        """h, dequantized."""
        added = self._add("Add", sum_inputs, "sum", "float32")
        pair = [self._scale(np.float32(1 / _STEPS), "unit_scale"), self._scale(np.uint8(0), "unit_zero_point")]
        stored = self._add("QuantizeLinear", [added, *pair], "held_quantized", "uint8")
        return self._dequantized([stored, *pair], "held")

    def _constant(self, value: float) -> gs.Tensor:
        """A number as uint8, of the rank of what it meets: with fewer axes the runtime adds it to [N, C, 1, 1] value by
        value."""
        shape = self._node.inputs[0].shape
        one = np.full([1] * len(shape) if shape is not None else [], 1 if value > 0 else 0, np.uint8)
        zero = np.uint8(1 if value < 0 else 0)
        name = f"{value:g}".replace("-", "minus_").replace(".", "_")
        stored = add_constant(self._model, f"{self._node.name}_{name}", one)
        scale = self._scale(np.float32(abs(value) or 1), f"{self._node.name}_{name}_scale")
        return self._dequantized([stored, scale, self._scale(zero, f"{self._node.name}_{name}_zero_point")], name)

    def _scale(self, value: np.generic, name: str) -> gs.Tensor:
        return add_constant(self._model, name, value)

    def _dequantized(self, inputs: list[gs.Tensor], word: str) -> gs.Tensor:
        return self._add("DequantizeLinear", inputs, word, "float32")

    def _add(self, op: str, inputs: list[gs.Tensor], word: str, kind: str) -> gs.Tensor:
        """What a new node `<name>_<word>` writes, of the shape of what it reads."""
        name = f"{self._node.name}_{word}"
        made = add_node(
            self._model,
            op,
            inputs,
            name=name,
            output_name=name,
            like=inputs[0],
            element_type=kind,
            metadata=self._metadata,
        )
        written: gs.Tensor = made.outputs[0]
        return written
