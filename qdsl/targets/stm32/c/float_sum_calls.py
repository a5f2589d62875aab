"""Calls of the kernel that adds products of int8 and leaves float32."""

from __future__ import annotations

from math import prod

from qdsl.integer.records import Conv, Dense, Floats, IntegerGraph, Window
from qdsl.targets.stm32.c.packing import per_channel
from qdsl.targets.stm32.c.records import Call, Constant
from qdsl.targets.stm32.c.shapes import encoding, of
from qdsl.targets.stm32.c.windows import columns_of, seen

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
        ("scale", per_channel(to.scale, outs)),
        ("more", None if to.bias is None else per_channel(to.bias, outs)),
        ("low", float(to.low)),
        ("high", float(to.high)),
        ("width", wide[0]),
        ("out_width", wide[1]),
        ("groups", groups),
        ("channels", op.weight.shape[-1]),
        ("out_channels", outs // groups),
        *columns_of(window),
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
