"""Which kernel computes an operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

from qdsl.integer import records
from qdsl.integer.records import IntegerGraph, Op
from qdsl.targets.stm32.c import (
    cmsis_calls,
    conv_calls,
    dynamic_calls,
    fixed_calls,
    float_calls,
    float_value_calls,
    move_calls,
    pool_calls,
    value_calls,
)
from qdsl.targets.stm32.c.float_sum_calls import to_floats
from qdsl.targets.stm32.c.records import Call, Wish
from qdsl.targets.stm32.c.shapes import rows_of

_HEIGHT, _WINDOW = 0xFFFF, 0xFF  # what struct qdsl_rows and struct qdsl_stage hold

Caller = Callable[[Any, IntegerGraph], Call]

# Of int8, and of what is no arithmetic.
CALLERS: Mapping[type[Op], Caller] = {
    records.Binary: value_calls.binary,
    records.Table: value_calls.table,
    records.Softmax: value_calls.softmax,
    records.Quantize: value_calls.quantize,
    records.Dequantize: value_calls.dequantize,
    records.MaxPool: pool_calls.max_pool,
    records.AveragePool: pool_calls.average_pool,
    records.Concat: move_calls.concat,
    records.Resize: move_calls.resize,
    records.Pad: move_calls.pad,
    records.Reshape: move_calls.reshape,
    records.Transpose: move_calls.transpose,
    records.Slice: move_calls.slices,
    records.DynamicQuantize: dynamic_calls.dynamic_quantize,
}

# Of float32, where these are not of int8.
FLOAT_CALLERS: Mapping[type[Op], Caller] = {
    records.FloatConv: float_calls.float_conv,
    records.FloatDense: float_calls.float_dense,
    records.Binary: float_value_calls.float_binary,
    records.Unary: float_value_calls.unary,
    records.Softmax: float_value_calls.float_softmax,
    records.MaxPool: float_value_calls.float_max_pool,
    records.AveragePool: float_value_calls.float_average_pool,
}

# With `rounding tflite`.
FIXED: Mapping[type[Op], Caller] = {
    records.Binary: fixed_calls.fixed_binary,
    records.AveragePool: fixed_calls.fixed_average,
}


def call_of(op: Op, graph: IntegerGraph, wish: Wish) -> Call:
    """Raises ValueError for an operator that no kernel computes, or whose rows are more than the tables of C hold."""
    call = _call_of(op, graph, wish)
    heights = [rows_of(graph.tensors[name])[0] for name in (*op.inputs, op.output)]
    if call.rows and (max(heights) > _HEIGHT or max(call.window[:3]) > _WINDOW):
        raise ValueError(f"{op.node}: {max(heights)} rows, or a window of {call.window[0]}, are too many")
    return call


def _call_of(op: Op, graph: IntegerGraph, wish: Wish) -> Call:
    if isinstance(op, dynamic_calls.Twice):
        return dynamic_calls.twice(op, graph, wish)
    if isinstance(op, records.Conv | records.Dense) and len(op.inputs) == 2:
        return dynamic_calls.dynamic_products(op, graph, wish)
    if isinstance(op, records.Conv | records.Dense) and isinstance(op.to, records.Floats) and len(op.inputs) == 1:
        return to_floats(op, op.to, graph)
    if isinstance(op, records.Conv | records.Dense) and wish.kernels == "cmsis_nn":
        found = cmsis_calls.cmsis_call(op, graph)
        if found is not None:
            return found
    if isinstance(op, records.Conv):
        return conv_calls.conv_call(op, graph, wish)
    if isinstance(op, records.Dense):
        return conv_calls.dense_call(op, graph, wish)
    caller = _caller(op, graph, wish)
    if caller is None:
        raise ValueError(f"no kernel computes {type(op).__name__} ({op.node})")
    return caller(op, graph)


def _caller(op: Op, graph: IntegerGraph, wish: Wish) -> Caller | None:
    of_floats = graph.tensors[op.output].dtype == "float32" and type(op) in FLOAT_CALLERS
    if of_floats:
        return FLOAT_CALLERS[type(op)]
    fixed = FIXED.get(type(op)) if wish.rounding == "tflite" else None
    return fixed or CALLERS.get(type(op))


def products(op: Op, graph: IntegerGraph) -> int:
    """Multiply-accumulates of an operator: those of convolutions and matrices, biases not counted. A layer that runs
    twice has no more of them than one that does not."""
    if isinstance(op, dynamic_calls.Twice):
        return products(op.of, graph)
    if isinstance(op, records.Conv | records.FloatConv | records.Dense | records.FloatDense):
        return prod(graph.tensors[op.output].shape) * prod(op.weight.shape[1:])
    return 0
