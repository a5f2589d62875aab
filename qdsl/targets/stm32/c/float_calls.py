"""Calls of the kernels that add products of float32: convolutions and matrices."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.integer.records import FloatConv, FloatDense, IntegerGraph, Tensor, Window
from qdsl.targets.stm32.c.packing import FOUR, up
from qdsl.targets.stm32.c.records import Call, Constant, Parameters
from qdsl.targets.stm32.c.shapes import of, rows_of
from qdsl.targets.stm32.c.windows import behind, columns_of, seen

TAPS = 49  # QDSL_FLOAT_TAPS of float_depthwise.h
FLOAT = 4  # bytes

Array = NDArray[Any]


def float_conv(op: FloatConv, graph: IntegerGraph) -> Call:
    """Channel by channel where each is by itself and four of them fit, else any window."""
    (source,), out = of(graph, op)
    outs, rows, columns, ins = op.weight.shape
    if op.groups == outs == source.shape[3] and outs % FOUR == 0 and rows * columns <= TAPS:
        return _depthwise(op, source, out)
    parameters: Parameters = (
        *_sums(packed(op.weight.reshape(outs, -1), op.groups), op),
        ("groups", op.groups),
        ("width", source.shape[2]),
        ("channels", source.shape[3]),
        ("out_width", out.shape[2]),
        ("out_channels", outs // op.groups),
        *columns_of(op.window),
    )
    return Call(
        op,
        "qdsl_float_conv",
        True,
        "qdsl_float_conv_parameters",
        parameters,
        ("floats.h", "float_conv.h"),
        scratch=2 * rows * columns * ins * FLOAT,
        window=seen(op.window),
        behind=(behind(op.window, source, out),),
    )


def _depthwise(op: FloatConv, source: Tensor, out: Tensor) -> Call:
    taps = op.weight.reshape(len(op.weight), -1)
    parameters: Parameters = (
        *_sums(Constant("float", taps.reshape(-1, FOUR, taps.shape[1]).transpose(0, 2, 1)), op),
        ("width", source.shape[2]),
        ("channels", len(taps)),
        ("out_width", out.shape[2]),
        *columns_of(op.window),
    )
    return Call(
        op,
        "qdsl_float_depthwise",
        True,
        "qdsl_float_depthwise_parameters",
        parameters,
        ("floats.h", "float_depthwise.h"),
        window=seen(op.window),
        behind=(behind(op.window, source, out),),
    )


def float_dense(op: FloatDense, graph: IntegerGraph) -> Call:
    """As a 1 x 1 convolution of as many pixels as a row of the input has vectors."""
    _, out = of(graph, op)
    outs, ins = op.weight.shape
    vectors, rows = prod(out.shape[:-1]), rows_of(out)[0]
    parameters: Parameters = (
        *_sums(packed(op.weight, 1), op),
        ("groups", 1),
        ("width", vectors // rows),
        ("channels", ins),
        ("out_width", vectors // rows),
        ("out_channels", outs),
        *columns_of(Window((1, 1))),
    )
    return Call(
        op,
        "qdsl_float_conv",
        True,
        "qdsl_float_conv_parameters",
        parameters,
        ("floats.h", "float_conv.h"),
        scratch=2 * ins * FLOAT,
        behind=(max(0, (vectors - 1) * (outs - ins)) * FLOAT,),
    )


def _sums(weights: Constant, op: FloatConv | FloatDense) -> Parameters:
    return (
        ("weights", weights),
        ("bias", None if op.bias is None else Constant("float", op.bias)),
        ("low", float(op.low)),
        ("high", float(op.high)),
    )


def packed(weight: Array, groups: int) -> Constant:
    """[group][channels of a group / 4][depth][4] of [channels, depth], filled up with 0."""
    parts = weight.reshape(groups, -1, weight.shape[1])
    filled = np.zeros((groups, up(parts.shape[1], FOUR), parts.shape[2]), np.float32)
    filled[:, : parts.shape[1]] = parts
    return Constant("float", filled.reshape(groups, -1, FOUR, parts.shape[2]).transpose(0, 1, 3, 2))
