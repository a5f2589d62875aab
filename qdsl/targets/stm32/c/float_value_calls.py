"""Calls of the kernels that compute values of float32: two tensors in one, functions, pools, softmax."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf

from qdsl.integer.records import AveragePool, Binary, IntegerGraph, MaxPool, Softmax, Tensor, Unary, Window
from qdsl.targets.stm32.c.records import Call
from qdsl.targets.stm32.c.shapes import elements, of, row_elements
from qdsl.targets.stm32.c.value_calls import strides
from qdsl.targets.stm32.c.windows import behind, over_rows, seen

Numbers = tuple[float, float]

LINES = ("nearest.h", "floats.h", "float_unary.h", "float_lines.h")
CURVES = ("nearest.h", "floats.h", "float_unary.h", "float_curves.h")
POWERS = ("floats.h", "float_exp.h", "float_unary.h", "float_powers.h")
WAVES = ("floats.h", "float_unary.h", "float_waves.h")

# The kernel sources of each function of `qdsl.integer.functions.FUNCTIONS`.
FILES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("Identity", "Abs", "Neg", "Ceil", "Floor", "Round", "Sign", "Sqrt", "Reciprocal"), LINES),
    **dict.fromkeys(("Relu", "Clip", "LeakyRelu", "ThresholdedRelu", "HardSigmoid", "HardSwish", "Softsign"), LINES),
    **dict.fromkeys(("Sigmoid", "Tanh", "Erf", "Gelu", "GeluTanh", "Swish"), CURVES),
    **dict.fromkeys(("Exp", "Log", "Softplus", "Mish", "Elu", "Selu", "Celu"), POWERS),
    **dict.fromkeys(("Sin", "Cos"), WAVES),
}

# What their kernels call a and b.
NUMBERS: Mapping[str, Callable[[Mapping[str, float]], Numbers]] = {
    "Clip": lambda given: (given.get("min", -inf), given.get("max", inf)),
    "LeakyRelu": lambda given: (given.get("alpha", 0.01), 0.0),
    "ThresholdedRelu": lambda given: (given.get("alpha", 1.0), 0.0),
    "HardSigmoid": lambda given: (given.get("alpha", 0.2), given.get("beta", 0.5)),
    "HardSwish": lambda given: (1 / 6, 0.5),
    "Swish": lambda given: (given.get("alpha", 1.0), 0.0),
    "Elu": lambda given: (given.get("alpha", 1.0), 0.0),
    "Selu": lambda given: (given.get("alpha", 1.67326319), given.get("gamma", 1.05070102)),
    "Celu": lambda given: (given.get("alpha", 1.0), 0.0),
}


def function_of(op: Unary) -> tuple[str, Numbers, tuple[str, ...]]:
    """The C function of an operator, its numbers a and b, and its sources. Raises ValueError where it has none."""
    if op.function not in FILES:
        raise ValueError(f"no kernel computes {op.function} of floats ({op.node})")
    a, b = NUMBERS[op.function](op.attributes) if op.function in NUMBERS else (0.0, 0.0)
    return f"qdsl_unary_{op.function.lower()}", (float(a), float(b)), FILES[op.function]


def unary(op: Unary, graph: IntegerGraph) -> Call:
    _, out = of(graph, op)
    kernel, (a, b), files = function_of(op)
    parameters = (("count", row_elements(out)), ("a", a), ("b", b))
    return Call(op, kernel, True, "qdsl_unary_parameters", parameters, files, behind=(0,))


def float_binary(op: Binary, graph: IntegerGraph) -> Call:
    """By rows. Raises ValueError where tensors broadcast as no row kernel does."""
    sources, out = of(graph, op)
    in_place = tuple(
        0 if source.shape == out.shape and name not in graph.constants else None
        for name, source in zip(op.inputs, sources, strict=True)
    )
    parameters = (*strides(sources, out), ("low", float(op.low)), ("high", float(op.high)))
    kernel = f"qdsl_float_{op.kind}"
    files = ("floats.h", "float_binary.h")
    return Call(op, kernel, True, "qdsl_float_binary_parameters", parameters, files, behind=in_place)


def float_softmax(op: Softmax, graph: IntegerGraph) -> Call:
    _, out = of(graph, op)
    length = out.shape[-1]
    parameters = (("outer", elements(out) // length), ("length", length))
    files = ("floats.h", "float_exp.h", "float_softmax.h")
    return Call(op, "qdsl_float_softmax", False, "qdsl_float_softmax_parameters", parameters, files, behind=(0,))


def float_max_pool(op: MaxPool, graph: IntegerGraph) -> Call:
    (source,), out = of(graph, op)
    return _pool(op, "qdsl_float_maxpool", op.window, (source, out), 0, (-inf, inf))


def float_average_pool(op: AveragePool, graph: IntegerGraph) -> Call:
    (source,), out = of(graph, op)
    if op.window is None:
        parameters = (
            ("pixels", source.shape[1] * source.shape[2]),
            ("channels", out.shape[3]),
            ("low", float(op.low)),
            ("high", float(op.high)),
        )
        files = ("floats.h", "float_global.h")
        return Call(op, "qdsl_float_global", False, "qdsl_float_global_parameters", parameters, files, behind=(0,))
    counted = op.window.kernel[0] * op.window.kernel[1] if op.counts_pads else 0
    return _pool(op, "qdsl_float_average", op.window, (source, out), counted, (op.low, op.high))


def _pool(
    op: MaxPool | AveragePool,
    kernel: str,
    window: Window,
    tensors: tuple[Tensor, Tensor],
    counted: int,
    bounds: Numbers,
) -> Call:
    source, out = tensors
    parameters = (
        *over_rows(window, source, out),
        ("counted", counted),
        ("low", float(bounds[0])),
        ("high", float(bounds[1])),
    )
    return Call(
        op,
        kernel,
        True,
        "qdsl_float_pool_parameters",
        parameters,
        ("floats.h", "float_pools.h"),
        window=seen(window),
        behind=(behind(window, source, out),),
    )
