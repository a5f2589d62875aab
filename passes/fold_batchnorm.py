"""Fold an inference BatchNormalization into the convolution before it.

    y = gamma * (conv(x, w) + b - mean) / sqrt(var + epsilon) + beta
      = conv(x, w * k) + (b - mean) * k + beta        with k = gamma / sqrt(var + epsilon), per output channel

Fires on Conv and ConvTranspose with constant weights (and bias), whose output only the BatchNormalization reads.
The arithmetic is float64 and is cast once, to the type of the weights; large weights are computed when read.
Refuses in training mode, when the convolution's output has another use, when anything is not constant, and when k is
not finite. A BatchNormalization after anything else stays.
Guarantees that the convolution keeps its name and writes the tensor that the BatchNormalization wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from qdsl.graph.constants import Array, Lazy, lazy_of
from qdsl.graph.dtypes import numpy_type
from qdsl.graph.edit import add_constant, add_deferred, move_outputs, remove_node, replace_input
from qdsl.graph.model import Model
from qdsl.rewrite import Changes, Outcome, Rewrite
from qdsl.rewrite.facts import is_op

_DEFAULT_EPSILON = 1e-5
_COMPUTED_NOW = 2**20  # bytes of weights; larger ones are deferred


@dataclass(frozen=True, slots=True)
class FoldBatchnorm(Rewrite):
    """No options."""

    name: ClassVar[str] = "fold_batchnorm"
    summary: ClassVar[str] = "fold BatchNormalization into the convolution before it"
    requires: ClassVar[tuple[str, ...]] = ("constants_are_initializers",)
    ensures: ClassVar[tuple[str, ...]] = ("no_batchnorm_after_conv",)

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        for node in model.nodes():
            found = foldable(model, node)
            if isinstance(found, str):
                changes.refuse(node.name, found)
            elif found is not None:
                conv, scale, shift = found
                changes.fire("fold_batchnorm", [conv.name, node.name])
                _fold(model, conv, node, scale, shift)
        return changes.outcome()


def foldable(model: Model, norm: gs.Node) -> tuple[gs.Node, Array, Array] | str | None:
    """The convolution with k and beta - mean * k, both float64 [channels]; or why not; or None for another pattern."""
    if not is_op(norm, "BatchNormalization") or not norm.inputs or len(norm.inputs[0].inputs) != 1:
        return None
    conv = norm.inputs[0].inputs[0]
    if not is_op(conv, "Conv", "ConvTranspose"):
        return None
    reason = _obstacle(model, conv, norm)
    if reason is not None:
        return reason
    gamma, beta, mean, var = (lazy_of(tensor).load().astype(np.float64) for tensor in norm.inputs[1:5])
    with np.errstate(all="ignore"):
        scale = gamma / np.sqrt(var + float(norm.attrs.get("epsilon", _DEFAULT_EPSILON)))
        shift = beta - mean * scale
    if scale.shape != (_channels(conv),) or shift.shape != scale.shape:
        return "its parameters do not match the convolution's channels"
    if not (np.isfinite(scale).all() and np.isfinite(shift).all()):
        return "its parameters are not finite (a variance below zero?)"
    return conv, scale, shift


def _obstacle(model: Model, conv: gs.Node, norm: gs.Node) -> str | None:
    between = conv.outputs[0]
    if norm.attrs.get("training_mode", 0) or not norm.attrs.get("spatial", 1):
        return "it is in training mode, or not per channel"
    if any(t.outputs or model.is_output(t) or model.captured(t) for t in norm.outputs[1:]):
        return "its running statistics are read"
    if len(between.outputs) != 1 or model.is_output(between) or model.captured(between):
        return "the convolution's output has another use"
    if len(norm.inputs) != 5 or not all(_plain_float(tensor) for tensor in (*norm.inputs[1:], *_parameters(conv))):
        return "a parameter is not a constant of a float type"
    return None


def _parameters(conv: gs.Node) -> list[gs.Tensor]:
    return [tensor for tensor in conv.inputs[1:] if tensor.name]


def _plain_float(tensor: gs.Tensor) -> bool:
    if not isinstance(tensor, gs.Constant):
        return False
    plain = numpy_type(lazy_of(tensor).element_type)
    return plain is not None and plain.kind == "f"


def _groups(conv: gs.Node) -> int:
    """The groups that count for the channel order of the weights: output channels are axis 0 of a Conv's weights
    [O, I/g, ...] and, group by group, axis 1 of a ConvTranspose's [I, O/g, ...]."""
    return int(conv.attrs.get("group", 1)) if conv.op == "ConvTranspose" else 0


def _channels(conv: gs.Node) -> int:
    shape = lazy_of(conv.inputs[1]).shape
    if len(shape) < 2:
        return -1
    return shape[1] * _groups(conv) if _groups(conv) else shape[0]


def scaled(weights: Array, scale: Array, groups: int) -> Array:
    """weights * k per output channel, in the type of the weights. `groups` 0: channels on axis 0."""
    wide = weights.astype(np.float64)
    if not groups:
        product = wide * scale.reshape(-1, *[1] * (wide.ndim - 1))
    else:
        split = wide.reshape(groups, wide.shape[0] // groups, *wide.shape[1:])
        product = split * scale.reshape(groups, 1, -1, *[1] * (wide.ndim - 2))
    return product.reshape(weights.shape).astype(weights.dtype)


def _fold(model: Model, conv: gs.Node, norm: gs.Node, scale: Array, shift: Array) -> None:
    weights = conv.inputs[1]
    bias = conv.inputs[2] if len(conv.inputs) > 2 and conv.inputs[2].name else None
    value = lazy_of(weights)
    replace_input(model, conv, 1, _scaled_constant(model, f"{weights.name}_folded", value, scale, _groups(conv)))
    before: Any = 0.0 if bias is None else lazy_of(bias).load().astype(np.float64)
    folded = (before * scale + shift).astype(numpy_type(value.element_type))
    name = f"{weights.name}_bias" if bias is None else bias.name
    replace_input(model, conv, 2, add_constant(model, f"{name}_folded", folded))
    move_outputs(model, norm, conv)
    remove_node(model, norm)


def _scaled_constant(model: Model, name: str, value: Lazy, scale: Array, groups: int) -> gs.Constant:
    if prod(value.shape) * 8 <= _COMPUTED_NOW:
        return add_constant(model, name, scaled(value.load(), scale, groups))
    return add_deferred(model, name, value.element_type, value.shape, lambda: scaled(value.load(), scale, groups))
