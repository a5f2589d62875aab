"""Compute what does not depend on the inputs.

Fires on operators of the list below whose inputs are all constant, and on Shape and Size of a tensor with known dims.
Values come from ONNX's reference implementation; one beyond a megabyte is computed when it is read, so that folding
needs no room for it. After a round of folding shapes are inferred anew, since a folded Shape often makes the next one
known.
Refuses, before anything is computed, what would come out larger than `largest` bytes and larger than what it is
computed from; what the graph as a whole has no room for: its constants may grow to a few times what they were, and the
work of computing them is bounded in sum, too; what the reference cannot compute; and operators off the list: random
ones, QuantizeLinear and DequantizeLinear (a stored integer weight stays one), and arithmetic that differs between
processors.
Guarantees that outputs keep their names; the same model gives the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto

from qdsl.graph.constants import Array, Deferred, Held, Lazy, Sparse, lazy_of
from qdsl.graph.dtypes import number_of, numpy_type
from qdsl.graph.edit import remove_node, to_constant
from qdsl.graph.evaluate import evaluate, one_node_model, output_bytes
from qdsl.graph.model import Model
from qdsl.passes.constant_nodes import constants_are_initializers
from qdsl.rewrite import Changes, Fact, Outcome, Rewrite
from qdsl.rewrite.facts import is_op

# Moves data, or rounds once per element as IEEE 754 says: the same bits everywhere.
# fmt: off
_FOLDED = frozenset(
    {
        "Abs", "Add", "And", "Cast", "Ceil", "Clip", "Concat", "ConstantOfShape", "CumSum", "Div", "Equal",
        "Expand", "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Greater", "GreaterOrEqual",
        "Identity", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg", "NonZero", "Not", "Or", "Range",
        "ReduceMax", "ReduceMin", "Relu", "Reshape", "Round", "ScatterElements", "ScatterND", "Shape", "Sign",
        "Size", "Slice", "Split", "Sqrt", "Squeeze", "Sub", "Tile", "Transpose", "Trilu", "Unsqueeze", "Where", "Xor",
    }
)
# fmt: on
# What can be larger than its inputs by any factor.
_GROWING = frozenset({"ConstantOfShape", "Expand", "Range", "Tile"})
_COMPUTED_NOW = 2**20
_ROUNDS = 4
# Constants may grow by so many times their bytes; so many times their bytes may be read and written to compute them.
_GROWTH, _WORK = 4, 32


class _Budget:
    """What folding may add to a model, in sum. A deferred value is computed anew whenever it is read, and so is what it
    is computed from: its work counts with all of that."""

    def __init__(self, model: Model, largest: int) -> None:
        given = model.constant_bytes
        self._model = model
        self._outputs = {tensor.name for tensor in model.graph.outputs}
        self._room = _GROWTH * given + largest
        self._left = _WORK * (given + largest)
        self._work: dict[str, int] = {}

    def refusal(self, node: gs.Node, size: int) -> str | None:
        """Why the constants have no room for a result of `size` bytes; None, and it is booked, where they have."""
        read = {tensor.name: tensor for tensor in node.inputs if tensor.name}
        spent = sum(lazy_of(tensor).nbytes for tensor in read.values() if self._is_spent(tensor, node))
        work = size + sum(self._work.get(name, lazy_of(tensor).nbytes) for name, tensor in read.items())
        if size - spent > self._room or work > self._left:
            return f"its result would take {size} bytes, and the constants of this model have grown enough"
        self._room -= max(0, size - spent)
        self._left -= work
        self._work.update(dict.fromkeys((tensor.name for tensor in node.outputs), work))
        return None

    def _is_spent(self, tensor: gs.Tensor, node: gs.Node) -> bool:
        """Whether nobody else needs the value."""
        kept = tensor.name in self._outputs or self._model.captured(tensor)
        return not kept and all(reader is node for reader in tensor.outputs)


@dataclass(frozen=True, slots=True)
class FoldConstants(Rewrite):
    """`largest`: bytes that a value may have which is larger than what it is computed from."""

    largest: int = 2**24

    name: ClassVar[str] = "fold_constants"
    summary: ClassVar[str] = "compute what does not depend on the inputs"
    requires: ClassVar[tuple[Fact, ...]] = (constants_are_initializers,)

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        refused: dict[str, str] = {}
        budget = _Budget(model, self.largest)
        for _ in range(_ROUNDS):
            folded = [self._fold(model, node, budget, changes, refused) for node in model.nodes()]
            if not any(folded):
                break
            model.sweep()
            model.infer()
        for node, reason in refused.items():
            changes.refuse(node, reason)
        return changes.outcome()

    def _fold(self, model: Model, node: gs.Node, budget: _Budget, changes: Changes, refused: dict[str, str]) -> bool:
        if not is_op(node, *_FOLDED) or not node.outputs:
            return False
        inputs = _inputs(node)
        found: list[Lazy] | str | None = _known(node)
        if found is None and inputs is not None:
            found = self._values(model, node, inputs, budget)
        if found is None:
            return False
        if isinstance(found, str):
            refused[node.name] = found
            return False
        refused.pop(node.name, None)
        changes.fire("fold_constant", [node.name])
        for tensor, value in zip([t for t in node.outputs if t.name], found, strict=True):
            to_constant(model, tensor, value)
        remove_node(model, node)
        return True

    def _values(self, model: Model, node: gs.Node, inputs: list[Lazy | None], budget: _Budget) -> list[Lazy] | str:
        """What the node writes, or why it is not computed."""
        distinct = {tensor.name: value for tensor, value in zip(node.inputs, inputs, strict=True) if value is not None}
        given = sum(value.nbytes for value in distinct.values())
        size = output_bytes(node, inputs, model.opset)
        if size is None and (given > _COMPUTED_NOW or node.op in _GROWING):
            return "the size of its result is unknown"
        if size is not None and size > max(self.largest, given):
            return f"its result would take {size} bytes"
        no_room = None if size is None else budget.refusal(node, size)
        if no_room is not None:
            return no_room

        def compute() -> list[Array]:
            return evaluate(node_model, inputs)

        node_model = one_node_model(node, model.opset)
        if size is not None and size > _COMPUTED_NOW and len(node.outputs) == 1:
            tensor = node.outputs[0]
            return [Deferred(number_of(tensor.dtype), tuple(tensor.shape), lambda: compute()[0])]
        try:
            arrays = compute()
        except Exception as error:  # the reference raises whatever numpy raises on ill-formed input
            text = str(error).strip().splitlines() or [type(error).__name__]
            return f"it cannot be computed: {text[0][:120]}"
        no_room = budget.refusal(node, sum(array.nbytes for array in arrays)) if size is None else None
        return no_room or [Held(array, number_of(array.dtype)) for array in arrays]


def _known(node: gs.Node) -> list[Lazy] | None:
    """The value of a Shape or Size whose input has known dims."""
    if node.op not in ("Shape", "Size") or isinstance(node.inputs[0], gs.Constant):
        return None
    dims = node.inputs[0].shape
    if dims is None or not all(isinstance(dim, int) for dim in dims):
        return None
    if node.op == "Size":
        return [Held(np.array(prod(dims), np.int64), int(TensorProto.INT64))]
    cut = dims[node.attrs.get("start", 0) : node.attrs.get("end", len(dims))]
    return [Held(np.array(cut, np.int64), int(TensorProto.INT64))]


def _inputs(node: gs.Node) -> list[Lazy | None] | None:
    """The constants that a node reads, None for an absent one; None when it reads anything that is not one in numpy."""
    found: list[Lazy | None] = []
    for tensor in node.inputs:
        if not tensor.name:
            found.append(None)
            continue
        value = lazy_of(tensor) if isinstance(tensor, gs.Constant) else None
        if value is None or isinstance(value, Sparse) or numpy_type(value.element_type) is None:
            return None
        found.append(value)
    return found
