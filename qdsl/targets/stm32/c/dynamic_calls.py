"""Calls of what is quantized at run time: the range of floats, products of what became of them, and layers that compute
these products twice, for the range and for the codes, so that their floats lie nowhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.integer.records import Conv, Dense, DynamicQuantize, Floats, IntegerGraph, Op, Tensor, Unary, Window
from qdsl.targets.stm32.c.conv_calls import TAPS
from qdsl.targets.stm32.c.float_value_calls import function_of
from qdsl.targets.stm32.c.packing import (
    FOUR,
    Stored,
    depthwise_weights,
    per_channel,
    per_group,
    product_weights,
    strip_bytes,
    tail_order,
    up,
)
from qdsl.targets.stm32.c.records import Call, Constant, Parameters, Wish
from qdsl.targets.stm32.c.shapes import SIZES, elements, of
from qdsl.targets.stm32.c.windows import behind

Array = NDArray[Any]

FILES = ("nearest.h", "floats.h", "float_unary.h", "dynamic_quantize.h")
BESIDE = {
    "conv": ("tile_dsp.h", "product.h"),
    "depthwise": (),
    "depthwise3": ("tile_dsp.h", "strip.h"),
}
WORD = 4  # bytes
STRIP = 22  # words: QDSL_DYNAMIC_STRIP of dynamic_depthwise3.h


@dataclass(frozen=True, slots=True)
class Twice(DynamicQuantize):
    """The products `of` a layer, the function of their floats where there is one, and what quantizes these, as one:
    `inputs` are those of the products."""

    of: Conv | Dense
    function: Unary | None


def dynamic_quantize(op: DynamicQuantize, graph: IntegerGraph) -> Call:
    """In place: each code lies at or before the float that it is of."""
    (source,), _ = of(graph, op)
    parameters = (("count", elements(source)),)
    kernel = "qdsl_dynamic_quantize"
    return Call(op, kernel, False, f"{kernel}_parameters", parameters, FILES, behind=(0,))


def dynamic_products(op: Conv | Dense, graph: IntegerGraph, wish: Wish) -> Call:
    """Of uint8 to floats."""
    return _products(op, op, None, graph, wish)


def twice(op: Twice, graph: IntegerGraph, wish: Wish) -> Call:
    """Of uint8 to uint8, by the range of the floats between."""
    return _products(op.of, op, op.function, graph, wish)


def _products(op: Conv | Dense, whole: Op, function: Unary | None, graph: IntegerGraph, wish: Wish) -> Call:
    if not isinstance(op.to, Floats) or op.bias is not None:
        raise ValueError(
            f"{op.node}: sums of what is quantized at run time become floats, and a bias is added to those"
        )
    source, out = graph.tensors[whole.inputs[0]], graph.tensors[whole.output]
    stored: Stored = "words" if wish.optimize == "speed" else "bytes"
    outs = len(op.weight)
    kernel, weights, groups, own = _weights(op, out, stored)
    name, (a, b), more = function_of(function) if function is not None else (None, (0.0, 0.0), ())
    parameters: Parameters = (
        ("weights", weights),
        ("sums", Constant("int32_t", per_group(op.weight.reshape(outs, -1).sum(axis=1, dtype=np.int32), groups))),
        ("scale", per_channel(op.to.scale, outs)),
        ("bias", per_channel(np.zeros(1) if op.to.bias is None else op.to.bias, outs)),
        ("low", float(op.to.low)),
        ("high", float(op.to.high)),
        ("function", name),
        ("a", a),
        ("b", b),
        ("groups", groups),
        *_planes(op, source, out),
    )
    twice = "_twice" if isinstance(whole, Twice) else ""
    return Call(
        whole,
        f"qdsl_dynamic_{kernel}_{stored}{twice}",
        False,
        "qdsl_dynamic_parameters",
        parameters,
        (*FILES, *more, "tile.h", *BESIDE[kernel], "dynamic.h", f"dynamic_{kernel}.h"),
        scratch=5 * WORD * (groups * up(outs // groups, FOUR) + FOUR) + own,
        behind=(_behind(op, source, out), None),
    )


def _weights(op: Conv | Dense, out: Tensor, stored: Stored) -> tuple[str, Constant, int, int]:
    """The kernel, its weights, in how many groups it sees them, and the bytes of scratch that are its own."""
    outs = len(op.weight)
    weight = op.weight.reshape(outs, -1)
    if isinstance(op, Conv) and op.depthwise and outs % FOUR == 0 and prod(op.window.kernel) <= TAPS:
        if op.window.kernel == (3, 3) and op.window.dilations[1] == 1 and op.window.strides[1] <= 2:
            return "depthwise3", _strips(op, stored), 1, _strip_bytes(op, out)
        return "depthwise", depthwise_weights(weight, stored), 1, outs
    order, groups = tail_order(weight.shape[1]), op.groups if isinstance(op, Conv) else 1
    return "conv", product_weights(weight, order, groups, stored), groups, 6 * len(order)


def _strips(op: Conv, stored: Stored) -> Constant:
    columns = strip_bytes(op.weight.reshape(-1, 3, 3))
    return columns if stored == "bytes" else Constant("int16_t", columns.values[..., [0, 2, 1, 3]].astype(np.int16))


def _strip_bytes(op: Conv, out: Tensor) -> int:
    """Of the strips, of the columns of a row, of sums of four channels of a row."""
    pixels = up(out.shape[2], 2)
    return WORD * (STRIP * len(op.weight) // FOUR + 6 * (op.window.strides[1] * (pixels - 1) + 3) + FOUR * pixels)


def _planes(op: Conv | Dense, source: Tensor, out: Tensor) -> Parameters:
    """What lies where; a matrix goes over all vectors as over one row."""
    window = op.window if isinstance(op, Conv) else Window((1, 1))
    if isinstance(op, Conv):
        sizes = *source.shape[1:], *out.shape[1:]
    else:
        vectors = prod(out.shape[:-1])
        sizes = 1, vectors, source.shape[-1], 1, vectors, out.shape[-1]
    names = ("height", "width", "channels", "out_height", "out_width", "out_channels")
    return (
        *zip(names, sizes, strict=True),
        ("reach", window.kernel[0]),
        ("kernel", window.kernel[1]),
        ("down", window.dilations[0]),
        ("step", window.dilations[1]),
        ("stride_down", window.strides[0]),
        ("stride", window.strides[1]),
        ("above", window.pads[0]),
        ("left", window.pads[1]),
    )


def _behind(op: Conv | Dense, source: Tensor, out: Tensor) -> int:
    """Row by row of the output, or two vectors at a time."""
    if isinstance(op, Dense):
        grown = out.shape[-1] * SIZES[out.dtype] - source.shape[-1]
        return max(0, (prod(out.shape[:-1]) - 1) * grown)
    return behind(op.window, source, out)


# --- layers that may run twice ---------------------------------------------------------------------------------------


def pairs(graph: IntegerGraph) -> Iterator[tuple[Twice, tuple[Op, ...]]]:
    """Every layer that may run twice, with the operators that it stands for: floats that only what quantizes them
    reads, or a function of each that it can be told, and then only what quantizes that."""
    readers: dict[str, list[Op]] = {}
    for op in graph.ops:
        for name in op.inputs:
            readers.setdefault(name, []).append(op)
    counts = Counter({name: len(each) for name, each in readers.items()})
    counts.update(graph.outputs)
    only = {name: each[0] for name, each in readers.items() if counts[name] == 1}
    for op in graph.ops:
        if not isinstance(op, Conv | Dense) or len(op.inputs) != 2:
            continue
        following = only.get(op.output)
        function = following if isinstance(following, Unary) else None
        last = only.get(function.output) if function is not None else following
        if isinstance(last, DynamicQuantize):
            chain = (op, function, last) if function is not None else (op, last)
            yield _joined(chain, function), chain


def _joined(chain: Sequence[Op], function: Unary | None) -> Twice:
    first, last = chain[0], chain[-1]
    assert isinstance(first, Conv | Dense) and isinstance(last, DynamicQuantize)
    fused = tuple(name for op in chain for name in (op.node, *op.fused) if name and name != first.node)
    return Twice(
        first.node, first.inputs, last.output, encoding=last.encoding, of=first, function=function, fused=fused
    )


def with_twice(ops: Sequence[Op], chosen: Sequence[tuple[Twice, tuple[Op, ...]]]) -> tuple[Op, ...]:
    """The operators with those of `chosen` in the place of what they stand for."""
    first: Mapping[int, Twice] = {id(chain[0]): op for op, chain in chosen}
    gone = {id(op) for _, chain in chosen for op in chain[1:]}
    return tuple(first.get(id(op), op) for op in ops if id(op) not in gone)
