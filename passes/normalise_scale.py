"""Spell the scale of attention in one way.

    MatMul(q, k) / c    ->  MatMul(q, k) * (1 / c)      c one number, not 0

A product by a number has an integer kernel, a quotient has none: between integers it would be a float island in every
layer of attention. Fires on float32 behind a MatMul or Gemm, where the scale stands; a quotient elsewhere may be part
of preprocessing in float, which gains nothing. Refuses a number whose inverse is none in float32.
Guarantees that the node keeps its name; bit for bit the same where c is a power of two, else rounded once more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from qdsl.graph.constants import lazy_of
from qdsl.graph.edit import add_constant, become
from qdsl.graph.model import Model
from qdsl.passes.constant_nodes import constants_are_initializers
from qdsl.rewrite import Changes, Fact, Outcome, Rewrite
from qdsl.rewrite.facts import is_op


@dataclass(frozen=True, slots=True)
class NormaliseScale(Rewrite):
    """No options."""

    name: ClassVar[str] = "normalise_scale"
    summary: ClassVar[str] = "divide products of matrices by multiplying with the inverse"
    requires: ClassVar[tuple[Fact, ...]] = (constants_are_initializers,)

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        for node in model.nodes():
            if not _scales(node):
                continue
            divisor = lazy_of(node.inputs[1]).load()
            with np.errstate(divide="ignore", over="ignore"):
                inverse = np.divide(np.float32(1), divisor, dtype=np.float32)
            if not np.isfinite(inverse).all() or not np.all(np.abs(inverse) >= np.finfo(np.float32).tiny):
                changes.refuse(node.name, "it divides by a number without an inverse")
                continue
            changes.fire("scale_is_mul", [node.name])
            factor = add_constant(model, f"{node.inputs[1].name}_inverse", inverse)
            become(model, node, "Mul", [node.inputs[0], factor])
        return changes.outcome()


def _scales(node: gs.Node) -> bool:
    """Whether a node divides what a product of matrices writes by one number of float32."""
    if not is_op(node, "Div") or len(node.inputs) != 2 or not node.inputs[0].inputs:
        return False
    data, divisor = node.inputs
    if not is_op(data.inputs[0], "MatMul", "Gemm") or not isinstance(divisor, gs.Constant):
        return False
    return data.dtype == np.float32 and int(np.prod(lazy_of(divisor).shape)) == 1
