"""Let integer weights with float activations run in MatMulNBits: two obstacles of ONNX Runtime, written around.

    gemm(x, dequantize(w), b; transB=1) = gemm(x, dequantize(transpose(w)), b)
    relu(matmul(x, dequantize(w))) = max(matmul(x, dequantize(w)), 0)

The kernel takes a stored matrix [in, out] alone, and the runtime joins a Relu to its product before it looks at the
weight. Fires where a MatMul or Gemm reads a stored weight through DequantizeLinear and float activations: a lowering,
run after the plan was carried out.
Refuses a Gemm whose weight is not a matrix, and leaves a Relu whose values are quantized or that is not the only
reader. Guarantees that nodes keep their names and outputs the same values.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import onnx_graphsurgeon as gs

from qdsl.capability import Capability
from qdsl.graph.constants import lazy_of
from qdsl.graph.edit import add_constant, add_deferred, add_node, become, remove_node, replace_input, set_attr
from qdsl.graph.meta import meta_of
from qdsl.graph.model import Model
from qdsl.graph.walk import inner, only_reader, writer
from qdsl.passes.lowering import Foresight, Lowering
from qdsl.rewrite import Changes, Outcome
from qdsl.rewrite.facts import is_op
from qdsl.rewrite.sketch import Looked, Sketch


@dataclass(frozen=True, slots=True)
class WeightsOnly(Lowering):
    """No options."""

    name: ClassVar[str] = "weights_only"
    summary: ClassVar[str] = "MatMul and Gemm with stored weights and float activations in the form that has a kernel"

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        for product in _matches(model, changes):
            if product.stored is not None:
                _transpose(model, product.node, product.stored)
            if product.relu is not None:
                zero = add_constant(model, "zero", np.zeros((), np.float32))
                become(model, product.relu, "Max", [product.relu.inputs[0], zero])
        return changes.outcome()

    def foresees(self, sketch: Sketch, capability: Capability) -> Foresight:
        """The rows say what they run as."""
        changes = Changes()
        deque(_matches(sketch, changes), maxlen=0)
        return Foresight(changes.outcome())


class _Product(NamedTuple):
    """A node with a stored weight: `stored` dequantizes one that has to be transposed, `relu` has to become a Max."""

    node: gs.Node
    stored: gs.Node | None
    relu: gs.Node | None


def _matches(model: Looked, changes: Changes) -> Iterator[_Product]:
    """Each product to rewrite; notes what fires, and what is left alone."""
    for node in model.nodes():
        if not is_op(node, "MatMul", "Gemm") or len(node.inputs) < 2:
            continue
        stored = _dequantized(node.inputs[1])
        if stored is None or _reads_integers(node):
            continue
        turned = node.attrs.get("transB", 0) and _is_matrix(node, stored, changes)
        if turned:
            changes.fire("transposed_weight", [node.name])
        relu = _relu_alone(model, node)
        if relu is not None:
            changes.fire("relu_as_max", [relu.name])
        yield _Product(node, stored if turned else None, relu)


def _is_matrix(node: gs.Node, stored: gs.Node, changes: Changes) -> bool:
    if len(lazy_of(stored.inputs[0]).shape) == 2:
        return True
    changes.refuse(node.name, "its weight is not a matrix")
    return False


def _dequantized(tensor: gs.Tensor) -> gs.Node | None:
    """The DequantizeLinear of a stored constant that writes `tensor`."""
    found = writer(tensor)
    stored = found is not None and found.op == "DequantizeLinear" and isinstance(found.inputs[0], gs.Constant)
    return found if stored else None


def _reads_integers(node: gs.Node) -> bool:
    before = writer(node.inputs[0])
    return before is not None and before.op == "DequantizeLinear"


def _transpose(model: Model, node: gs.Node, stored: gs.Node) -> None:
    """Let `node` read a transposed copy of its stored weight; the old one goes when nobody else reads it."""
    inputs = [_transposed(model, tensor) for tensor in stored.inputs]
    attrs = dict(stored.attrs)
    if "axis" in attrs:
        attrs["axis"] = 1 - int(attrs["axis"]) % 2
    made = add_node(
        model,
        "DequantizeLinear",
        inputs,
        name=f"{stored.name}_transposed",
        output_name=f"{stored.outputs[0].name}_transposed",
        attrs=attrs,
        domain=stored.domain,
        like=inputs[0],
        element_type="float32",
        metadata=meta_of(stored).metadata,
    )
    replace_input(model, node, 1, made.outputs[0])
    set_attr(node, "transB", None)
    old = stored.outputs[0]
    if inner(model, old, 0):
        remove_node(model, stored)


def _transposed(model: Model, tensor: gs.Constant) -> gs.Constant:
    """A matrix with its axes swapped; scales and zero points of fewer dimensions as they are."""
    value = lazy_of(tensor)
    if len(value.shape) != 2:
        return tensor
    return add_deferred(
        model,
        f"{tensor.name}_transposed",
        value.element_type,
        value.shape[::-1],
        lambda: np.ascontiguousarray(value.load().T),
    )


def _relu_alone(model: Looked, node: gs.Node) -> gs.Node | None:
    """The Relu that alone reads what `node` writes, at once or after the addition of a constant, before float
    readers."""
    reader = only_reader(model, node.outputs[0])
    if reader is not None and is_op(reader, "Add") and any(isinstance(t, gs.Constant) for t in reader.inputs):
        reader = only_reader(model, reader.outputs[0])
    if reader is None or not is_op(reader, "Relu"):
        return None
    return None if any(after.op == "QuantizeLinear" for after in reader.outputs[0].outputs) else reader
