"""Values that are quantized while the graph runs: DynamicQuantizeLinear, what multiplies its integers, and the floats
that are made of their sums."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from qdsl.graph.view import NodeView
from qdsl.integer.lower_layout import CHANNELS_LAST, Shape, identity
from qdsl.integer.lower_sums import float_bias, rows, within_int32
from qdsl.integer.lower_values import Array, At, Const, Packed, Pending, RunInts, RunScale, RunSums, RunZero, Writing
from qdsl.integer.lower_windows import plane, spatial, window_of
from qdsl.integer.lower_work import Work
from qdsl.integer.records import Conv, Dense, DynamicQuantize, Floats

_INT32 = 6  # TensorProto.INT32
_FLOAT = 1
_INT8, _UINT8 = 3, 2
_UINT8_MOST = 255

Adding = Callable[[Floats, Writing], At]


def measure(work: Work, node: NodeView) -> None:
    """DynamicQuantizeLinear."""
    at = work.graph.ready(work.floats(node, 0), node.name)
    made = work.graph.tensor(node.outputs[0], at.shape, at.axes, "uint8")
    found = work.graph.tensor(work.graph.spare(f"{node.outputs[0]}_encoding"), (2,), identity(1))
    work.graph.add(DynamicQuantize(node.name, (at.name,), made.name, encoding=found.name))
    work.measured[found.name] = (node.inputs[0], made)
    values = (RunInts(made, found.name), RunScale(found.name, np.ones((), np.float32)), RunZero(found.name))
    work.values.update(zip(node.outputs, values, strict=False))


def cast(work: Work, node: NodeView) -> None:
    """Of sums to floats; of a zero point that another type is made of."""
    value, to = work.value(node, 0), node.attrs.get("to")
    if isinstance(value, RunSums) and to == _FLOAT:
        work.give(node, replace(value, cast=True))
    elif isinstance(value, RunZero) and to in (_INT32, _INT8, _UINT8):
        work.give(node, value)
    elif work.view.tensors[node.inputs[0]].dtype == "float32" and to == _FLOAT:
        work.values[node.outputs[0]] = value
    else:
        raise work.no(node, "only casts of sums and zero points that are found at run time have a form here")


def arithmetic(work: Work, node: NodeView) -> bool:
    """A Mul, Sub or Add of what is found at run time; False for one of other values."""
    one, other = (work.value(node, port) for port in (0, 1))
    if isinstance(one, RunZero) and node.op == "Sub" and isinstance(other, Const) and other.array.size == 1:
        work.give(node, replace(one, less=one.less + int(other.array.reshape(-1)[0])))
        return True
    if node.op != "Mul":
        return False
    for first, second in ((one, other), (other, one)):
        if isinstance(first, RunScale) and isinstance(second, Const):
            work.give(node, RunScale(first.encoding, np.asarray(first.factor * second.array, np.float32)))
            return True
        if isinstance(first, RunSums) and isinstance(second, RunScale):
            if not first.cast or first.encoding != second.encoding:
                raise work.no(node, "these sums and this scale are not of one DynamicQuantizeLinear")
            work.give(node, first.made(second.factor))
            return True
    return False


def _weight(work: Work, node: NodeView) -> Array:
    """The constant factor less its zero point."""
    value = work.value(node, 1)
    if not isinstance(value, Const):
        raise work.no(node, "its weight is computed: only constant weights have a kernel here")
    zero = work.constant(node, 3)
    integers = value.array.astype(np.int64)
    if zero is not None and zero.size > 1:
        axis = 0 if node.op == "ConvInteger" else integers.ndim - 1
        shape = [1] * integers.ndim
        shape[axis] = -1
        zero = zero.reshape(shape)
    integers = integers - (0 if zero is None else zero.astype(np.int64))
    if integers.size and (integers.min() < -128 or integers.max() > 127):
        span = f"{int(integers.min())} to {int(integers.max())}"
        raise work.no(node, f"its weights less their zero point span {span}: int8 does not hold them")
    return integers


def _data(work: Work, node: NodeView) -> RunInts:
    value = work.value(node, 0)
    zero = work.value(node, 2) if work.has(node, 2) else None
    if not isinstance(value, RunInts) or not isinstance(zero, RunZero) or zero.encoding != value.encoding:
        raise work.no(node, "its data is not what a DynamicQuantizeLinear writes, with the zero point of the same")
    return value


def _channels(factor: Array, shape: tuple[int, ...], axis: int) -> Array | None:
    """A factor or summand as [1] or one per output channel along `axis`; None where it is neither."""
    if factor.size == 1:
        return factor.reshape(1)
    grown = factor.reshape((1,) * (len(shape) - factor.ndim) + factor.shape) if factor.ndim <= len(shape) else factor
    return factor.reshape(-1) if grown.shape[axis] == factor.size == shape[axis] else None


def conv_integer(work: Work, node: NodeView) -> None:
    value, weight, shape = _data(work, node), _weight(work, node), work.shape(node)
    if weight.ndim not in (3, 4):
        raise work.no(node, f"its kernels have {weight.ndim} axes: only N, C, H, W and N, C, L have kernels here")
    weight = weight.reshape(plane(weight.shape))
    at = spatial(work, value.at, node)
    window = window_of(work, node, at.shape, weight.shape[2:])
    kernels = np.ascontiguousarray(weight.transpose(CHANNELS_LAST), np.int8)
    within_int32(work, node, kernels, None, _UINT8_MOST)
    groups = node.attrs.get("group", 1)
    assert isinstance(groups, int)

    def add(to: Floats, writing: Writing) -> At:
        made = work.graph.tensor(writing.name, plane(shape), CHANNELS_LAST)
        inputs = (at.name, value.encoding)
        work.graph.add(Conv(node.name, inputs, made.name, kernels, None, window, to, groups, fused=writing.fused))
        return work.graph.reshaped(made, shape, node.name)

    work.give(node, _summed(work, node, value.encoding, shape, 1, add))


def matmul_integer(work: Work, node: NodeView) -> None:
    value, weight, shape = _data(work, node), _weight(work, node), work.shape(node)
    if weight.ndim != 2:
        raise work.no(node, f"its constant has {weight.ndim} axes: only a matrix has a kernel here")
    within_int32(work, node, weight.T, None, _UINT8_MOST)
    at, matrix = rows(work, node, value.at, np.ascontiguousarray(weight.T, np.int8))

    def add(to: Floats, writing: Writing) -> At:
        made = work.graph.tensor(writing.name, shape, identity(len(shape)))
        work.graph.add(Dense(node.name, (at.name, value.encoding), made.name, matrix, None, to, fused=writing.fused))
        return made

    work.give(node, _summed(work, node, value.encoding, shape, len(shape) - 1, add))


def _summed(work: Work, node: NodeView, encoding: str, shape: Shape, axis: int, add: Adding) -> RunSums:
    """Sums that `add` writes as floats, per output channel along `axis`."""

    def made(factor: Array) -> Pending:
        scale = _channels(factor, shape, axis)
        if scale is None:
            raise work.no(node, "its sums are scaled otherwise than per output channel")
        return scaled(scale, None)

    def scaled(scale: Array, bias: Const | Packed | None) -> Pending:
        def floats(writing: Writing) -> At:
            summand = float_bias(bias, shape[axis])
            return add(Floats(scale, summand, writing.low, writing.high), writing)

        def biased(more: Const | Packed) -> Pending | None:
            array = more.array if isinstance(more, Const) else more.floats()
            fits = bias is None and _channels(array, shape, axis) is not None
            return scaled(scale, more) if fits else None

        return Pending(node.name, shape, None, floats, biased=biased)

    return RunSums(shape, encoding, made)
