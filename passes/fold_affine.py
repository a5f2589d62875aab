"""Fold multiplications and additions per channel into the convolution or Gemm before them.

    y = (conv(x, w) + b) * k + s = conv(x, w * k) + b * k + s        with k and s per output channel, or one for all

Fires on Mul, Add, Sub and Div by a constant that read, alone, what a Conv, a ConvTranspose or a Gemm with constant
parameters writes, and on chains of them (a BatchNormalization that an exporter took apart, say); one that was left
whole behind them joins, too. The arithmetic is float64 and is cast once for the whole chain, to the type of the
weights; large weights are computed when they are read.
Refuses when the convolution's output has another use, when its parameters are computed, when the constant differs along
another axis than the channels' (an anchor grid) or would broaden the result, and when the outcome is not finite. What
is computed on both sides (a residual addition, a SiLU) is another pattern.
Guarantees that the convolution keeps its name and writes the tensor that the last of them wrote.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import onnx_graphsurgeon as gs

from qdsl.graph.constants import Array, Lazy, lazy_of
from qdsl.graph.dtypes import numpy_type
from qdsl.graph.edit import add_constant, move_outputs, remove_node, replace_input, set_attr
from qdsl.graph.model import Model
from qdsl.graph.walk import inner
from qdsl.passes import fold_batchnorm
from qdsl.passes.constant_nodes import constants_are_initializers
from qdsl.passes.output_channels import channels_of, groups_of, plain_float, scaled_constant
from qdsl.rewrite import Changes, Fact, Outcome, Rewrite
from qdsl.rewrite.facts import is_op

_STEPS = ("Mul", "Add", "Sub", "Div")
_INTO = ("Conv", "ConvTranspose", "Gemm")
# A node to fold into, and the k and s to fold, both float64 [channels].
Found = tuple[gs.Node, Array, Array]


class _Chain(NamedTuple):
    """A node as it was before anything was folded into it, and what was since."""

    weights: str
    value: Lazy
    bias: str
    before: Array
    scale: Array
    shift: Array

    def then(self, scale: Array, shift: Array) -> _Chain:
        return self._replace(scale=self.scale * scale, shift=self.shift * scale + shift)


def no_affine_after_conv(model: Model) -> Iterator[str]:
    """No Mul, Add, Sub or Div by a constant per channel as the only reader of a Conv with constant weights."""
    return (node.name for node in model.nodes() if isinstance(foldable(model, node), tuple))


@dataclass(frozen=True, slots=True)
class FoldAffine(Rewrite):
    """No options."""

    name: ClassVar[str] = "fold_affine"
    summary: ClassVar[str] = "fold Mul, Add, Sub and Div per channel into the convolution before them"
    requires: ClassVar[tuple[Fact, ...]] = (constants_are_initializers,)
    ensures: ClassVar[tuple[Fact, ...]] = (no_affine_after_conv,)

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        chains: dict[int, _Chain] = {}
        for node in model.nodes():
            found = _behind(model, node, chains) if is_op(node, "BatchNormalization") else foldable(model, node)
            if isinstance(found, str):
                changes.refuse(node.name, found)
            elif found is not None:
                target, scale, shift = found
                changes.fire("fold_affine", [target.name, node.name])
                chains[id(target)] = (chains.get(id(target)) or _start(target)).then(scale, shift)
                _fold(model, target, node, chains[id(target)])
        return changes.outcome()


def foldable(model: Model, node: gs.Node) -> Found | str | None:
    """What to fold this node into, and k and s; or why not; or None for another pattern."""
    if not is_op(node, *_STEPS) or len(node.inputs) != 2:
        return None
    port = 1 if isinstance(node.inputs[0], gs.Constant) else 0
    read, constant = node.inputs[port], node.inputs[1 - port]
    if not isinstance(constant, gs.Constant) or len(read.inputs) != 1 or not is_op(read.inputs[0], *_INTO):
        return None
    if node.op == "Div" and port == 1:
        return None  # what is divided by the convolution
    target = read.inputs[0]
    reason = _obstacle(model, target, node, constant)
    if reason is not None:
        return reason
    channels = channels_of(target)
    value = np.broadcast_to(lazy_of(constant).load().astype(np.float64).reshape(-1), (channels,))
    scale, shift = _meaning(node.op, port, value)
    with np.errstate(all="ignore"):
        folded = (_bias(target) * scale + shift).astype(_type(target))
    if not (np.isfinite(scale).all() and np.isfinite(folded).all()):
        return "its constant, or the bias that it would give, is not finite"
    return target, scale, shift


def _behind(model: Model, norm: gs.Node, chains: dict[int, _Chain]) -> Found | str | None:
    """A BatchNormalization that stands right after a convolution since this pass folded what was between."""
    source = model.producer(norm.inputs[0]) if norm.inputs else None
    return fold_batchnorm.foldable(model, norm) if id(source) in chains else None


def _meaning(op: str, port: int, value: Array) -> tuple[Array, Array]:
    """k and s of `op` with `value`; `port` is where the convolution enters."""
    one, none = np.ones_like(value), np.zeros_like(value)
    if op == "Add":
        return one, value
    if op == "Sub":
        return (one, -value) if port == 0 else (-one, value)
    with np.errstate(divide="ignore"):
        return (value if op == "Mul" else one / value), none


def _obstacle(model: Model, target: gs.Node, node: gs.Node, constant: gs.Constant) -> str | None:
    between = target.outputs[0]
    parameters = [tensor for port, tensor in enumerate(target.inputs) if port == 1 or (port > 1 and tensor.name)]
    if not parameters or not all(plain_float(tensor) for tensor in (constant, *parameters)):
        return "a parameter is not a constant of a float type"
    if not inner(model, between):
        return "the convolution's output has another use"
    channels, shape = channels_of(target), lazy_of(constant).shape
    rank = len(lazy_of(target.inputs[1]).shape)
    aligned = (1,) * (rank - len(shape)) + shape
    if channels < 1 or node.attrs or len(aligned) != rank or any(n != 1 for i, n in enumerate(aligned) if i != 1):
        return "its constant is not one value per channel"
    if aligned[1] not in (1, channels) or (len(parameters) > 1 and not _bias_fits(parameters[1], channels)):
        return "its constant, or the bias, does not match the channels"
    return None


def _bias_fits(bias: gs.Constant, channels: int) -> bool:
    """One value for all or one per channel: a Gemm's may also differ along the rows."""
    return lazy_of(bias).shape in ((), (1,), (1, 1), (channels,), (1, channels))


