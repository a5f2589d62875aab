"""Calls of the kernels that round in fixed point instead of float32 (`rounding tflite`). Differences and quotients have
none: they are computed in float32 by either rule, and so are tables and softmax."""

from __future__ import annotations

import numpy as np

from qdsl.integer.fixed_point import LEFT
from qdsl.integer.interpret_pools import average_scale
from qdsl.integer.records import AveragePool, Binary, IntegerGraph
from qdsl.integer.rounding import multiplier
from qdsl.targets.stm32.c.pool_calls import over_plane
from qdsl.targets.stm32.c.records import Call, Constant, Parameters
from qdsl.targets.stm32.c.shapes import bounds, encoding, of
from qdsl.targets.stm32.c.value_calls import binary, in_place, strides
from qdsl.targets.stm32.c.windows import behind, over_rows, seen

F32 = np.float32


def fixed_binary(op: Binary, graph: IntegerGraph) -> Call:
    if op.kind not in ("add", "mul"):
        return binary(op, graph)
    sources, out = of(graph, op)
    x, y, z = encoding(sources[0]), encoding(sources[1]), encoding(out)
    twice = 2.0 * max(x.scale, y.scale)
    ones = [multiplier(its.scale / twice) for its in (x, y)] if op.kind == "add" else [(0, 0), (0, 0)]
    product = float(F32(x.scale) * F32(y.scale) / F32(z.scale))
    last = multiplier(twice / (2.0**LEFT * z.scale) if op.kind == "add" else product)
    low, high = bounds(op.low, op.high)
    parameters = (
        *strides(sources, out),
        ("a_zero", x.zero),
        ("b_zero", y.zero),
        ("out_zero", z.zero),
        ("a_multiplier", ones[0][0]),
        ("a_shift", ones[0][1]),
        ("b_multiplier", ones[1][0]),
        ("b_shift", ones[1][1]),
        ("multiplier", last[0]),
        ("shift", last[1]),
        ("low", low),
        ("high", high),
    )
    return Call(
        op,
        f"qdsl_{op.kind}_fixed",
        True,
        "qdsl_binary_fixed_parameters",
        parameters,
        ("fixed.h", "binary_fixed.h", f"{op.kind}_fixed.h"),
        behind=in_place(op, graph),
    )


def fixed_average(op: AveragePool, graph: IntegerGraph) -> Call:
    (source,), out = of(graph, op)
    if op.window is None:
        return over_plane(op, graph, "global_fixed", ("fixed.h",), _multiplied)
    x, y = encoding(source), encoding(out)
    low, high = bounds(op.low, op.high)
    places = op.window.kernel[0] * op.window.kernel[1]
    scales = [multiplier(float(average_scale(x, y, count))) for count in range(1, places + 1)]
    parameters: tuple[tuple[str, int | Constant], ...] = (
        *over_rows(op.window, source, out),
        ("counted", places if op.counts_pads else 0),
        ("scale", Constant("int32_t", np.array(scales, np.int32))),
        ("zero", x.zero),
        ("out_zero", y.zero),
        ("low", low),
        ("high", high),
    )
    return Call(
        op,
        "qdsl_average_fixed",
        True,
        "qdsl_average_fixed_parameters",
        parameters,
        ("fixed.h", "average_fixed.h"),
        window=seen(op.window),
        behind=(behind(op.window, source, out),),
    )


def _multiplied(scale: float) -> Parameters:
    factor, shift = multiplier(scale)
    return (("multiplier", factor), ("shift", shift))
