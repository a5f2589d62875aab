"""Calls of CMSIS-NN's functions, for convolutions and matrices of int8 that they compute as the fixed point of
`qdsl.integer.rounding` has it.

Their signatures are those of its sources from October 2022 to 2026. Scratch is an upper bound of what
`arm_convolve_wrapper_s8_get_buffer_size` and `arm_depthwise_conv_wrapper_s8_get_buffer_size` of these sources answer on
a core without Helium: 4 bytes per place of a window, whose number is rounded up to four; 2 bytes per weight of a
depthwise window other than 3 x 3. What the checkout itself answers is asked before the network runs.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from qdsl.integer.records import Conv, Dense, IntegerGraph, Requantize, Tensor, Window
from qdsl.integer.rounding import multiplier
from qdsl.targets.stm32.c.packing import up
from qdsl.targets.stm32.c.records import Call, Constant

MOST = 32767  # of each size, and of places of a window: its functions keep them in 16 bits
_WINDOW = ("cmsis/common.h", "cmsis/window.h")

Parameters = tuple[tuple[str, int | Constant], ...]


def cmsis_call(op: Conv | Dense, graph: IntegerGraph) -> Call | None:
    """None where no function of CMSIS-NN computes it: the kernels here do."""
    x, y = graph.tensors[op.inputs[0]], graph.tensors[op.output]
    sizes = (*x.shape, *y.shape, prod(op.weight.shape[1:]))
    if not isinstance(op.to, Requantize) or x.dtype != "int8" or max(sizes) > MOST:
        return None
    if isinstance(op, Dense):
        return _dense(op, op.to, x, y)
    window = _apart(op.window)
    if op.depthwise:
        return _depthwise(op, op.to, (x, y), window) if _reaches(window) else None
    return _conv(op, op.to, (x, y), window) if op.groups == 1 and not _beyond(window) else None


def _apart(window: Window) -> Window:
    """How far apart the rows of a single row are says nothing, and would rule its faster functions out."""
    down, right = (step if size > 1 else 1 for step, size in zip(window.dilations, window.kernel, strict=True))
    return replace(window, dilations=(down, right))


def _beyond(window: Window) -> bool:
    """Of a 1 x 1 window all of it lies on the padding: its functions for that know no padding."""
    return window.kernel == (1, 1) and any(window.pads)


def _reaches(window: Window) -> bool:
    """Whether each place of the window reaches the tensor, as its functions take it; that for 3 x 3 reads the column in
    the middle unasked."""
    (rows, columns), (above, left, below, right) = window.kernel, window.pads
    if window.dilations != (1, 1):
        return True
    if window.kernel == (3, 3) and above <= 1 and left <= 1:
        return below <= 2 and right <= 1
    return max(above, below) < rows and max(left, right) < columns


def _dense(op: Dense, to: Requantize, x: Tensor, y: Tensor) -> Call:
    """Where each output has a scale of its own, as a 1 x 1 convolution: for a matrix with these its older sources
    have no function."""
    outs, ins = op.weight.shape
    vectors = prod(x.shape[:-1])
    if to.scale.size > 1:
        window = Window((1, 1))
        planes = (1, vectors, ins), (1, vectors, outs)
        weights = Constant("int8_t", op.weight)
        return _window(op, to, (x, y), planes, window, weights, "conv", up(ins, 4) * 4)
    factor, shift = multiplier(float(to.scale.reshape(-1)[0]))
    parameters: Parameters = (
        ("weights", Constant("int8_t", op.weight)),
        ("bias", _bias(op)),
        ("multiplier", factor),
        ("shift", shift),
        ("vectors", vectors),
        ("channels", ins),
        ("out_channels", outs),
        *_codes(to, x, y),
    )
    files = ("cmsis/common.h", "cmsis/dense.h")
    return Call(
        op,
        "qdsl_cmsis_dense",
        False,
        "qdsl_cmsis_dense_parameters",
        parameters,
        files,
        behind=(None,),
        asks="qdsl_cmsis_dense_bytes",
    )


def _conv(op: Conv, to: Requantize, tensors: tuple[Tensor, Tensor], window: Window) -> Call:
    planes = _planes(*tensors)
    if planes[0][0] == planes[1][0] == window.kernel[0] == 1 and not any(window.pads[::2]):
        # Stood upright: what its functions for a single row take of padding and widths differs from version to version.
        planes, window = (_upright(planes[0]), _upright(planes[1])), _turned(window)
    bytes_ = 4 * up(prod(op.weight.shape[1:]), 4)
    return _window(op, to, tensors, planes, window, Constant("int8_t", op.weight), "conv", bytes_)


def _upright(plane: tuple[int, int, int]) -> tuple[int, int, int]:
    return plane[1], plane[0], plane[2]


def _turned(window: Window) -> Window:
    above, left, below, right = window.pads
    return Window(window.kernel[::-1], window.strides[::-1], window.dilations[::-1], (left, above, right, below))


def _depthwise(op: Conv, to: Requantize, tensors: tuple[Tensor, Tensor], window: Window) -> Call:
    weights = Constant("int8_t", np.ascontiguousarray(op.weight[..., 0].transpose(1, 2, 0)))
    small = window.kernel == (3, 3) and max(window.pads[:2]) <= 1
    bytes_ = 0 if small or window.dilations != (1, 1) else 2 * op.weight.size
    return _window(op, to, tensors, _planes(*tensors), window, weights, "depthwise", bytes_)


def _planes(x: Tensor, y: Tensor) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Height, width and channels of both."""
    return (x.shape[1], x.shape[2], x.shape[3]), (y.shape[1], y.shape[2], y.shape[3])


