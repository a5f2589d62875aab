"""Compute what does not depend on the inputs.

Fires on operators of the list below whose inputs are all constant, and on Shape and Size of a tensor with known dims.
Values come from ONNX's reference implementation; one beyond a megabyte is computed when it is read, so that folding
needs no room for it. After a round of folding shapes are inferred anew, since a folded Shape often makes the next one
known.
Refuses what would come out larger than `largest` bytes and larger than what it is computed from, what the reference
cannot compute, and operators off the list: random ones, QuantizeLinear and DequantizeLinear (a stored integer weight
stays one), and arithmetic that differs between processors.
Guarantees that outputs keep their names; the same model gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import ModelProto, TensorProto
from onnx.reference import ReferenceEvaluator

from qdsl.graph.constants import Array, Deferred, Held, Lazy, Sparse, lazy_of, to_proto
from qdsl.graph.dtypes import byte_count, number_of, numpy_type
from qdsl.graph.edit import remove_node, to_constant
from qdsl.graph.exporter import ir_for, node_proto
from qdsl.graph.importer import set_type
from qdsl.graph.model import Model
from qdsl.rewrite import Changes, Outcome, Rewrite
from qdsl.rewrite.facts import is_op

# Moves data, or rounds once per element as IEEE 754 says: the same bits everywhere.
# fmt: off
_FOLDED = frozenset(
    {
        "Abs", "Add", "And", "Cast", "Ceil", "Clip", "Concat", "ConstantOfShape", "CumSum", "Div", "Equal",
        "Expand", "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Greater", "GreaterOrEqual",
        "Identity", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg", "NonZero", "Not", "Or", "Range",
        "ReduceMax", "ReduceMin", "Relu", "Reshape", "Round", "ScatterElements", "ScatterND", "Shape", "Sign",
        "Size", "Slice", "Split", "Sqrt", "Squeeze", "Sub", "Tile", "Transpose", "Unsqueeze", "Where", "Xor",
    }
)
# fmt: on
# What can be larger than its inputs by any factor.
_GROWING = frozenset({"ConstantOfShape", "Expand", "Range", "Tile"})
_COMPUTED_NOW = 2**20
_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class FoldConstants(Rewrite):
    """`largest`: bytes that a value may have which is larger than what it is computed from."""

    largest: int = 2**24

    name: ClassVar[str] = "fold_constants"
    summary: ClassVar[str] = "compute what does not depend on the inputs"
    requires: ClassVar[tuple[str, ...]] = ("constants_are_initializers",)

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        refused: dict[str, str] = {}
        for _ in range(_ROUNDS):
            folded = [self._fold(model, node, changes, refused) for node in model.nodes()]
            if not any(folded):
                break
            model.sweep()
            model.infer()
        for node, reason in refused.items():
            changes.refuse(node, reason)
        return changes.outcome()

    def _fold(self, model: Model, node: gs.Node, changes: Changes, refused: dict[str, str]) -> bool:
        if not is_op(node, *_FOLDED) or not node.outputs:
            return False
        inputs = _inputs(node)
        found: list[Lazy] | str | None = _known(node)
        if found is None and inputs is not None:
            found = self._values(model, node, inputs)
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

    def _values(self, model: Model, node: gs.Node, inputs: list[Lazy | None]) -> list[Lazy] | str:
        """What the node writes, or why it is not computed."""
        given = sum(value.nbytes for value in inputs if value is not None)
        size = _output_bytes(model, node, inputs)
        if size is None and (given > _COMPUTED_NOW or node.op in _GROWING):
            return "the size of its result is unknown"
        if size is not None and size > max(self.largest, given):
            return f"its result would take {size} bytes"

        def compute() -> list[Array]:
            return _evaluate(node_model, inputs)

        node_model = _one_node_model(node, model.opset)
        if size is not None and size > _COMPUTED_NOW and len(node.outputs) == 1:
            tensor = node.outputs[0]
            return [Deferred(number_of(tensor.dtype), tuple(tensor.shape), lambda: compute()[0])]
        try:
            return [Held(array, number_of(array.dtype)) for array in compute()]
        except Exception as error:  # the reference raises whatever numpy raises on ill-formed input
            text = str(error).strip().splitlines() or [type(error).__name__]
            return f"it cannot be computed: {text[0][:120]}"


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


def _output_bytes(model: Model, node: gs.Node, inputs: list[Lazy | None]) -> int | None:
    """Bytes of all outputs together, by the shapes in the graph or, where those are open, by inference on this node."""
    if node.op == "Range":
        return _range_bytes(inputs)
    if any(t.dtype is None or not _static(t.shape) for t in node.outputs if t.name):
        _infer_outputs(model, node, inputs)
    sizes = [
        byte_count(number_of(t.dtype), prod(t.shape)) if t.dtype is not None and _static(t.shape) else None
        for t in node.outputs
        if t.name
    ]
    return None if None in sizes else sum(size or 0 for size in sizes)


def _range_bytes(inputs: Sequence[Lazy | None]) -> int | None:
    """Counted in Python's integers: shape inference and numpy both overflow to nothing near 2^63."""
    start, limit, delta = (0 if value is None else value.load().reshape(-1)[0].item() for value in inputs)
    if not delta or inputs[0] is None or not all(np.isfinite([start, limit, delta])):
        return None
    return max(0, int((limit - start) / delta) + 1) * (inputs[0].nbytes or 1)


def _static(shape: Sequence[int | str | None] | None) -> bool:
    return shape is not None and all(isinstance(dim, int) for dim in shape)


def _infer_outputs(model: Model, node: gs.Node, inputs: list[Lazy | None]) -> None:
    """Types of the node's outputs from the values of its inputs; what cannot be inferred stays open."""
    named = [(tensor.name, value) for tensor, value in zip(node.inputs, inputs, strict=True) if value is not None]
    types = {name: onnx.helper.make_tensor_type_proto(value.element_type, value.shape) for name, value in named}
    data = {name: to_proto(name, value) for name, value in named if value.nbytes <= _COMPUTED_NOW}
    try:
        schema = onnx.defs.get_schema(node.op, model.opset)
        found = onnx.shape_inference.infer_node_outputs(schema, node_proto(node), types, data)
    except Exception:  # the C++ side throws several unrelated types; the node is then judged by its inputs alone
        return
    for tensor in node.outputs:
        if tensor.name in found:
            set_type(tensor, found[tensor.name])


def _one_node_model(node: gs.Node, opset: int) -> ModelProto:
    proto = ModelProto(ir_version=ir_for(opset, 0))
    proto.opset_import.add(domain="", version=opset)
    proto.graph.node.append(node_proto(node))
    for name in dict.fromkeys(tensor.name for tensor in node.inputs if tensor.name):
        proto.graph.input.add(name=name)
    for tensor in node.outputs:
        if tensor.name:
            proto.graph.output.add(name=tensor.name)
    return proto


def _evaluate(proto: ModelProto, inputs: Sequence[Lazy | None]) -> list[Array]:
    """Run a model of one node on constants; values in the order of the node's outputs."""
    names = proto.graph.node[0].input
    feeds = {name: np.asarray(value.load()) for name, value in zip(names, inputs, strict=True) if value is not None}
    with np.errstate(all="ignore"):
        return [np.asarray(array) for array in ReferenceEvaluator(proto).run(None, feeds)]
