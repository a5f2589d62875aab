"""MaxPool and AveragePool over one to three spatial axes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from qdsl.train.call import Call
from qdsl.train.kernels.windows import Windows, covered, padded, windows_of


def max_pool(call: Call) -> Tensor:
    x = call.tensor()
    if not x.is_floating_point():  # torch pools floats alone; those of 64 bits hold what integers are pooled
        return _max_pool(call, x.to(torch.float64)).to(x.dtype)
    return _max_pool(call, x)


def _max_pool(call: Call, x: Tensor) -> Tensor:
    windows = windows_of(call, x.shape[2:], call.wholes("kernel_shape") or [])
    function = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[len(windows.size) - 1]
    size, stride, dilation = list(windows.size), list(windows.stride), list(windows.dilation)
    plain = windows.symmetric and not call.whole("ceil_mode", 0)
    if plain and all(2 * pad <= one for pad, one in zip(windows.begin, windows.size, strict=True)):
        return function(x, size, stride, list(windows.begin), dilation)
    return function(covered(x, windows, -torch.inf), size, stride, 0, dilation)


def average_pool(call: Call) -> Tensor:
    """The mean of what a window covers of the data or, with `count_include_pad`, of data and padding."""
    x = call.tensor()
    windows = windows_of(call, x.shape[2:], call.wholes("kernel_shape") or [])
    sums = _sums(covered(x, windows, 0.0), windows)
    if not any((*windows.begin, *windows.end)) and not call.whole("ceil_mode", 0):
        return sums / _elements(windows.size)
    return sums / _counts(x, windows, with_padding=bool(call.whole("count_include_pad", 0)))


def _elements(size: Sequence[int]) -> int:
    count = 1
    for one in size:
        count *= one
    return count


def _sums(x: Tensor, windows: Windows) -> Tensor:
    """Sums of the windows over data that they cover exactly; dilated ones as a convolution of each channel."""
    size, stride, axes = list(windows.size), list(windows.stride), len(windows.size)
    if all(one == 1 for one in windows.dilation):
        function = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)[axes - 1]
        return function(x, size, stride) * _elements(size)
    channels = x.shape[1]
    ones = torch.ones(channels, 1, *size, dtype=x.dtype, device=x.device)
    convolve = (functional.conv1d, functional.conv2d, functional.conv3d)[axes - 1]
    return convolve(x, ones, None, stride, 0, list(windows.dilation), channels)


def _counts(x: Tensor, windows: Windows, *, with_padding: bool) -> Tensor:
    """How many elements count in each window: (1, 1, *windows)."""
    ones = torch.ones(1, 1, *x.shape[2:], dtype=x.dtype, device=x.device)
    if with_padding:
        ones = padded(ones, windows.begin, windows.end, 1.0)
    end = [windows.reach(axis) - length for axis, length in enumerate(ones.shape[2:])]
    if with_padding:
        return _sums(padded(ones, [0] * len(end), end), windows)
    return _sums(covered(ones, windows, 0.0), windows)
