"""Keep weights that the plan leaves in float, or stores in 2 bits, out of ONNX Runtime's own quantization.

Between a DequantizeLinear and a QuantizeLinear the runtime itself stores a float weight as int8, per tensor, and a
float bias as int32 (Conv, ConvTranspose, Gemm, and the MatMul with an addition that it makes a Gemm of). It does so
only where one scale goes for the whole input: so such a node reads its integers through a DequantizeLinear of its own
that repeats the scale per channel, which writes the same floats in the same time,

    conv(dequantize(x, s), w) = conv(dequantize(x, [s, ..., s], axis=1), w)

or, where there is no channel to repeat it for or the integers are int8 (a pair that the runtime looks for), through a
Max of one input, which copies.
So it does with 2-bit weights of a Conv, for which it has no kernel: the file would not load. These read through a Max.
Fires for a float32 weight, a 2-bit one of a Conv, and for a float bias beside integers that no kernel computes with: in
steps as small as theirs it may leave int32. Refuses nothing. Guarantees that nodes keep their names and that every
float stays the same, bit for bit.
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
from qdsl.graph.edit import add_constant, add_node, remove_node, replace_input
from qdsl.graph.model import Model
from qdsl.graph.view import GraphView
from qdsl.graph.walk import inner, writer
from qdsl.passes.keep_operators import copy_input
from qdsl.passes.kept_bytes import kept_bytes
from qdsl.passes.lowering import Foresight, Lowering
from qdsl.passes.origins import by_pass
from qdsl.rewrite import Changes, Outcome
from qdsl.rewrite.facts import is_op
from qdsl.rewrite.sketch import Looked, Sketch
from qdsl.spec.plan import Plan

_FIRST_OPSET = 13  # scales per axis
_CONVOLUTIONS = ("Conv", "ConvTranspose")
# What the runtime takes out of the way of a Q/DQ pair: it folds them, or moves the pair over them.
MOVES = ("Identity", "MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze", "Flatten")
_BEFORE = ("Pad", *MOVES)
_BEHIND = ("Relu", "Clip", *MOVES)
_WITH_CONSTANT = ("Add", "Sub", "Mul", "Div", "BatchNormalization")
_COMPUTED = ("int8", "uint8")
_MISTAKEN = ("int2", "uint2")


@dataclass(frozen=True, slots=True)
class KeepWeights(Lowering):
    """No options."""

    name: ClassVar[str] = "keep_weights"
    summary: ClassVar[str] = "keep float weights between Q/DQ pairs from being stored as integers by the runtime"

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        known: dict[tuple[str, int], gs.Variable] = {}
        for node, reader in _matches(model, changes):
            if _two_bits(node) or not _per_channel(model, node, reader, known):
                copy_input(model, reader, 0, by_pass(self.name))
        model.sort()
        return changes.outcome()

    def foresees(self, sketch: Sketch, capability: Capability) -> Foresight:
        """The rows say what they run as, once the runtime leaves them alone."""
        changes = Changes()
        deque(_matches(sketch, changes), maxlen=0)
        return Foresight(changes.outcome())

    def saves(self, view: GraphView, plan: Plan, outcome: Outcome) -> int:
        return -kept_bytes(view, plan, [fired.nodes for fired in outcome.fired])


def _matches(model: Looked, changes: Changes) -> Iterator[tuple[gs.Node, gs.Node]]:
    """Each node to keep, and the one that reads the integers for it; notes that it fires."""
    for node in model.nodes():
        if _holds_floats(node) and _quantized_before(node) and _quantized_behind(node):
            reader = _entry(node)
            changes.fire("kept", dict.fromkeys([node.name, reader.name]))
            yield node, reader


def _holds_floats(node: gs.Node) -> bool:
    """Whether a product has constants in float that the runtime would store as integers."""
    if not is_op(node, *_CONVOLUTIONS, "Gemm", "MatMul") or len(node.inputs) < 2:
        return False
    if _is_float32(node.inputs[1]) or _two_bits(node):
        return True
    if len(node.inputs) < 3 or not _is_float32(node.inputs[2]):
        return False
    pairs = [writer(tensor) for tensor in node.inputs[:2]]
    return all(pair is not None and pair.op == "DequantizeLinear" for pair in pairs) and not all(map(_computed, pairs))


def _two_bits(node: gs.Node) -> bool:
    """Whether a Conv reads a stored weight of 2 bits, which the runtime takes for one of 8."""
    pair = writer(node.inputs[1]) if node.op == "Conv" else None
    if pair is None or pair.op != "DequantizeLinear" or not isinstance(pair.inputs[0], gs.Constant):
        return False
    return type_name(lazy_of(pair.inputs[0]).element_type) in _MISTAKEN


def _computed(pair: gs.Node) -> bool:
    """Whether a kernel takes what a DequantizeLinear reads: its zero point has the type."""
    zero = pair.inputs[2] if len(pair.inputs) > 2 else pair.inputs[0]
    return not isinstance(zero, gs.Constant) or type_name(lazy_of(zero).element_type) in _COMPUTED


def _is_float32(tensor: gs.Tensor) -> bool:
    return isinstance(tensor, gs.Constant) and type_name(lazy_of(tensor).element_type) == "float32"


def _quantized_before(node: gs.Node) -> bool:
    """Whether the data input comes from a DequantizeLinear, or will once the runtime has moved things."""
    before = writer(node.inputs[0])
    while before is not None and is_op(before, *_BEFORE):
        before = writer(before.inputs[0])
    return before is not None and before.op == "DequantizeLinear"


def _quantized_behind(node: gs.Node) -> bool:
    """Whether the result goes to a QuantizeLinear, or will. A MatMul counts where it becomes a Gemm."""
    open_nodes = list(_sums(node) if node.op == "MatMul" else [node])
    seen: set[int] = set()
    while open_nodes:
        current = open_nodes.pop()
        for reader in current.outputs[0].outputs:
            if reader.op == "QuantizeLinear":
                return True
            if id(reader) not in seen and (is_op(reader, *_BEHIND) or _with_constant(reader)):
                seen.add(id(reader))
                open_nodes.append(reader)
    return False


def _sums(node: gs.Node) -> Iterator[gs.Node]:
    return (reader for reader in node.outputs[0].outputs if is_op(reader, "Add", "BatchNormalization"))


def _with_constant(node: gs.Node) -> bool:
    return is_op(node, *_WITH_CONSTANT) and any(isinstance(tensor, gs.Constant) for tensor in node.inputs)


def _entry(node: gs.Node) -> gs.Node:
    """The node itself, or the Pad before it, which the runtime makes part of it."""
    before = writer(node.inputs[0])
    while before is not None and is_op(before, "Pad") and len(before.outputs[0].outputs) == 1:
        node, before = before, writer(before.inputs[0])
    return node


def _per_channel(model: Model, node: gs.Node, reader: gs.Node, known: dict[tuple[str, int], gs.Variable]) -> bool:
    """Let `reader`, `node` or what pads for it, read the integers with a scale per channel; False where it cannot."""
    old, channels = writer(reader.inputs[0]), _channels(node)
    if old is None or old.op != "DequantizeLinear" or channels < 2 or model.opset < _FIRST_OPSET:
        return False
    if len(old.inputs) != 3 or not all(_is_scalar(tensor) for tensor in old.inputs[1:]):
        return False
    if type_name(lazy_of(old.inputs[2]).element_type) == "int8":
        return False
    key = old.inputs[0].name, channels
    if key not in known:
        known[key] = _repeated(model, old, channels)
    replace_input(model, reader, 0, known[key])
    if inner(model, old.outputs[0], 0):
        remove_node(model, old)
    return True


def _channels(node: gs.Node) -> int:
    """Channels that a convolution reads, along axis 1; 0 for other operators, whose channels are no whole rows."""
    if node.op not in _CONVOLUTIONS:
        return 0
    weight = node.inputs[1] if isinstance(node.inputs[1], gs.Constant) else node.inputs[1].inputs[0].inputs[0]
    shape = lazy_of(weight).shape
    return shape[0] if node.op == "ConvTranspose" else shape[1] * int(node.attrs.get("group", 1))


def _is_scalar(tensor: gs.Tensor) -> bool:
    return isinstance(tensor, gs.Constant) and lazy_of(tensor).shape == ()


def _repeated(model: Model, old: gs.Node, channels: int) -> gs.Variable:
    parts = []
    for tensor in old.inputs[1:]:
        value = lazy_of(tensor)
        name = f"{tensor.name}_{channels}"
        parts.append(add_constant(model, name, np.repeat(value.load(), channels), type_name(value.element_type)))
    made = add_node(
        model,
        "DequantizeLinear",
        [old.inputs[0], *parts],
        name=f"{old.name}_kept",
        output_name=f"{old.outputs[0].name}_kept",
        attrs={"axis": 1},
        domain=old.domain,
        like=old.outputs[0],
        metadata=by_pass(KeepWeights.name),
    )
    written: gs.Variable = made.outputs[0]
    return written
