"""Pools, means over planes, and Softmax."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import cast

import numpy as np

from qdsl.graph.view import NodeView
from qdsl.integer.lower_layout import CHANNELS_LAST, Axes, Shape, transposed
from qdsl.integer.lower_values import At, Floats, Ints, Of, Pending, RunInts, Value, Writing
from qdsl.integer.lower_windows import absorbed, plane, spatial, window_of
from qdsl.integer.lower_work import Work, dequantized, put
from qdsl.integer.records import AveragePool, Encoding, MaxPool, Op, Softmax, Window


def max_pool(work: Work, node: NodeView) -> None:
    if len(node.outputs) > 1 and node.outputs[1]:
        raise work.no(node, "its second output, the places of the largest, has no kernel here")
    value = _lying(work, node)
    at = spatial(work, value.at, node)
    window = _whole(at) if node.op == "GlobalMaxPool" else _fitted(work, node, at)
    made = work.graph.like(At(at.name, plane(work.shape(node)), CHANNELS_LAST), node.outputs[0])
    work.graph.add(MaxPool(node.name, (at.name,), made.name, window))
    work.give(node, put(value, work.graph.reshaped(made, work.shape(node), node.name)))


def _lying(work: Work, node: NodeView) -> Ints | Of | Floats | RunInts:
    """What is pooled by comparing: integers as they are where they stand for their values in one way."""
    value: Value = work.moved(node)
    if isinstance(value, Of) and value.steps:
        value = Floats(work.floats(node, 0))
    if not isinstance(value, Ints | Of | Floats | RunInts):
        raise work.no(node, "what it reads is constant, or no tensor of 8-bit integers or floats")
    return value


def _whole(at: At) -> Window:
    return Window((at.shape[2], at.shape[3]))


def _fitted(work: Work, node: NodeView, at: At, padded: tuple[int, int, int, int] = (0, 0, 0, 0)) -> Window:
    """The window of a pool, its pads at bottom and right as many as the size that it writes takes (ceil_mode)."""
    kernel = cast("tuple[int, ...]", node.attrs.get("kernel_shape"))
    window = window_of(work, node, at.shape, kernel, padded)
    shape, pads = plane(work.shape(node)), list(window.pads)
    for axis in (0, 1):
        if (shape[2 + axis] - 1) * window.strides[axis] >= at.shape[2 + axis] + pads[axis]:
            raise work.no(node, "its last window lies in the padding alone (ceil_mode): not every runtime counts it")
        reach = (window.kernel[axis] - 1) * window.dilations[axis] + 1
        needs = (shape[2 + axis] - 1) * window.strides[axis] + reach
        pads[2 + axis] = max(pads[2 + axis], needs - at.shape[2 + axis] - pads[axis])
    return replace(window, pads=(pads[0], pads[1], pads[2], pads[3]))


def average_pool(work: Work, node: NodeView) -> None:
    of, counts = dequantized(work.value(node, 0)), bool(node.attrs.get("count_include_pad", 0))
    at = of.at if of is not None else work.floats(node, 0)
    kernel = node.attrs.get("kernel_shape")
    padded = (0, 0, 0, 0)
    if counts or not any(cast("tuple[int, ...]", node.attrs.get("pads") or (0,))):
        at, padded = absorbed(at)
    told = window_of(work, node, at.shape, cast("tuple[int, ...]", kernel), padded)
    at = spatial(work, at, node)
    if _fitted(work, node, at, padded) != told:
        raise work.no(node, "its windows reach beyond the padding (ceil_mode)")
    everywhere = told.kernel == at.shape[2:] and not any(told.pads)
    _averaged(work, node, at, of, None if everywhere else told, counts or any(padded))


def global_average(work: Work, node: NodeView) -> None:
    of = dequantized(work.value(node, 0))
    at = spatial(work, of.at if of is not None else work.floats(node, 0), node)
    _averaged(work, node, at, of, None, False)


def mean(work: Work, node: NodeView) -> None:
    """ReduceMean over all but the channels: GlobalAveragePool, under the shape that it writes."""
    of = dequantized(work.value(node, 0))
    at = of.at if of is not None else work.floats(node, 0)
    axes = work.constant(node, 1)
    told = tuple(axes.tolist()) if axes is not None else cast(Axes, node.attrs.get("axes") or ())
    over = sorted(axis % len(at.shape) for axis in told)
    kept = [axis for axis in range(len(at.shape)) if axis not in over]
    if not over or len([axis for axis in kept if at.shape[axis] > 1]) > 1:
        raise work.no(node, "only the mean over all but one axis, as over H and W of N, C, H, W, has a kernel here")
    at = work.graph.ready(at, node.name)
    turned = At(at.name, tuple(at.shape[axis] for axis in (*kept, *over)), transposed(at.axes, (*kept, *over)))
    channels, sizes = prod(at.shape[axis] for axis in kept), [at.shape[axis] for axis in over]
    rows = (1, channels, *sizes) if len(sizes) == 2 else (1, channels, 1, prod(sizes))
    _averaged(work, node, spatial(work, work.graph.reshaped(turned, rows, node.name), node), of, None, False)


def _averaged(work: Work, node: NodeView, at: At, of: Of | None, window: Window | None, counts: bool) -> None:
    """Pending: with what it reads as integers, or as floats."""
    shape = work.shape(node)
    whole: Shape = (1, at.shape[1], 1, 1) if window is None else plane(shape)

    def ints(encoding: Encoding, writing: Writing) -> At:
        return pooled(at, "int8", writing, encoding)

    def floats(writing: Writing) -> At:
        source = at if of is None else work.as_floats(node, replace(of, at=at), node.inputs[0])
        return pooled(source, "float32", writing, None)

    def pooled(source: At, dtype: str, writing: Writing, encoding: Encoding | None) -> At:
        name = writing.name if whole == shape else work.graph.spare(f"{writing.name}_plane")
        made = work.graph.tensor(name, whole, CHANNELS_LAST, dtype, encoding)  # type: ignore[arg-type]
        ends = (writing.low, writing.high)
        work.graph.add(AveragePool(node.name, (source.name,), made.name, window, counts, *ends, fused=writing.fused))
        return work.graph.reshaped(made, shape, node.name)

    work.give(node, Pending(node.name, shape, None if of is None else ints, floats))


def softmax(work: Work, node: NodeView) -> None:
    shape, axis = work.shape(node), _softmax_axis(work, node)
    of = dequantized(work.value(node, 0))

    def over(source: At, dtype: str, writing: Writing, encoding: Encoding | None) -> At:
        at = work.graph.ready(source, node.name)
        axes = at.axes if at.axes[-1] == axis else (*(each for each in at.axes if each != axis), axis)
        at = work.graph.laid(at, axes, node.name)
        made = work.graph.tensor(writing.name, shape, axes, dtype, encoding)  # type: ignore[arg-type]
        op: Op = Softmax(node.name, (at.name,), made.name, fused=writing.fused)
        work.graph.add(op)
        return made

    def ints(encoding: Encoding, writing: Writing) -> At:
        assert of is not None
        return over(of.at, "int8", writing, encoding)

    def floats(writing: Writing) -> At:
        return over(work.floats(node, 0), "float32", writing, None)

    work.give(node, Pending(node.name, shape, None if of is None else ints, floats, cuts=(False, False)))


def _softmax_axis(work: Work, node: NodeView) -> int:
    """The one axis that a Softmax goes along. Before opset 13 it goes along all from its axis on, together."""
    shape = work.shape(node)
    later = work.view.opset >= 13
    told = node.attrs.get("axis", -1 if later else 1)
    assert isinstance(told, int)
    axis = told % len(shape)
    if later or int(np.prod(shape[axis:])) == shape[axis]:
        return axis
    if shape[axis] == 1 and int(np.prod(shape[axis:])) == shape[-1]:
        return len(shape) - 1
    raise work.no(node, "it goes along several axes at once: only along one has a kernel here")
