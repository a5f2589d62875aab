"""Let stored weights stand as floats behind a QuantizeLinear of their own, for parsers that know no stored integers.

    dequantize(w, s) = dequantize(quantize(w * s, s), s)

The parser of TensorRT 8.6 takes a weight as a float constant with Q and DQ; integers that are stored it refuses. Fires
on every DequantizeLinear that reads an int8 constant with constant scales, once for all of its readers; other types and
int32 it leaves alone. The floats are the rounded ones, what the integers stand for: the quotient by the same scale is a
whole number to within one part in four million, so that Q gives exactly the integers that were stored, however they
were chosen.
Guarantees that every integer and float that a node reads stays the same, bit for bit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import onnx_graphsurgeon as gs

from qdsl.capability import Capability
from qdsl.graph.constants import lazy_of
from qdsl.graph.dtypes import type_name
from qdsl.graph.edit import add_deferred, add_node, replace_input
from qdsl.graph.model import Model
from qdsl.graph.view import GraphView
from qdsl.passes.file_bytes import FLOAT, info_bytes, quantize_bytes
from qdsl.passes.lowering import Foresight, Lowering
from qdsl.passes.origins import by_pass
from qdsl.quant import QParams, dequantize
from qdsl.rewrite import Changes, Outcome
from qdsl.rewrite.facts import is_op
from qdsl.rewrite.sketch import Looked, Sketch
from qdsl.spec import DTYPES
from qdsl.spec.plan import Plan

_STORED = "int8"
_END = "_quantized"


@dataclass(frozen=True, slots=True)
class PairWeights(Lowering):
    """`wanted`: whether the target's software knows no stored integers."""

    wanted: bool = True

    name: ClassVar[str] = "pair_weights"
    summary: ClassVar[str] = "let stored weights stand as floats behind a QuantizeLinear of their own"

    @classmethod
    def of(cls, plan: Plan) -> Self:
        return cls(plan.paired_weights)

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        for node in list(self._matches(model, changes)):
            _rewrite(model, node)
        model.sweep()
        model.sort()
        return changes.outcome()

    def foresees(self, sketch: Sketch, capability: Capability) -> Foresight:
        """Nodes run as they do with stored integers."""
        changes = Changes()
        deque(self._matches(sketch, changes), maxlen=0)
        return Foresight(changes.outcome())

    def saves(self, view: GraphView, plan: Plan, outcome: Outcome) -> int:
        """What the floats and the Q take more."""
        stored = {(w.tensor, w.scheme, w.guard): w for w in plan.weights if w.scheme.dtype.name == _STORED}
        return -sum(
            (FLOAT - 1) * (view.tensors[weight.tensor].elements or 0)
            + quantize_bytes(weight.tensor, weight.origin)
            + info_bytes(view, weight.tensor, _END)
            for weight in (stored.values() if self.wanted else ())
        )

    def _matches(self, model: Looked, changes: Changes) -> Iterator[gs.Node]:
        """Each DequantizeLinear of a stored weight; notes that it fires for those who read it."""
        for node in model.nodes() if self.wanted else ():
            if is_op(node, "DequantizeLinear") and _is_stored(node):
                changes.fire("paired", dict.fromkeys(reader.name for reader in node.outputs[0].outputs))
                yield node


def _is_stored(node: gs.Node) -> bool:
    stored, scale = node.inputs[0], node.inputs[1]
    constant = isinstance(stored, gs.Constant) and isinstance(scale, gs.Constant) and len(node.inputs) == 3
    return constant and type_name(lazy_of(stored).element_type) == _STORED


def _rewrite(model: Model, node: gs.Node) -> None:
    stored, scale, zero = node.inputs
    codes, steps, dtype = lazy_of(stored), lazy_of(scale), DTYPES[_STORED]
    axis = node.attrs.get("axis", 1)  # ONNX's default

    def rounded() -> np.ndarray[Any, Any]:
        step = steps.load()
        params = QParams(step, np.zeros(step.shape, np.int8), dtype, axis if step.ndim else None)
        return dequantize(codes.load(), params)

    base = stored.name.removesuffix(_END)
    floats = add_deferred(model, f"{base}_rounded", "float32", codes.shape, rounded)
    made = add_node(
        model,
        "QuantizeLinear",
        [floats, scale, zero],
        name=f"{base}_QuantizeLinear",
        output_name=f"{base}_integers",
        attrs=dict(node.attrs),
        like=floats,
        element_type=_STORED,
        metadata=by_pass(PairWeights.name),
    )
    replace_input(model, node, 0, made.outputs[0])
