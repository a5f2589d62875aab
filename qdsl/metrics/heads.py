"""What the outputs of detection heads mean: boxes in input pixels, and a score for each class.

Both take one picture's output, with or without a leading batch of 1, and raise ValueError for another shape.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from qdsl.metrics.boxes import Floats


def yolov8(output: ArrayLike) -> tuple[Floats, Floats]:
    """Boxes [n, 4] and scores [n, classes] of a YOLOv8 head (also YOLO11's) as it is exported: [4 + classes, n], the
    rows being centre x, centre y, width and height in input pixels, then the probability of each class."""
    rows = _one(output, "[4 + classes, boxes]")
    if rows.shape[0] < 5 or rows.shape[0] > rows.shape[1]:
        raise ValueError(f"output has shape {list(rows.shape)}, expected [4 + classes, boxes]")
    return _corners(rows[:4].T), rows[4:].T


def yolox(
    output: ArrayLike, height: int, width: int, strides: Sequence[int] = (8, 16, 32), *, decoded: bool = False
) -> tuple[Floats, Floats]:
    """Boxes [n, 4] and scores [n, classes] of a YOLOX head: [n, 5 + classes] over the grids of `strides`, finest first,
    row by row, of an input of `height` x `width` pixels.

    The columns are the centre's offset from its grid cell in cells, the logarithms of width and height in cells, the
    probability of any object and that of each class given one; the score is their product (Ge et al. 2021,
    arXiv:2107.08430). With `decoded` the first four are already centre, width and height in input pixels.
    """
    rows = _one(output, "[boxes, 5 + classes]")
    sizes = [(height // stride, width // stride) for stride in strides]
    count = sum(high * wide for high, wide in sizes)
    if rows.shape[0] != count or rows.shape[1] < 6:
        expected = f"[{count}, 5 + classes] for {width}x{height} pixels and strides {', '.join(map(str, strides))}"
        raise ValueError(f"output has shape {list(rows.shape)}, expected {expected}")
    scores = rows[:, 4:5] * rows[:, 5:]
    if decoded:
        return _corners(rows[:, :4]), scores
    cells = [np.stack(np.meshgrid(np.arange(wide), np.arange(high)), -1).reshape(-1, 2) for high, wide in sizes]
    scale = np.repeat(np.asarray(strides, np.float64), [len(c) for c in cells])[:, None]
    centres = (rows[:, :2] + np.concatenate(cells)) * scale
    with np.errstate(over="ignore"):  # an infinite box is refused where boxes are used
        return _corners(np.hstack((centres, np.exp(rows[:, 2:4]) * scale))), scores


def _one(output: ArrayLike, expected: str) -> Floats:
    rows = np.asarray(output, np.float64)
    rows = rows[0] if rows.ndim == 3 and rows.shape[0] == 1 else rows
    if rows.ndim != 2:
        raise ValueError(f"output has shape {list(rows.shape)}, expected {expected}")
    return rows


def _corners(boxes: Floats) -> Floats:
    """Centre, width and height to (x0, y0, x1, y1). Few bits can make a width negative: such a box is empty."""
    half = np.maximum(boxes[:, 2:], 0.0) / 2
    return np.hstack((boxes[:, :2] - half, boxes[:, :2] + half))
