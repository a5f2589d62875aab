"""Spell Swish in one way.

    Swish(x)            ->  Mul(x, Sigmoid(x))
    Swish(x), alpha     ->  Mul(x, Sigmoid(Mul(x, alpha)))

Swish is an operator from opset 24 on, and a function there: a runtime without a kernel of it computes the right side.
Fires on float32 alone. Guarantees that there is no Swish of float32 left; the Mul keeps the node's name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from qdsl.graph.edit import add_constant, add_node, become
from qdsl.graph.meta import meta_of
from qdsl.graph.model import Model
from qdsl.rewrite import Changes, Fact, Outcome, Rewrite
from qdsl.rewrite.facts import is_op


def no_swish(model: Model) -> Iterator[str]:
    """No Swish of float32."""
    return (node.name for node in model.nodes() if is_float_swish(node))


@dataclass(frozen=True, slots=True)
class NormaliseSwish(Rewrite):
    """No options."""

    name: ClassVar[str] = "normalise_swish"
    summary: ClassVar[str] = "spell Swish as its Sigmoid and Mul"
    ensures: ClassVar[tuple[Fact, ...]] = (no_swish,)

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        for node in model.nodes():
            if is_float_swish(node):
                changes.fire("swish_is_sigmoid_and_mul", [node.name])
                _spell(model, node)
        return changes.outcome()


def is_float_swish(node: gs.Node) -> bool:
    """Whether a node is a Swish of float32."""
    return is_op(node, "Swish") and node.inputs[0].dtype == np.float32


def _spell(model: Model, node: gs.Node) -> None:
    data, alpha = node.inputs[0], float(node.attrs.get("alpha", 1.0))
    inner = data
    if alpha != 1.0:
        factor = add_constant(model, f"{node.name}_alpha", np.float32(alpha))
        inner = _added(model, node, "Mul", [data, factor])
    become(model, node, "Mul", [data, _added(model, node, "Sigmoid", [inner])])


def _added(model: Model, node: gs.Node, op: str, inputs: list[gs.Tensor]) -> gs.Tensor:
    name, output = f"{node.name}_{op}", f"{node.outputs[0].name}_{op}"
    metadata = dict(meta_of(node).metadata)
    made = add_node(model, op, inputs, name=name, output_name=output, like=inputs[0], metadata=metadata)
    written: gs.Tensor = made.outputs[0]
    return written
