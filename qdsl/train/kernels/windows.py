"""Where windows lie: padding by numbers or by word, dilation, and how many windows there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from qdsl.train.call import Call


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows over the spatial axes, a number for each axis. `begin` and `end` are padding, `count` the windows."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]
    count: tuple[int, ...]

    @property
    def symmetric(self) -> bool:
        return self.begin == self.end

    def reach(self, axis: int) -> int:
        """From the first element of the first window to the last of the last one, in elements."""
        return (self.count[axis] - 1) * self.stride[axis] + self.extent(axis)

    def extent(self, axis: int) -> int:
        return (self.size[axis] - 1) * self.dilation[axis] + 1


def windows_of(call: Call, spatial: Sequence[int], size: Sequence[int]) -> Windows:
    """Of a convolution or pool over axes as long as `spatial` says (Conv-11, MaxPool-12, AveragePool-19)."""
    axes = len(spatial)
    stride = call.wholes("strides") or [1] * axes
    dilation = call.wholes("dilations") or [1] * axes
    extents = [(one - 1) * step + 1 for one, step in zip(size, dilation, strict=True)]
    begin, end = _padding(call, spatial, extents, stride)
    up = bool(call.whole("ceil_mode", 0))
    count = tuple(
        _count(length, extent, step, before, behind, up=up)
        for length, extent, step, before, behind in zip(spatial, extents, stride, begin, end, strict=True)
    )
    return Windows(tuple(size), tuple(stride), tuple(dilation), tuple(begin), tuple(end), count)


def _padding(
    call: Call, spatial: Sequence[int], extents: Sequence[int], stride: Sequence[int]
) -> tuple[list[int], list[int]]:
    word, axes = call.text("auto_pad", "NOTSET"), len(spatial)
    if word == "VALID":
        return [0] * axes, [0] * axes
    if word == "NOTSET":
        pads = call.wholes("pads") or [0] * (2 * axes)
        return pads[:axes], pads[axes:]
    wanted = [
        max((-(-length // step) - 1) * step + extent - length, 0)
        for length, extent, step in zip(spatial, extents, stride, strict=True)
    ]
    less, more = [one // 2 for one in wanted], [one - one // 2 for one in wanted]
    return (less, more) if word == "SAME_UPPER" else (more, less)


def _count(length: int, extent: int, step: int, before: int, behind: int, *, up: bool) -> int:
    """A window that would begin behind the data and the padding before it is none."""
    room = length + before + behind - extent
    if not up:
        return room // step + 1
    count = -(-room // step) + 1
    return count - 1 if (count - 1) * step >= length + before else count


def padded(x: Tensor, begin: Sequence[int], end: Sequence[int], value: float = 0.0) -> Tensor:
    """`x` with so many elements more (or, where negative, less) before and behind its last axes."""
    pads = [one for pair in zip(reversed(begin), reversed(end), strict=True) for one in pair]
    return functional.pad(x, pads, value=value) if any(pads) else x


def covered(x: Tensor, windows: Windows, value: float) -> Tensor:
    """`x` padded by `value` to exactly what the windows cover, all of them."""
    spatial = x.shape[2:]
    end = [windows.reach(axis) - length - windows.begin[axis] for axis, length in enumerate(spatial)]
    return padded(x, windows.begin, end, value)


def conv(call: Call) -> Tensor:
    """Conv of one to three spatial axes."""
    return convolved(call, call.tensor(0), call.tensor(1), call.optional(2))


def convolved(call: Call, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A convolution as the attributes of a call say."""
    windows = windows_of(call, x.shape[2:], weight.shape[2:])
    group, padding = call.whole("group", 1), list(windows.begin)
    if not windows.symmetric:
        x, padding = padded(x, windows.begin, windows.end), [0] * len(padding)
    function = (functional.conv1d, functional.conv2d, functional.conv3d)[len(padding) - 1]
    return function(x, weight, bias, list(windows.stride), padding, list(windows.dilation), group)


def conv_transpose(call: Call) -> Tensor:
    """ConvTranspose of one to three spatial axes: all of the output, cut to what the padding leaves, then the bias."""
    x, weight, bias = call.tensor(0), call.tensor(1), call.optional(2)
    axes = x.dim() - 2
    stride, dilation = call.wholes("strides") or [1] * axes, call.wholes("dilations") or [1] * axes
    more = call.wholes("output_padding") or [0] * axes
    extents = [(one - 1) * step + 1 for one, step in zip(weight.shape[2:], dilation, strict=True)]
    begin, end = _transposed_padding(call, x.shape[2:], extents, stride, more)
    function = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)[axes - 1]
    whole = function(x, weight, None, stride, 0, 0, call.whole("group", 1), dilation)
    cut = padded(whole, [-one for one in begin], [extra - one for extra, one in zip(more, end, strict=True)])
    return cut if bias is None else cut + bias.reshape(-1, *[1] * axes)


def _transposed_padding(
    call: Call, spatial: Sequence[int], extents: Sequence[int], stride: Sequence[int], more: Sequence[int]
) -> tuple[list[int], list[int]]:
    word, wanted = call.text("auto_pad", "NOTSET"), call.wholes("output_shape")
    if wanted is None and word not in ("SAME_UPPER", "SAME_LOWER"):
        return _padding(call, spatial, extents, stride)
    wanted = [length * step for length, step in zip(spatial, stride, strict=True)] if wanted is None else wanted
    whole = [
        step * (length - 1) + extra + extent
        for length, extent, step, extra in zip(spatial, extents, stride, more, strict=True)
    ]
    total = [max(all_of_it - one, 0) for all_of_it, one in zip(whole, wanted[-len(whole) :], strict=True)]
    less, rest = [one // 2 for one in total], [one - one // 2 for one in total]
    return (less, rest) if word == "SAME_UPPER" else (rest, less)


def global_average_pool(call: Call) -> Tensor:
    x = call.tensor()
    return x.mean(tuple(range(2, x.dim())), keepdim=True)


def global_max_pool(call: Call) -> Tensor:
    x = call.tensor()
    return torch.amax(x, tuple(range(2, x.dim())), keepdim=True)
