"""Weights per output channel, as the folding passes need them: where the channels are, and scaling along them."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx_graphsurgeon as gs

from qdsl.graph.constants import Array, Lazy, lazy_of
from qdsl.graph.dtypes import numpy_type
from qdsl.graph.edit import add_constant, add_deferred
from qdsl.graph.model import Model

_COMPUTED_NOW = 2**20  # bytes of weights in float64; larger ones are deferred


def plain_float(tensor: gs.Tensor) -> bool:
    """Whether a tensor is a constant of a float type that numpy has."""
    if not isinstance(tensor, gs.Constant):
        return False
    plain = numpy_type(lazy_of(tensor).element_type)
    return plain is not None and plain.kind == "f"


def groups_of(node: gs.Node) -> int:
    """The groups that count for the channel order of the weights, 0 for channels on axis 0: of a Conv's weights
    [O, I/g, ...] and of a Gemm's [O, I] with transB. Else they are on axis 1, group by group in a ConvTranspose's
    [I, O/g, ...], and as one group in a Gemm's [I, O]."""
    if node.op == "Gemm":
        return 0 if node.attrs.get("transB", 0) else 1
    return int(node.attrs.get("group", 1)) if node.op == "ConvTranspose" else 0


def channels_of(node: gs.Node) -> int:
    """Output channels of a Conv, ConvTranspose or Gemm with constant weights; -1 for weights that cannot be its."""
    shape, groups = lazy_of(node.inputs[1]).shape, groups_of(node)
    if len(shape) < 2 or groups < 0 or (groups and shape[0] % groups):
        return -1
    return shape[1] * groups if groups else shape[0]


def scaled(weights: Array, scale: Array, groups: int) -> Array:
    """weights * k per output channel, computed in float64, in the type of the weights. `groups` as of `groups_of`."""
    wide = weights.astype(np.float64)
    if not groups:
        product = wide * scale.reshape(-1, *[1] * (wide.ndim - 1))
    else:
        split = wide.reshape(groups, wide.shape[0] // groups, *wide.shape[1:])
        product = split * scale.reshape(groups, 1, -1, *[1] * (wide.ndim - 2))
    return product.reshape(weights.shape).astype(weights.dtype)


def scaled_constant(model: Model, name: str, value: Lazy, scale: Array, groups: int) -> gs.Constant:
    """`scaled` as a new constant, computed each time it is read if it is large."""
    if prod(value.shape) * 8 <= _COMPUTED_NOW:
        return add_constant(model, name, scaled(value.load(), scale, groups))
    return add_deferred(model, name, value.element_type, value.shape, lambda: scaled(value.load(), scale, groups))
