"""Spell Softmax in one way.

Rules, on float32 tensors, over one axis:

    Exp(x) / ReduceSum(Exp(x))         ->  Softmax(x)      nobody else reads the exponentials
    Softmax(x - ReduceMax(x))          ->  Softmax(x)      nobody else reads the difference

so that the stable form, which subtracts the largest value first, is one Softmax. It has an integer kernel, and what a
mask leaves far below the largest value of a row needs no steps there.
Fires below opset 13 for the last axis only: Softmax then took all axes from its own on together.
Refuses axes that are computed. Guarantees that the last node keeps its name; the same function, rounded otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from qdsl.graph.constants import lazy_of
from qdsl.graph.edit import become, remove_node, replace_input
from qdsl.graph.model import Model
from qdsl.graph.walk import inner, only_writer
from qdsl.passes.constant_nodes import constants_are_initializers
from qdsl.rewrite import Changes, Fact, Outcome, Rewrite
from qdsl.rewrite.facts import is_op

_ANY_AXIS = 13  # opset from which Softmax works along one axis


@dataclass(frozen=True, slots=True)
class NormaliseSoftmax(Rewrite):
    """No options."""

    name: ClassVar[str] = "normalise_softmax"
    summary: ClassVar[str] = "spell Softmax in one way"
    requires: ClassVar[tuple[Fact, ...]] = (constants_are_initializers,)

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        for node in model.nodes():
            found = _shares(model, node)
            if isinstance(found, str):
                changes.refuse(node.name, found)
            elif found is not None:
                changes.fire("shares_are_softmax", [found.name, node.name])
                _to_softmax(model, node, found)
            shift = _shift(model, node)
            if shift is not None:
                changes.fire("softmax_of_shifted", [shift.name, node.name])
                replace_input(model, node, 0, shift.inputs[0])
                _remove(model, shift)
        return changes.outcome()


def _shares(model: Model, node: gs.Node) -> gs.Node | str | None:
    """The Exp that `node` divides by its sum over one axis; why that axis is not known."""
    if not is_op(node, "Div") or not node.outputs or node.outputs[0].dtype != np.float32:
        return None
    (power, *_), (total, *_) = (tensor.inputs or [None] for tensor in node.inputs)
    if power is None or total is None or not is_op(power, "Exp") or not is_op(total, "ReduceSum"):
        return None
    powers = power.outputs[0]
    readers = {id(reader) for reader in powers.outputs}
    if total.inputs[0] is not powers or readers != {id(node), id(total)} or model.is_open(powers):
        return None
    if not total.attrs.get("keepdims", 1) or not inner(model, total.outputs[0]):
        return None
    axis = _axis(total)
    return axis if isinstance(axis, str) else power if axis is not None and _takes(model, axis, powers) else None


def _shift(model: Model, node: gs.Node) -> gs.Node | None:
    """The subtraction of the largest value along its axis from what a Softmax reads."""
    minus = only_writer(model, node.inputs[0]) if is_op(node, "Softmax") else None
    if minus is None or not is_op(minus, "Sub") or not minus.inputs[1].inputs:
        return None
    data, largest = minus.inputs[0], minus.inputs[1].inputs[0]
    if not is_op(largest, "ReduceMax") or largest.inputs[0] is not data or not largest.attrs.get("keepdims", 1):
        return None
    axis, rank = _axis(largest), _rank(data)
    own = node.attrs.get("axis", -1 if model.opset >= _ANY_AXIS else 1)
    same = isinstance(axis, int) and rank > 0 and axis == own % rank
    return minus if same and (model.opset >= _ANY_AXIS or axis == rank - 1) else None


def _axis(node: gs.Node) -> int | str | None:
    """The one axis that a reduction takes; why it is not known."""
    axes, rank = node.attrs.get("axes"), _rank(node.inputs[0])
    tensor = node.inputs[1] if len(node.inputs) > 1 and node.inputs[1].name else None
    if tensor is not None and not isinstance(tensor, gs.Constant):
        return "the axes of its sum are computed"
    if tensor is not None:
        axes = lazy_of(tensor).load().reshape(-1).tolist()
    return int(axes[0]) % rank if axes is not None and len(axes) == 1 and rank else None


def _rank(tensor: gs.Tensor) -> int:
    return 0 if tensor.shape is None else len(tensor.shape)


def _takes(model: Model, axis: int, tensor: gs.Tensor) -> bool:
    return model.opset >= _ANY_AXIS or axis == _rank(tensor) - 1


def _to_softmax(model: Model, node: gs.Node, power: gs.Node) -> None:
    total = node.inputs[1].inputs[0]
    axis = _axis(total)
    become(model, node, "Softmax", [power.inputs[0]], {"axis": axis})
    remove_node(model, total)
    remove_node(model, power)


def _remove(model: Model, shift: gs.Node) -> None:
    """A subtraction that nobody reads any more, and what found the largest value for it alone."""
    largest = shift.inputs[1].inputs[0]
    remove_node(model, shift)
    if inner(model, largest.outputs[0], 0):
        remove_node(model, largest)
