"""Calls of the kernels that compute values of int8: sums and products of two tensors, tables, softmax, and the ways
into int8 and out of it."""

from __future__ import annotations

from math import prod

import numpy as np

from qdsl.integer.interpret_between import first_stands
from qdsl.integer.records import Binary, Dequantize, IntegerGraph, Quantize, Softmax, Table, Tensor
from qdsl.integer.rounding import fused
from qdsl.integer.tables import softmax_exps
from qdsl.integer.values import Values
from qdsl.targets.stm32.c.records import Call, Constant
from qdsl.targets.stm32.c.shapes import bounds, elements, encoding, of, row_elements

F32 = np.float32


def binary(op: Binary, graph: IntegerGraph) -> Call:
    """By rows. Raises ValueError where tensors broadcast as no row kernel does."""
    sources, out = of(graph, op)
    kernel, files = _kernel(op, graph)
    low, high = bounds(op.low, op.high)
    parameters = (*strides(sources, out), *_scales(op, sources, out, kernel), ("low", low), ("high", high))
    files = ("nearest.h", "binary.h", *files)
    return Call(op, kernel, True, "qdsl_binary_parameters", parameters, files, behind=in_place(op, graph))


def in_place(op: Binary, graph: IntegerGraph) -> tuple[int | None, ...]:
    """`Call.behind`: an output may lie over an input that has its shape, element by element."""
    sources, out = of(graph, op)
    return tuple(
        0 if source.shape == out.shape and name not in graph.constants else None
        for name, source in zip(op.inputs, sources, strict=True)
    )


def _kernel(op: Binary, graph: IntegerGraph) -> tuple[str, tuple[str, ...]]:
    if op.kind != "add":
        return f"qdsl_{op.kind}", (f"{op.kind}.h",)
    turned = first_stands(op, Values(graph, "ort", {}))
    return ("qdsl_add_turned", ("add_turned.h",)) if turned else ("qdsl_add", ("add.h",))


def _scales(op: Binary, sources: tuple[Tensor, ...], out: Tensor, kernel: str) -> tuple[tuple[str, int | float], ...]:
    """In steps of the output for a sum, one ratio for a product, the scales themselves for what is in float."""
    x, y, z = encoding(sources[0]), encoding(sources[1]), encoding(out)
    scales = F32(x.scale), F32(y.scale), F32(z.scale)
    constant = F32(z.zero)
    if op.kind == "add":
        ratios = scales[0] / scales[2], scales[1] / scales[2]
        zeros = [(ratios[0], F32(x.zero)), (ratios[1], F32(y.zero))]
        (ratio, zero), (other, its) = reversed(zeros) if kernel == "qdsl_add_turned" else zeros
        constant = F32(z.zero) - F32(fused(ratio, zero, other * its))
        scales = *ratios, scales[2]
    elif op.kind == "mul":
        scales = scales[0], scales[1], F32(scales[0] * scales[1]) / scales[2]
    return (
        ("a_zero", x.zero),
        ("b_zero", y.zero),
        ("out_zero", z.zero),
        ("a_scale", float(scales[0])),
        ("b_scale", float(scales[1])),
        ("out_scale", float(scales[2])),
        ("constant", float(constant)),
    )


def strides(sources: tuple[Tensor, ...], out: Tensor) -> tuple[tuple[str, int], ...]:
    """Over a row of the output: all of it at once where both inputs have its shape, else pixels and channels."""
    if all(source.shape == out.shape for source in sources):
        inner = row_elements(out)
        return ("outer", 1), ("inner", inner), ("a_outer", 0), ("a_inner", 1), ("b_outer", 0), ("b_inner", 1)
    rows, pixels, channels = _three(out)
    fields = [("outer", pixels), ("inner", channels)]
    for letter, source in zip("ab", sources, strict=True):
        own_rows, own_pixels, own_channels = _three(source)
        if own_rows not in (1, rows) or own_pixels not in (1, pixels) or own_channels not in (1, channels):
            raise ValueError(f"{source.name} {source.shape} does not broadcast to {out.shape} row by row")
        fields.append((f"{letter}_outer", own_channels if own_pixels > 1 else 0))
        fields.append((f"{letter}_inner", 1 if own_channels > 1 else 0))
    return tuple(fields)


def _three(tensor: Tensor) -> tuple[int, int, int]:
    """Rows as `rows_of` has them, pixels of a row, channels of a pixel."""
    if len(tensor.shape) == 4 and tensor.shape[0] == 1:
        return tensor.shape[1], tensor.shape[2], tensor.shape[3]
    channels = tensor.shape[-1] if tensor.shape else 1
    return 1, prod(tensor.shape[:-1]), channels


def table(op: Table, graph: IntegerGraph) -> Call:
    _, out = of(graph, op)
    values = Constant("int8_t", np.asarray(op.values, np.int8))
    parameters = (("values", values), ("count", row_elements(out)))
    return Call(op, "qdsl_table", True, "qdsl_table_parameters", parameters, ("table.h",), behind=(0,))


def softmax(op: Softmax, graph: IntegerGraph) -> Call:
    (source,), out = of(graph, op)
    length = out.shape[-1]
    parameters = (
        ("exps", Constant("float", softmax_exps(encoding(source), length))),
        ("outer", elements(out) // length),
        ("length", length),
        ("steps_of_one", float(np.floor(F32(1) / F32(encoding(out).scale)))),
        ("zero", encoding(out).zero),
    )
    files = ("nearest.h", "softmax.h")
    return Call(op, "qdsl_softmax", False, "qdsl_softmax_parameters", parameters, files, behind=(0,))


def quantize(op: Quantize, graph: IntegerGraph) -> Call:
    """Each byte is written at or before the float that it is of."""
    (_,), out = of(graph, op)
    files = ("nearest.h", "quantize.h")
    return Call(op, "qdsl_quantize", True, "qdsl_quantize_parameters", _coding(out, out), files, behind=(0,))


def dequantize(op: Dequantize, graph: IntegerGraph) -> Call:
    """A float is four bytes: the output begins three times the input before it, or further."""
    (source,), out = of(graph, op)
    far = 3 * elements(source)
    parameters = _coding(source, out)
    files = ("dequantize.h",)
    return Call(op, "qdsl_dequantize", True, "qdsl_dequantize_parameters", parameters, files, behind=(far,))


def _coding(coded: Tensor, out: Tensor) -> tuple[tuple[str, int | float], ...]:
    its = encoding(coded)
    return ("count", row_elements(out)), ("scale", float(its.scale)), ("zero", its.zero)
