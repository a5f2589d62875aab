"""Average over classes along the last axis: Transpose -> Softmax(axis=1) -> Conv 1x1 to one channel becomes a MatMul.

    conv(softmax(x[N, C, H, W], axis=1), w[1, C, 1, 1]) = matmul(softmax(x[N, H, W, C], axis=-1), w[C, 1])

as YOLOv8 decodes its boxes (the DFL): the same sums, over values that lie side by side, where a Softmax over axis 1
jumps through memory. The Transpose that brought C to axis 1 brings it to the end instead, and the Reshape behind reads
[N, H, W, 1] in place of [N, 1, H, W], which are the same values in the same order.
Fires from opset 13 on, where nothing else reads what stands between and no QuantizeLinear or DequantizeLinear stands
there: a lowering for nodes that the plan leaves in float, run after the plan was carried out.
Refuses a Conv with a bias, groups, padding, strides or several output channels, other readers, a Reshape whose shape is
computed or copies dims, and a Transpose that would be left with nothing to do.
Guarantees that the three nodes keep their names; the tensors between them, now in another order, get new ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import onnx_graphsurgeon as gs

from qdsl.capability import Capability
from qdsl.graph.constants import Held, lazy_of
from qdsl.graph.edit import add_constant, become, fresh_tensor_name, rename_tensor, set_attr
from qdsl.graph.model import Model
from qdsl.graph.walk import chain, inner
from qdsl.passes.lowering import Foresight, Lowering
from qdsl.passes.origins import by_pass, mark
from qdsl.passes.output_channels import plain_float
from qdsl.rewrite import Changes, Outcome
from qdsl.rewrite.facts import is_op
from qdsl.rewrite.sketch import Looked, Sketch

_FIRST_OPSET = 13  # before, Softmax took everything from its axis on as one


class _Chain(NamedTuple):
    transpose: gs.Node
    softmax: gs.Node
    conv: gs.Node

    def names(self) -> list[str]:
        return [node.name for node in self]


@dataclass(frozen=True, slots=True)
class SoftmaxLast(Lowering):
    """No options."""

    name: ClassVar[str] = "softmax_last"
    summary: ClassVar[str] = "take the Softmax before a 1x1 Conv to one channel over the last axis"

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        for found in _matches(model, changes):
            _rewrite(model, found)
        return changes.outcome()

    def foresees(self, sketch: Sketch, capability: Capability) -> Foresight:
        changes = Changes()
        for found in _matches(sketch, changes):
            _draw(sketch, found)
        return Foresight(changes.outcome())


def _matches(model: Looked, changes: Changes) -> Iterator[_Chain]:
    """Each chain to rewrite; notes that it fires, and what is left alone."""
    for node in model.nodes():
        found = _chain(model, node)
        if found is None:
            continue
        reason = _obstacle(model, found)
        if reason is not None:
            changes.refuse(node.name, reason)
            continue
        changes.fire(SoftmaxLast.name, found.names())
        yield found


def _chain(model: Looked, conv: gs.Node) -> _Chain | None:
    """The three nodes that end in `conv`; None for another pattern."""
    found = chain(model, conv.outputs[0], "Transpose", "Softmax", "Conv") if is_op(conv, "Conv") else None
    if found is None or model.opset < _FIRST_OPSET:
        return None
    transpose, softmax, _ = found
    perm = transpose.attrs.get("perm") or ()
    axis = softmax.attrs.get("axis", -1)
    return _Chain(transpose, softmax, conv) if len(perm) > 2 and axis % len(perm) == 1 else None


def _obstacle(model: Looked, found: _Chain) -> str | None:
    written = [node.outputs[0] for node in found]
    if not all(inner(model, tensor) for tensor in written):
        return "a tensor of the chain has another use"
    if len(found.conv.inputs) != 2 or not plain_float(found.conv.inputs[1]):
        return "the Conv has a bias or computed weights"
    shape, rank = lazy_of(found.conv.inputs[1]).shape, len(found.transpose.attrs["perm"])
    if shape[0] != 1 or shape[2:] != (1,) * (rank - 2) or not _plain(found.conv):
        return "the Conv is more than a sum over channels"
    if _to_last(found.transpose.attrs["perm"]) == list(range(rank)):
        return "the Transpose would have nothing to do"
    return None if _keeps_order(written[2].outputs[0]) else "what reads the Conv depends on its shape"


def _plain(conv: gs.Node) -> bool:
    """Whether a 1x1 Conv only sums over channels."""
    strides, pads = conv.attrs.get("strides") or (1,), conv.attrs.get("pads") or (0,)
    return conv.attrs.get("group", 1) == 1 and set(strides) == {1} and set(pads) == {0}


def _keeps_order(reader: gs.Node) -> bool:
    """Whether a node sees only the order of the values it reads: a Reshape to dims that copy none."""
    if not is_op(reader, "Reshape") or not isinstance(reader.inputs[1], gs.Constant):
        return False
    return bool((lazy_of(reader.inputs[1]).load() != 0).all())


def _to_last(order: list[int] | tuple[int, ...]) -> list[int]:
    """`order` with its second element at the end."""
    return [order[0], *order[2:], order[1]]


def _draw(sketch: Sketch, found: _Chain) -> None:
    """What `channels_last` looks at."""
    transpose, softmax, conv = found
    transpose.attrs["perm"] = tuple(_to_last(transpose.attrs["perm"]))
    softmax.attrs["axis"] = -1
    conv.op = "MatMul"
    conv.inputs[1] = sketch.constant("float32", (lazy_of(conv.inputs[1]).shape[1], 1))


def _rewrite(model: Model, found: _Chain) -> None:
    transpose, softmax, conv = found
    weights = lazy_of(conv.inputs[1])
    column = Held(weights.load().reshape(-1, 1), weights.element_type)
    name = f"{conv.inputs[1].name}_column"
    set_attr(transpose, "perm", _to_last(transpose.attrs["perm"]))
    set_attr(softmax, "axis", -1)
    become(model, conv, "MatMul", [conv.inputs[0], add_constant(model, name, column)])
    for node in found:
        tensor = node.outputs[0]
        rename_tensor(model, tensor, fresh_tensor_name(model, f"{tensor.name}_last"))
        tensor.shape = None if tensor.shape is None else tuple(_to_last(tuple(tensor.shape)))
        mark(node, by_pass(SoftmaxLast.name))
