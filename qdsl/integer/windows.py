"""What a window sees of a plane with channels last."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.integer.records import Window

Array = NDArray[Any]


def padded(plane: Array, window: Window, value: float) -> Array:
    """[H, W, C] with a border of `value`."""
    top, left, bottom, right = window.pads
    if not any(window.pads):
        return plane
    bordered: Array = np.pad(plane, ((top, bottom), (left, right), (0, 0)), constant_values=value)
    return bordered


def size_after(shape: tuple[int, ...], window: Window) -> tuple[int, int]:
    """Rows and columns of what comes out, for a padded plane of `shape`."""
    rows, columns = (
        (size - dilation * (kernel - 1) - 1) // stride + 1
        for size, kernel, stride, dilation in zip(
            shape[:2], window.kernel, window.strides, window.dilations, strict=True
        )
    )
    return rows, columns


def taps(bordered: Array, window: Window) -> Iterator[tuple[int, int, Array]]:
    """For each place of the kernel, row by row: (row, column, what lies there for every output, [OH, OW, C])."""
    rows, columns = size_after(bordered.shape, window)
    down, right = window.strides
    for i in range(window.kernel[0]):
        for j in range(window.kernel[1]):
            y, x = i * window.dilations[0], j * window.dilations[1]
            yield i, j, bordered[y : y + (rows - 1) * down + 1 : down, x : x + (columns - 1) * right + 1 : right]


def patches(bordered: Array, window: Window) -> Array:
    """[OH, OW, KH, KW, C]: what each output sees."""
    rows, columns = size_after(bordered.shape, window)
    out: Array = np.empty((rows, columns, *window.kernel, bordered.shape[2]), bordered.dtype)
    for i, j, there in taps(bordered, window):
        out[:, :, i, j] = there
    return out


def counts(shape: tuple[int, ...], window: Window) -> Array:
    """[OH, OW, 1]: how many places of the kernel lie on the plane of `shape`, not on its padding."""
    ones = padded(np.ones((*shape[:2], 1), np.int64), window, 0)
    rows, columns = size_after(ones.shape, window)
    found: Array = np.zeros((rows, columns, 1), np.int64)
    for _, _, there in taps(ones, window):
        found += there
    return found
