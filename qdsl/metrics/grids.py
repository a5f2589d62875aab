"""The grids that detection heads answer on: where an output's level lies among them, and its rows."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdsl.metrics.boxes import Floats

Shape = tuple[int, ...]
Sizes = list[tuple[int, int]]


def sizes_of(height: int, width: int, strides: Sequence[int]) -> Sizes:
    """Rows and columns of the grid of each stride over an input of `height` x `width` pixels."""
    return [(ceil(height / stride), ceil(width / stride)) for stride in strides]


def cell_count(sizes: Sizes) -> int:
    return sum(high * wide for high, wide in sizes)


def cells(sizes: Sizes) -> Floats:
    """Column and row of every cell [n, 2], grid by grid, row by row."""
    grids = [np.stack(np.meshgrid(np.arange(wide), np.arange(high)), -1).reshape(-1, 2) for high, wide in sizes]
    return np.concatenate([np.zeros((0, 2)), *grids])


def per_cell(values: Sequence[float], sizes: Sizes) -> Floats:
    """The value of each grid, once for every cell of it [n, 1]."""
    return np.repeat(np.asarray(values, np.float64), [high * wide for high, wide in sizes])[:, None]


def level_of(shape: Shape, sizes: Sizes, anchors: int = 1) -> tuple[int, int]:
    """(grid, numbers per anchor) of an output with a leading 1: [cells, k], maps [k, h, w] or [h, w, k], or with each
    anchor's map apart [anchors, h, w, k]. Raises ValueError where no grid fits."""
    inner = shape[1:]
    for level, (high, wide) in enumerate(sizes):
        found = _numbers(inner, high, wide, anchors)
        if shape[0] == 1 and found:
            return level, found
    grids = ", ".join(f"{high} x {wide}" for high, wide in sizes)
    raise ValueError(f"an output has shape {list(shape)}, and the grids are {grids}")


def _numbers(inner: Shape, high: int, wide: int, anchors: int) -> int:
    """How many numbers each anchor has in an output of a grid; 0 where it is none."""
    if len(inner) == 4 and inner[:3] == (anchors, high, wide):
        return inner[3]
    if len(inner) == 2 and inner[0] == high * wide * anchors:
        return inner[1]
    for numbers, grid in ((inner[0], inner[1:]), (inner[-1], inner[:-1])):
        if grid == (high, wide) and numbers % anchors == 0:
            return numbers // anchors
    return 0


def rows_of(array: NDArray[Any], size: tuple[int, int], anchors: int = 1) -> Floats:
    """The numbers of every cell and anchor of one output [anchors, cells, k], which `level_of` has placed."""
    inner: Floats = np.asarray(array, np.float64)[0]
    count = prod(size)
    if inner.ndim == 3 and inner.shape[1:] == size:  # maps, the numbers of each anchor together
        return np.ascontiguousarray(inner.reshape(anchors, -1, count).transpose(0, 2, 1))
    if inner.ndim == 3:
        return np.ascontiguousarray(inner.reshape(count, anchors, -1).transpose(1, 0, 2))
    return inner.reshape(anchors, count, -1)


def sigmoid(values: Floats) -> Floats:
    """Of any size, without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * values)))


def softmax(values: Floats) -> Floats:
    """Over the last axis."""
    raised = np.exp(values - values.max(-1, keepdims=True))
    return np.asarray(raised / raised.sum(-1, keepdims=True))


def corners(boxes: Floats) -> Floats:
    """Centre, width and height to (x0, y0, x1, y1). Few bits can make a width negative: such a box is empty."""
    half = np.maximum(boxes[:, 2:], 0.0) / 2
    return np.hstack((boxes[:, :2] - half, boxes[:, :2] + half))
