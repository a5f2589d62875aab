"""Calls of the kernel that adds products of int8 and leaves float32."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.integer.records import Conv, Dense, Floats, IntegerGraph, Window
from qdsl.targets.stm32.c.pool_calls import encoding, seen
from qdsl.targets.stm32.c.records import Call, Constant
from qdsl.targets.stm32.c.shapes import of

_ONE = Window((1, 1))


def to_floats(op: Conv | Dense, to: Floats, graph: IntegerGraph) -> Call:
    """A matrix goes over all vectors of its input as one row."""
    (source,), out = of(graph, op)
    outs = len(op.weight)
    window, groups = (op.window, op.groups) if isinstance(op, Conv) else (_ONE, 1)
    vectors = prod(out.shape[:-1])
    wide = (source.shape[2], out.shape[2]) if len(out.shape) == 4 else (vectors, vectors)
    parameters = (
        ("weights", Constant("int8_t", op.weight)),
        ("bias", None if op.bias is None else Constant("int32_t", op.bias)),
        ("scale", _per_channel(to.scale, outs)),
        ("more", None if to.bias is None else _per_channel(to.bias, outs)),
        ("low", float(to.low)),
        ("high", float(to.high)),
        ("width", wide[0]),
        ("out_width", wide[1]),
        ("groups", groups),
        ("channels", op.weight.shape[-1]),
        ("out_channels", outs // groups),
        ("reach", window.kernel[0]),
        ("kernel", window.kernel[1]),
        ("stride", window.strides[1]),
        ("step", window.dilations[1]),
        ("left", window.pads[1]),
        ("x_zero", encoding(source).zero),
    )
    return Call(
        op,
        "qdsl_product_floats",
        True,
        "qdsl_product_floats_parameters",
        parameters,
        ("product_floats.h",),
        window=seen(window),
        behind=(None,),
    )


def _per_channel(values: NDArray[Any], channels: int) -> Constant:
    return Constant("float", np.broadcast_to(np.asarray(values, np.float32).reshape(-1), (channels,)))
