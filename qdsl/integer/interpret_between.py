"""What is between convolutions: two tensors in one, joins, tables, softmax, and ways in and out of integers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.integer import fixed_point
from qdsl.integer import rounding as exact
from qdsl.integer.functions import apply
from qdsl.integer.records import Binary, Concat, Dequantize, DynamicQuantize, Encoding, Quantize, Softmax, Table, Unary
from qdsl.integer.tables import requantizing_table, softmax_exps
from qdsl.integer.values import Values

Array = NDArray[Any]
F32 = np.float32

FLOATS = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}


def binary(op: Binary, values: Values) -> Array:
    a, b = (values.arrays[name] for name in op.inputs)
    if not values.quantized(op.output):
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return exact.clipped(FLOATS[op.kind](a, b), op.low, op.high)
    x, y = (values.encoding(name) for name in op.inputs)
    z = values.encoding(op.output)
    low, high = max(op.low, -128), min(op.high, 127)
    if op.kind in ("sub", "div"):
        return in_float(op.kind, exact.dequantized(a, x), exact.dequantized(b, y), z, low, high)
    if values.rounding == "tflite":
        rule = fixed_point.added if op.kind == "add" else fixed_point.multiplied
        return rule(exact.centred(a, x.zero), exact.centred(b, y.zero), x, y, z, low, high)
    if op.kind == "mul":
        return multiplied(a, b, x, y, z, low, high)
    if first_stands(op, values):
        return added(b, a, y, x, z, low, high)
    return added(a, b, x, y, z, low, high)


def in_float(kind: str, a: Array, b: Array, z: Encoding, low: float, high: float) -> Array:
    """What no runtime does in integers: between DequantizeLinear and QuantizeLinear."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        result = FLOATS[kind](a, b)
    return exact.clipped(exact.quantized(result, z), low, high)


def multiplied(a: Array, b: Array, x: Encoding, y: Encoding, z: Encoding, low: float, high: float) -> Array:
    """QLinearMul: f32(f32(product of counts) * ratio) + zero, then one rounding; ratio = f32(f32(xs * ys) / zs)."""
    ratio = F32(F32(x.scale) * F32(y.scale)) / F32(z.scale)
    products = (exact.centred(a, x.zero) * exact.centred(b, y.zero)).astype(F32)
    return exact.to_codes_with_zero(products * ratio + F32(z.zero), low, high)


def added(a: Array, b: Array, x: Encoding, y: Encoding, z: Encoding, low: float, high: float) -> Array:
    """QLinearAdd, as with AVX2: all zero points are one float32 summand; each input is multiplied and added with one
    rounding, the second input first."""
    ratio_a, ratio_b = F32(x.scale) / F32(z.scale), F32(y.scale) / F32(z.scale)
    constant = F32(z.zero) - exact.fused(ratio_a, F32(x.zero), ratio_b * F32(y.zero))
    steps = exact.fused(a.astype(F32), ratio_a, exact.fused(b.astype(F32), ratio_b, constant))
    return exact.to_codes_with_zero(steps, low, high)


def first_stands(op: Binary, values: Values) -> bool:
    """Whether the first input is one number along the innermost axis, in the order of ONNX, that is longer than 1."""
    shapes = [in_onnx_order(values, name) for name in op.inputs]
    rank = max(map(len, shapes))
    a, b = ((1,) * (rank - len(shape)) + shape for shape in shapes)
    pairs = ((one, other) for one, other in zip(reversed(a), reversed(b), strict=True) if (one, other) != (1, 1))
    innermost = next(pairs, None)
    return innermost is not None and innermost[0] == 1


def in_onnx_order(values: Values, name: str) -> tuple[int, ...]:
    tensor = values.graph.tensors[name]
    return tuple(tensor.shape[place] for place in np.argsort(tensor.axes))


def concat(op: Concat, values: Values) -> Array:
    if not values.quantized(op.output):
        return np.concatenate([values.arrays[name] for name in op.inputs], axis=op.axis)
    y = values.encoding(op.output)
    parts = [looked_up(values.arrays[name], requantizing_table(values.encoding(name), y)) for name in op.inputs]
    return np.concatenate(parts, axis=op.axis)


def looked_up(codes: Array, table: Array) -> Array:
    found: Array = table[codes.astype(np.int16) + 128]
    return found


def table(op: Table, values: Values) -> Array:
    return looked_up(values.arrays[op.inputs[0]], op.values)


def unary(op: Unary, values: Values) -> Array:
    return apply(op.function, op.attributes, values.arrays[op.inputs[0]])


def softmax(op: Softmax, values: Values) -> Array:
    x = values.arrays[op.inputs[0]]
    if not values.quantized(op.inputs[0]):
        powers = np.exp(x - x.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True), F32)
    y = values.encoding(op.output)
    exps = softmax_exps(values.encoding(op.inputs[0]), x.shape[-1])
    below = x.max(axis=-1, keepdims=True).astype(np.int16) - x
    powers = exps[255 - below]
    steps = powers / in_order(powers) * np.floor(F32(1) / F32(y.scale))  # the product first may pass float32
    return exact.to_codes(steps, y.zero, -128, 127)


def in_order(powers: Array) -> Array:
    """float32 sums along the last axis, one after the other from 0."""
    sums: Array = np.zeros((*powers.shape[:-1], 1), F32)
    for place in range(powers.shape[-1]):
        sums += powers[..., place : place + 1]
    return sums


def quantize(op: Quantize, values: Values) -> Array:
    return exact.quantized(values.arrays[op.inputs[0]], values.encoding(op.output))


def dequantize(op: Dequantize, values: Values) -> Array:
    return exact.dequantized(values.arrays[op.inputs[0]], values.encoding(op.inputs[0]))


def dynamic_quantize(op: DynamicQuantize, values: Values) -> Array:
    x = values.arrays[op.inputs[0]]
    encoding = encoding_of(x)
    values.arrays[op.encoding] = np.array([encoding.scale, encoding.zero], F32)
    return exact.quantized(x, encoding, "uint8")


def encoding_of(x: Array) -> Encoding:
    """DynamicQuantizeLinear's: the range of the values and 0 in 255 steps; the scale is 1 where that range is empty."""
    least, most = F32(min(x.min(), F32(0))), F32(max(x.max(), F32(0)))
    scale = F32((most - least) / F32(255)) if most > least else F32(1)
    zero = exact.rint(exact.clipped(np.asarray(F32(0) - least / scale), 0, 255))
    return Encoding(float(scale), int(zero))