def _type(target: gs.Node) -> np.dtype[np.floating]:
    found = numpy_type(lazy_of(target.inputs[1]).element_type)
    assert found is not None  # as _obstacle made sure
    return found


def _bias(target: gs.Node) -> Array:
    """What is added now, float64 [channels]."""
    bias = target.inputs[2] if len(target.inputs) > 2 and target.inputs[2].name else None
    if bias is None:
        return np.zeros(channels_of(target))
    value = lazy_of(bias).load().astype(np.float64).reshape(-1) * float(target.attrs.get("beta", 1.0))
    return np.broadcast_to(value, (channels_of(target),))


def _start(target: gs.Node) -> _Chain:
    weights, channels = target.inputs[1], channels_of(target)
    bias = target.inputs[2].name if len(target.inputs) > 2 else ""
    scale, shift = np.ones(channels), np.zeros(channels)
    return _Chain(weights.name, lazy_of(weights), bias or f"{weights.name}_bias", _bias(target), scale, shift)


def _fold(model: Model, target: gs.Node, node: gs.Node, chain: _Chain) -> None:
    weights = scaled_constant(model, f"{chain.weights}_folded", chain.value, chain.scale, groups_of(target))
    folded = (chain.before * chain.scale + chain.shift).astype(_type(target))
    replace_input(model, target, 1, weights)
    replace_input(model, target, 2, add_constant(model, f"{chain.bias}_folded", folded))
    set_attr(target, "beta", None)  # a Gemm's, which the new bias has in it
    move_outputs(model, node, target)
    remove_node(model, node)