def _window(
    op: Conv | Dense,
    to: Requantize,
    tensors: tuple[Tensor, Tensor],
    planes: tuple[tuple[int, int, int], tuple[int, int, int]],
    window: Window,
    weights: Constant,
    kind: str,
    scratch: int,
) -> Call:
    (height, width, channels), (out_height, out_width, outs) = planes
    scales = [multiplier(float(one)) for one in np.broadcast_to(to.scale.reshape(-1), (outs,))]
    parameters: Parameters = (
        ("weights", weights),
        ("bias", _bias(op)),
        ("multiplier", Constant("int32_t", np.array([factor for factor, _ in scales], np.int32))),
        ("shift", Constant("int32_t", np.array([shift for _, shift in scales], np.int32))),
        ("height", height),
        ("width", width),
        ("channels", channels),
        ("out_height", out_height),
        ("out_width", out_width),
        ("out_channels", outs),
        ("rows", window.kernel[0]),
        ("columns", window.kernel[1]),
        ("stride_down", window.strides[0]),
        ("stride_right", window.strides[1]),
        ("dilation_down", window.dilations[0]),
        ("dilation_right", window.dilations[1]),
        ("above", window.pads[0]),
        ("left", window.pads[1]),
        *_codes(to, *tensors),
        ("bytes", scratch),
    )
    return Call(
        op,
        f"qdsl_cmsis_{kind}",
        False,
        "qdsl_cmsis_window_parameters",
        parameters,
        (*_WINDOW, f"cmsis/{kind}.h"),
        scratch=scratch,
        behind=(None,),
        asks=f"qdsl_cmsis_{kind}_bytes",
    )


def _bias(op: Conv | Dense) -> Constant:
    bias = np.zeros(len(op.weight), np.int32) if op.bias is None else op.bias.astype(np.int32)
    return Constant("int32_t", bias)


def _codes(to: Requantize, x: Tensor, y: Tensor) -> Parameters:
    if x.encoding is None or y.encoding is None:
        raise ValueError(f"{x.name} or {y.name} has no encoding")
    return (("x_zero", x.encoding.zero), ("zero", y.encoding.zero), ("low", int(to.low)), ("high", int(to.high)))
