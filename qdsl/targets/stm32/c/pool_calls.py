"""Calls of the pools of int8."""

from __future__ import annotations

from collections.abc import Callable

from qdsl.integer.interpret_pools import average_scale
from qdsl.integer.records import AveragePool, IntegerGraph, MaxPool
from qdsl.targets.stm32.c.records import Call, Parameters
from qdsl.targets.stm32.c.shapes import bounds, encoding, of
from qdsl.targets.stm32.c.windows import behind, over_rows, seen


def max_pool(op: MaxPool, graph: IntegerGraph) -> Call:
    (source,), out = of(graph, op)
    return Call(
        op,
        "qdsl_maxpool",
        True,
        "qdsl_maxpool_parameters",
        over_rows(op.window, source, out),
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
        *over_rows(op.window, source, out),
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
    return over_plane(op, graph, "global", ("nearest.h",), lambda scale: (("scale", scale),))


def over_plane(
    op: AveragePool, graph: IntegerGraph, kernel: str, files: tuple[str, ...], scaled: Callable[[float], Parameters]
) -> Call:
    """An average of the whole plane; `scaled` are the parameters that requantize its sum by a scale."""
    (source,), out = of(graph, op)
    x, y = encoding(source), encoding(out)
    low, high = bounds(op.low, op.high)
    pixels = source.shape[1] * source.shape[2]
    parameters: Parameters = (
        ("pixels", pixels),
        ("channels", out.shape[3]),
        ("zero", x.zero),
        *scaled(float(average_scale(x, y, pixels))),
        ("out_zero", y.zero),
        ("low", low),
        ("high", high),
    )
    name = f"qdsl_{kernel}"
    return Call(op, name, False, f"{name}_parameters", parameters, (*files, f"{kernel}.h"), behind=(0,))
