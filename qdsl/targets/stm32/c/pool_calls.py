"""Calls of the pools of int8."""

from __future__ import annotations

from qdsl.integer.interpret_pools import average_scale
from qdsl.integer.records import AveragePool, Encoding, IntegerGraph, MaxPool, Tensor, Window
from qdsl.targets.stm32.c.records import Call
from qdsl.targets.stm32.c.shapes import of, rows_of


def encoding(tensor: Tensor) -> Encoding:
    """Raises ValueError for a tensor without one."""
    if tensor.encoding is None:
        raise ValueError(f"{tensor.name} has no scale and zero point")
    return tensor.encoding


def bounds(low: float, high: float) -> tuple[int, int]:
    """What an int8 is clipped to."""
    return int(max(low, -128)), int(min(high, 127))


def seen(window: Window) -> tuple[int, int, int, int]:
    """Rows reached, stride, dilation, rows of padding above: `Call.window`."""
    return window.kernel[0], window.strides[0], window.dilations[0], window.pads[0]


def behind(window: Window, source: Tensor, out: Tensor) -> int:
    """How far before its input the output of a pool begins at least: whatever row y of the output overwrites, no row
    from y on reaches."""
    rows, taken = rows_of(source)[1], rows_of(out)
    first = [max(0, y * window.strides[0] - window.pads[0]) for y in range(taken[0])]
    return max(0, *((y + 1) * taken[1] - top * rows for y, top in enumerate(first)))


def columns(window: Window, source: Tensor, out: Tensor) -> tuple[tuple[str, int], ...]:
    """How a pool goes over a row, as its parameters have it."""
    return (
        ("width", source.shape[2]),
        ("out_width", out.shape[2]),
        ("channels", out.shape[3]),
        ("reach", window.kernel[0]),
        ("kernel", window.kernel[1]),
        ("stride", window.strides[1]),
        ("step", window.dilations[1]),
        ("left", window.pads[1]),
    )


def max_pool(op: MaxPool, graph: IntegerGraph) -> Call:
    (source,), out = of(graph, op)
    return Call(
        op,
        "qdsl_maxpool",
        True,
        "qdsl_maxpool_parameters",
        columns(op.window, source, out),
        ("maxpool.h",),
        window=seen(op.window),
        behind=(behind(op.window, source, out),),
    )


def average_pool(op: AveragePool, graph: IntegerGraph) -> Call:
    if op.window is None:
        return global_average(op, graph)
    (source,), out = of(graph, op)
    x, y = encoding(source), encoding(out)
    low, high = bounds(op.low, op.high)
    parameters = (
        *columns(op.window, source, out),
        ("counted", op.window.kernel[0] * op.window.kernel[1] if op.counts_pads else 0),
        ("zero", x.zero),
        ("scale", float(x.scale)),
        ("out_scale", float(y.scale)),
        ("out_zero", float(y.zero)),
        ("low", low),
        ("high", high),
    )
    return Call(
        op,
        "qdsl_average",
        True,
        "qdsl_average_parameters",
        parameters,
        ("nearest.h", "average.h"),
        window=seen(op.window),
        behind=(behind(op.window, source, out),),
    )


def global_average(op: AveragePool, graph: IntegerGraph) -> Call:
    (source,), out = of(graph, op)
    x, y = encoding(source), encoding(out)
    low, high = bounds(op.low, op.high)
    pixels = source.shape[1] * source.shape[2]
    parameters = (
        ("pixels", pixels),
        ("channels", out.shape[3]),
        ("zero", x.zero),
        ("scale", float(average_scale(x, y, pixels))),
        ("out_zero", y.zero),
        ("low", low),
        ("high", high),
    )
    files = ("nearest.h", "global.h")
    return Call(op, "qdsl_global", False, "qdsl_global_parameters", parameters, files, behind=(0,))
