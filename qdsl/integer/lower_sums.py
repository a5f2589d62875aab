"""Convolutions and products with a constant matrix, of integers or of floats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from qdsl.graph.view import NodeView
from qdsl.integer.lower_layout import CHANNELS_LAST, Shape, identity
from qdsl.integer.lower_values import Array, At, Const, Of, Packed, Pending, Writing
from qdsl.integer.lower_windows import absorbed, plane, spatial, window_of
from qdsl.integer.lower_work import Work, dequantized
from qdsl.integer.records import Conv, Dense, Encoding, FloatConv, FloatDense, Floats, Requantize, Window

Bias = Const | Packed | None
_INT8 = (-128, 127)
_INT32 = (-(2**31), 2**31 - 1)
_STEPS_APART = 1e-2  # relative: a stored bias in such steps is taken to be in those of the products, as kernels do


@dataclass(frozen=True, slots=True)
class Factor:
    """A constant factor in the order in which it is stored, the output channel first; `scale` is None for floats."""

    values: Array
    scale: Array | None
    bias: Bias


# --- operators -------------------------------------------------------------------------------------------------------


def conv(work: Work, node: NodeView) -> None:
    factor, groups = _kernels(work, node)
    kernel = factor.values.shape[1:3]
    of = dequantized(work.value(node, 0))
    if factor.scale is not None and of is not None:
        at, padded = absorbed(of.at)
        window = window_of(work, node, at.shape, kernel, padded)
        work.give(node, _conv_ints(work, node, replace(of, at=at), factor, window, groups))
        return
    at, padded = absorbed(work.floats(node, 0))
    window = window_of(work, node, at.shape, kernel, padded)
    work.give(node, _conv_floats(work, node, at, factor, window, groups))


def matrix(work: Work, node: NodeView) -> None:
    """MatMul by a constant matrix; Gemm."""
    factor = _matrix(work, node)
    of = dequantized(work.value(node, 0))
    if factor.scale is not None and of is not None:
        work.give(node, _dense_ints(work, node, of, factor))
    else:
        work.give(node, _dense_floats(work, node, work.floats(node, 0), factor))


# --- constants -------------------------------------------------------------------------------------------------------


def _constant(work: Work, node: NodeView, port: int) -> Const | Packed:
    value = work.value(node, port)
    if not isinstance(value, Const | Packed):
        raise work.no(node, "its weight is computed: only constant weights have a kernel here")
    if isinstance(value, Packed) and not _fits(value.integers):
        low, high = int(value.integers.min()), int(value.integers.max())
        raise work.no(node, f"its weights less their zero point span {low} to {high}: int8 does not hold them")
    return value


def _fits(integers: Array) -> bool:
    return not integers.size or bool(integers.min() >= _INT8[0] and integers.max() <= _INT8[1])


def _kernels(work: Work, node: NodeView) -> tuple[Factor, int]:
    value, bias = _constant(work, node, 1), _bias(work, node)
    groups = node.attrs.get("group", 1)
    array = value.array if isinstance(value, Const) else value.integers
    if array.ndim not in (3, 4):
        raise work.no(node, f"its kernels have {array.ndim} axes: only N, C, H, W and N, C, L have kernels here")
    assert isinstance(groups, int)
    array, order = array.reshape(plane(array.shape)), CHANNELS_LAST
    if isinstance(value, Const):
        return Factor(_float32(array.transpose(order)), None, bias), groups
    if value.scale.size > 1 and value.axis != 0:
        raise work.no(node, f"its weights have a scale per place of axis {value.axis}: output channels are axis 0")
    return Factor(_int8(array.transpose(order)), value.scale, bias), groups


def _matrix(work: Work, node: NodeView) -> Factor:
    value, gemm = _constant(work, node, 1), node.op == "Gemm"
    array = value.array if isinstance(value, Const) else value.integers
    if array.ndim != 2:
        raise work.no(node, f"its constant has {array.ndim} axes: only a matrix has a kernel here")
    turned = gemm and bool(node.attrs.get("transB", 0))
    alpha, beta = (node.attrs.get(key, 1.0) if gemm else 1.0 for key in ("alpha", "beta"))
    if gemm and node.attrs.get("transA", 0):
        raise work.no(node, "it transposes its data (transA)")
    if alpha != 1.0 or beta != 1.0:
        raise work.no(node, f"its factors alpha {alpha} and beta {beta} are not 1")
    weight, bias = array if turned else array.T, _bias(work, node) if gemm else None
    if isinstance(value, Const):
        return Factor(_float32(weight), None, bias)
    if value.scale.size > 1 and value.axis != (0 if turned else 1):
        raise work.no(node, "its weights have a scale per row of what is added: only one per output has a kernel here")
    return Factor(_int8(weight), value.scale, bias)


def _bias(work: Work, node: NodeView) -> Bias:
    if not work.has(node, 2):
        return None
    value = work.value(node, 2)
    if not isinstance(value, Const | Packed):
        raise work.no(node, "its bias is computed: only a constant bias has a kernel here")
    return value


def _float32(array: Array) -> Array:
    return np.ascontiguousarray(array, np.float32)


def _int8(array: Array) -> Array:
    return np.ascontiguousarray(array, np.int8)


def is_row(bias: Const | Packed, channels: int) -> bool:
    """Whether a constant is one number per place of the last axis, whatever axes of 1 stand before it."""
    shape = bias.array.shape if isinstance(bias, Const) else bias.integers.shape
    return shape[-1:] == (channels,) and int(np.prod(shape)) == channels


def float_factor(factor: Factor) -> Array:
    """The values of a factor as floats."""
    if factor.scale is None:
        return factor.values
    scale = factor.scale.reshape(-1, *[1] * (factor.values.ndim - 1))
    return _float32(factor.values.astype(np.float32) * scale)


def float_bias(bias: Bias, channels: int) -> Array | None:
    if bias is None:
        return None
    array = bias.array if isinstance(bias, Const) else bias.floats()
    return _float32(np.broadcast_to(array.reshape(-1), (channels,)))


def int_bias(bias: Bias, steps: Array, channels: int) -> Array | None:
    """The bias in `steps` of the products (float32, [1] or [channels]): as stored where it is in such, else rounded."""
    if bias is None:
        return None
    if isinstance(bias, Packed) and np.all(np.abs(bias.scale - steps) <= _STEPS_APART * steps):
        whole = bias.integers.reshape(-1)
    else:
        floats = float_bias(bias, channels)
        assert floats is not None
        counts = np.divide(floats, steps, out=np.zeros_like(floats), where=np.broadcast_to(steps > 0, floats.shape))
        whole = np.clip(np.rint(counts).astype(np.float64), *_INT32).astype(np.int64)
    return np.ascontiguousarray(np.broadcast_to(np.clip(whole, *_INT32), (channels,)), np.int32)


# --- integers --------------------------------------------------------------------------------------------------------


def product_scale(x: float, weight: Array) -> Array:
    return np.asarray(np.float32(x) * weight, np.float32)


def within_int32(work: Work, node: NodeView, weight: Array, bias: Array | None, reach: int) -> Array | None:
    """`bias`, once it is known that no sum of products with integers of at most `reach` passes int32."""
    largest = np.abs(weight.reshape(len(weight), -1).astype(np.int64)).sum(axis=1) * reach
    if bias is not None:
        largest = largest + np.abs(bias.astype(np.int64))
    if largest.size and largest.max() > _INT32[1]:
        raise work.no(node, f"its sums may reach {int(largest.max())}, and int32 ends at {_INT32[1]}")
    return bias


Adding = Callable[[Array | None, Requantize | Floats, Writing, At], None]


def _sums(work: Work, node: NodeView, x: Encoding, factor: Factor, out: At, add: Adding) -> Pending:
    """A pending operator of integer sums. `out` has shape and order of what it writes, `add` adds the operator."""
    assert factor.scale is not None
    steps, channels, shape = product_scale(x.scale, factor.scale), len(factor.values), work.shape(node)
    reach = max(_INT8[1] - x.zero, x.zero - _INT8[0])

    def ints(encoding: Encoding, writing: Writing) -> At:
        scale = np.asarray(steps / np.float32(encoding.scale), np.float32)
        made = work.graph.tensor(writing.name, out.shape, out.axes, "int8", encoding)
        to = Requantize(scale, int(writing.low), int(writing.high))
        add(within_int32(work, node, factor.values, int_bias(factor.bias, steps, channels), reach), to, writing, made)
        return work.graph.reshaped(made, shape, node.name)

    def floats(writing: Writing) -> At:
        made = work.graph.tensor(writing.name, out.shape, out.axes)
        stored = isinstance(factor.bias, Packed)
        bias = None if stored else float_bias(factor.bias, channels)
        to = Floats(steps, bias, writing.low, writing.high)
        whole = int_bias(factor.bias, steps, channels) if stored else None
        add(within_int32(work, node, factor.values, whole, reach), to, writing, made)
        return work.graph.reshaped(made, shape, node.name)

    def biased(bias: Const | Packed) -> Pending | None:
        fits = factor.bias is None and is_row(bias, channels)
        return _sums(work, node, x, replace(factor, bias=bias), out, add) if fits else None

    return Pending(node.name, shape, ints, floats, biased=biased)


def _conv_ints(work: Work, node: NodeView, of: Of, factor: Factor, window: Window, groups: int) -> Pending:
    at = spatial(work, of.at, node)

    def add(bias: Array | None, to: Requantize | Floats, writing: Writing, made: At) -> None:
        op = Conv(node.name, (at.name,), made.name, factor.values, bias, window, to, groups, fused=writing.fused)
        work.graph.add(op)

    out = At("", plane(work.shape(node)), CHANNELS_LAST)
    return replace(_sums(work, node, of.encoding, factor, out, add), biased=None)


def _dense_ints(work: Work, node: NodeView, of: Of, factor: Factor) -> Pending:
    at, weight = rows(work, node, of.at, factor.values)

    def add(bias: Array | None, to: Requantize | Floats, writing: Writing, made: At) -> None:
        work.graph.add(Dense(node.name, (at.name,), made.name, weight, bias, to, fused=writing.fused))

    return _sums(work, node, of.encoding, factor, _out(work, node), add)


def _out(work: Work, node: NodeView) -> At:
    shape = work.shape(node)
    return At("", shape, identity(len(shape)))


def rows(work: Work, node: NodeView, at: At, weight: Array) -> tuple[At, Array]:
    """Data whose last axis is multiplied, and the matrix for it. Data that lies otherwise than in ONNX's order stays as
    it is: the columns of the matrix follow."""
    inner = at.within
    if inner is None or at.shape[-1] != int(np.prod(at.shape)):
        return work.graph.laid(at, identity(len(at.shape)), node.name), weight
    inner = work.graph.ready(inner, node.name)
    places = np.arange(at.shape[-1]).reshape(inner.shape).transpose(inner.axes).reshape(-1)
    lying = At(inner.name, inner.stored, identity(len(inner.shape)))
    return work.graph.reshaped(lying, at.shape, node.name), np.ascontiguousarray(weight[:, places])


# --- floats ----------------------------------------------------------------------------------------------------------


def _conv_floats(work: Work, node: NodeView, at: At, factor: Factor, window: Window, groups: int) -> Pending:
    at = spatial(work, at, node)
    weight, shape = float_factor(factor), work.shape(node)
    bias = float_bias(factor.bias, len(weight))

    def floats(writing: Writing) -> At:
        made = work.graph.tensor(writing.name, plane(shape), CHANNELS_LAST)
        ends = (writing.low, writing.high)
        op = FloatConv(node.name, (at.name,), made.name, weight, bias, window, groups, *ends, fused=writing.fused)
        work.graph.add(op)
        return work.graph.reshaped(made, shape, node.name)

    return Pending(node.name, shape, None, floats)


def _dense_floats(work: Work, node: NodeView, at: At, factor: Factor) -> Pending:
    at, weight = rows(work, node, at, float_factor(factor))
    return _float_rows(work, node, at, weight, factor.bias, work.shape(node))


def _float_rows(work: Work, node: NodeView, at: At, weight: Array, bias: Bias, shape: Shape) -> Pending:
    def floats(writing: Writing) -> At:
        made = work.graph.tensor(writing.name, shape, identity(len(shape)))
        added = float_bias(bias, len(weight))
        ends = (writing.low, writing.high)
        work.graph.add(FloatDense(node.name, (at.name,), made.name, weight, added, *ends, fused=writing.fused))
        return made

    def biased(more: Const | Packed) -> Pending | None:
        fits = bias is None and is_row(more, len(weight))
        return _float_rows(work, node, at, weight, more, shape) if fits else None

    return Pending(node.name, shape, None, floats, biased=biased)
