"""Calls of the kernels that add products of int8: convolutions and matrices, requantized to int8."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from qdsl.integer.records import Conv, Dense, IntegerGraph, Requantize, Tensor, Window
from qdsl.targets.stm32.c.packing import (
    Stored,
    channel_constants,
    depthwise_weights,
    folded_bias,
    largest_steps,
    product_weights,
    strip_bytes,
    strip_words,
    tail_order,
    up,
    window_order,
)
from qdsl.targets.stm32.c.records import Call, Constant, Parameters, Wish
from qdsl.targets.stm32.c.windows import behind, columns_of, seen

TAPS = 49  # QDSL_TAPS of depthwise.h
NARROW = 32000  # steps of the output, less than what an int16 holds beside a zero point
PRODUCTS = ("tile.h", "tile_dsp.h", "product.h")


@dataclass(frozen=True, slots=True)
class _Site:
    """An operator between its tensors: `x` and `y` with encodings."""

    x: Tensor
    y: Tensor
    to: Requantize
    wish: Wish

    @classmethod
    def of(cls, op: Conv | Dense, graph: IntegerGraph, wish: Wish) -> _Site:
        x, y = graph.tensors[op.inputs[0]], graph.tensors[op.output]
        if not isinstance(op.to, Requantize) or x.dtype != "int8":
            raise ValueError(f"{op.node}: sums of {x.dtype} to {type(op.to).__name__} are of other kernels")
        return cls(x, y, op.to, wish)

    @property
    def x_zero(self) -> int:
        return _zero(self.x)

    @property
    def stored(self) -> Stored:
        return "words" if self.wish.optimize == "speed" else "bytes"

    def kernel(self, name: str, op: Conv | Dense) -> str:
        """The kernel for its rounding: of those in float32 the plain one makes two codes at a time, see product.h."""
        if self.wish.rounding == "tflite":
            return f"qdsl_{name}_{self.stored}_fixed"
        whole = (self.to.low, self.to.high) == (-128, 127) and _zero(self.y) % 2 == 0
        narrow = largest_steps(op.weight, op.bias, self.x_zero, self.to) <= NARROW
        plain = (whole and narrow) or name == "depthwise"
        return f"qdsl_{name}_{self.stored}{'' if plain else '_any'}"

    def codes(self) -> Parameters:
        return (("zero", _zero(self.y)), ("low", self.to.low), ("high", self.to.high))


def _zero(tensor: Tensor) -> int:
    if tensor.encoding is None:
        raise ValueError(f"{tensor.name} has no encoding")
    return tensor.encoding.zero


def conv_call(op: Conv, graph: IntegerGraph, wish: Wish) -> Call:
    """The kernel for its window: 1 x 1, channel by channel, or any."""
    site = _Site.of(op, graph, wish)
    if op.pointwise:
        return _vectors(op, site, site.y.shape[2])
    if op.depthwise and len(op.weight) % 4 == 0 and _in_strips(op.window):
        return _strips(op, site)
    if op.depthwise and len(op.weight) % 4 == 0 and prod(op.window.kernel) <= TAPS:
        return _depthwise(op, site)
    return _any_window(op, site)


def dense_call(op: Dense, graph: IntegerGraph, wish: Wish) -> Call:
    """As a 1 x 1 convolution of as many pixels as the input has vectors."""
    site = _Site.of(op, graph, wish)
    return _vectors(op, site, prod(site.x.shape[:-1]))


def over_plane(call: Call, height: int) -> Call:
    """A 1 x 1 convolution that runs by itself, with all `height` rows as one: pixels go two by two over their ends.
    Other calls are as they were."""
    if not call.kernel.startswith("qdsl_pointwise"):
        return call
    parameters = tuple(
        (name, value * height if name == "pixels" and isinstance(value, int) else value)
        for name, value in call.parameters
    )
    return replace(call, parameters=parameters)


def _vectors(op: Conv | Dense, site: _Site, pixels: int) -> Call:
    weight = op.weight.reshape(len(op.weight), -1)
    outs, ins = weight.shape
    parameters: Parameters = (
        ("weights", product_weights(weight, tail_order(ins), 1, site.stored)),
        ("constants", _constants(op, site, 1)),
        ("pixels", pixels),
        ("channels", ins),
        ("out_channels", outs),
        *site.codes(),
    )
    last = prod(site.x.shape) // ins - 1
    return Call(
        op,
        site.kernel("pointwise", op),
        True,
        "qdsl_pointwise_parameters",
        parameters,
        (*PRODUCTS, "pointwise.h"),
        scratch=4 * up(ins, 4),
        behind=(max(0, last * (outs - ins)),),
    )


def _constants(op: Conv | Dense, site: _Site, groups: int) -> Constant:
    bias = folded_bias(op.weight, op.bias, site.x_zero)
    return channel_constants(bias, site.to, groups, site.wish.rounding)


def _depthwise(op: Conv, site: _Site) -> Call:
    channels = len(op.weight)
    parameters: Parameters = (
        ("weights", depthwise_weights(op.weight.reshape(channels, -1), site.stored)),
        ("constants", _constants(op, site, 1)),
        ("width", site.x.shape[2]),
        ("channels", channels),
        ("out_width", site.y.shape[2]),
        *columns_of(op.window),
        ("x_zero", site.x_zero),
        *site.codes(),
    )
    files = ("tile.h", "depthwise.h")
    return _rows(op, site, "depthwise", parameters, files, channels)


def _in_strips(window: Window) -> bool:
    return window.kernel == (3, 3) and window.dilations[1] == 1 and window.strides[1] in (1, 2)


def _strips(op: Conv, site: _Site) -> Call:
    channels, stride = len(op.weight), op.window.strides[1]
    constants, weight = _constants(op, site, 1), op.weight[..., 0]
    within = site.stored == "words"
    parameters: Parameters = (
        ("weights", strip_words(weight, constants) if within else strip_bytes(weight)),
        ("constants", None if within else constants),
        ("width", site.x.shape[2]),
        ("channels", channels),
        ("out_width", site.y.shape[2]),
        ("stride", stride),
        ("left", op.window.pads[1]),
        ("x_zero", site.x_zero),
        *site.codes(),
    )
    columns = stride * (up(site.y.shape[2], 2) - 1) + 3
    return _rows(op, site, "depthwise3", parameters, ("tile.h", "tile_dsp.h", "strip.h", "depthwise3.h"), 24 * columns)


def _any_window(op: Conv, site: _Site) -> Call:
    outs, rows, columns, ins = op.weight.shape
    length = columns * ins if op.groups == 1 and op.window.dilations[1] == 1 else ins
    order = window_order(rows * columns * ins // length, length)
    weights = product_weights(op.weight.reshape(outs, -1), order, op.groups, site.stored)
    constants = _constants(op, site, op.groups)
    parameters: Parameters = (
        ("weights", weights),
        ("constants", constants),
        ("group_weights", weights.values.nbytes // op.groups),
        ("group_constants", constants.values.size // op.groups),
        ("groups", op.groups),
        ("width", site.x.shape[2]),
        ("channels", site.x.shape[3]),
        ("out_width", site.y.shape[2]),
        ("out_channels", outs // op.groups),
        *columns_of(op.window),
        ("length", length),
        ("x_zero", site.x_zero),
        *site.codes(),
    )
    return _rows(op, site, "conv", parameters, (*PRODUCTS, "conv.h"), 6 * len(order))


def _rows(op: Conv, site: _Site, kernel: str, parameters: Parameters, files: tuple[str, ...], scratch: int) -> Call:
    return Call(
        op,
        site.kernel(kernel, op),
        True,
        f"qdsl_{kernel}_parameters",
        parameters,
        files,
        scratch=scratch,
        window=seen(op.window),
        behind=(behind(op.window, site.x, site.y),),
    )
