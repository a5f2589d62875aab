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

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from qdsl.graph.constants import Array, lazy_of
from qdsl.graph.dtypes import numpy_type
from qdsl.graph.edit import add_constant, move_outputs, remove_node, replace_input
from qdsl.graph.model import Model
from qdsl.graph.walk import inner
from qdsl.passes.constant_nodes import constants_are_initializers
from qdsl.passes.output_channels import channels_of, groups_of, plain_float, scaled_constant
from qdsl.rewrite import Changes, Fact, Outcome, Rewrite
from qdsl.rewrite.facts import is_op

_DEFAULT_EPSILON = 1e-5


def no_batchnorm_after_conv(model: Model) -> Iterator[str]:
    """No inference BatchNormalization with constant parameters as the only reader of a Conv with constant weights."""
    return (node.name for node in model.nodes() if isinstance(foldable(model, node), tuple))


@dataclass(frozen=True, slots=True)
class FoldBatchnorm(Rewrite):
    """No options."""

    name: ClassVar[str] = "fold_batchnorm"
    summary: ClassVar[str] = "fold BatchNormalization into the convolution before it"
    requires: ClassVar[tuple[Fact, ...]] = (constants_are_initializers,)
    ensures: ClassVar[tuple[Fact, ...]] = (no_batchnorm_after_conv,)

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
    conv = model.producer(norm.inputs[0]) if is_op(norm, "BatchNormalization") and norm.inputs else None
    if conv is None or not is_op(conv, "Conv", "ConvTranspose"):
        return None
    reason = _obstacle(model, conv, norm)
    if reason is not None:
        return reason
    gamma, beta, mean, var = (lazy_of(tensor).load().astype(np.float64) for tensor in norm.inputs[1:5])
    with np.errstate(all="ignore"):
        scale = gamma / np.sqrt(var + float(norm.attrs.get("epsilon", _DEFAULT_EPSILON)))
        shift = beta - mean * scale
    if scale.shape != (channels_of(conv),) or shift.shape != scale.shape:
        return "its parameters do not match the convolution's channels"
    if not (np.isfinite(scale).all() and np.isfinite(shift).all()):
        return "its parameters are not finite (a variance below zero?)"
    return conv, scale, shift


def _obstacle(model: Model, conv: gs.Node, norm: gs.Node) -> str | None:
    between = conv.outputs[0]
    if norm.attrs.get("training_mode", 0) or not norm.attrs.get("spatial", 1):
        return "it is in training mode, or not per channel"
    if not all(inner(model, tensor, 0) for tensor in norm.outputs[1:]):
        return "its running statistics are read"
    if not inner(model, between):
        return "the convolution's output has another use"
    if len(norm.inputs) != 5 or not all(plain_float(tensor) for tensor in (*norm.inputs[1:], *_parameters(conv))):
        return "a parameter is not a constant of a float type"
    return None


def _parameters(conv: gs.Node) -> list[gs.Tensor]:
    return [tensor for tensor in conv.inputs[1:] if tensor.name]


def _fold(model: Model, conv: gs.Node, norm: gs.Node, scale: Array, shift: Array) -> None:
    weights = conv.inputs[1]
    bias = conv.inputs[2] if len(conv.inputs) > 2 and conv.inputs[2].name else None
    value = lazy_of(weights)
    replace_input(model, conv, 1, scaled_constant(model, f"{weights.name}_folded", value, scale, groups_of(conv)))
    before: Any = 0.0 if bias is None else lazy_of(bias).load().astype(np.float64)
    folded = (before * scale + shift).astype(numpy_type(value.element_type))
    name = f"{weights.name}_bias" if bias is None else bias.name
    replace_input(model, conv, 2, add_constant(model, f"{name}_folded", folded))
    move_outputs(model, norm, conv)
    remove_node(model, norm)
