"""What the outputs of detection heads mean: boxes in input pixels, and a score for each class.

Each takes one picture's outputs, with or without a leading batch of 1, and raises ValueError for another shape. Which
head a recipe means, and which output is which, is in `qdsl.metrics.decoding`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qdsl.metrics.boxes import Floats
from qdsl.metrics.grids import (
    cell_count,
    cells,
    corners,
    level_of,
    per_cell,
    rows_of,
    sigmoid,
    sizes_of,
    softmax,
)

Maps = Sequence[NDArray[Any]]
Decoded = tuple[Floats, Floats]
VARIANCES = (0.1, 0.2)  # what SSD divides offsets and logarithms by


def yolov8(output: ArrayLike, classes: int = 0) -> Decoded:
    """Boxes [n, 4] and scores [n, classes] of a YOLOv8 head (also YOLO11's) as it is exported: [4 + classes, n], the
    rows being centre x, centre y, width and height in input pixels, then the probability of each class. More rows than
    boxes are refused, as those of an output that lies the other way, unless they have as many `classes`."""
    rows = _one(output, "[4 + classes, boxes]")
    if rows.shape[0] < 5 or (rows.shape[0] > rows.shape[1] and rows.shape[0] - 4 != classes):
        raise ValueError(f"output has shape {list(rows.shape)}, expected [4 + classes, boxes]")
    return corners(rows[:4].T), rows[4:].T


def yolox(
    output: ArrayLike, height: int, width: int, strides: Sequence[int] = (8, 16, 32), *, decoded: bool = False
) -> Decoded:
    """Boxes [n, 4] and scores [n, classes] of a YOLOX head: [n, 5 + classes] over the grids of `strides`, finest first,
    row by row, of an input of `height` x `width` pixels.

    The columns are the centre's offset from its grid cell in cells, the logarithms of width and height in cells, the
    probability of any object and that of each class given one; the score is their product (Ge et al. 2021,
    arXiv:2107.08430). With `decoded` the first four are already centre, width and height in input pixels.
    """
    rows = _one(output, "[boxes, 5 + classes]")
    sizes = sizes_of(height, width, strides)
    count = cell_count(sizes)
    if rows.shape[0] != count or rows.shape[1] < 6:
        expected = f"[{count}, 5 + classes] for {width}x{height} pixels and strides {', '.join(map(str, strides))}"
        raise ValueError(f"output has shape {list(rows.shape)}, expected {expected}")
    scores = rows[:, 4:5] * rows[:, 5:]
    if decoded:
        return corners(rows[:, :4]), scores
    scale = per_cell(strides, sizes)
    centres = (rows[:, :2] + cells(sizes)) * scale
    with np.errstate(over="ignore"):  # an infinite box is refused where boxes are used
        return corners(np.hstack((centres, np.exp(rows[:, 2:4]) * scale))), scores


def yolov5(output: ArrayLike) -> Decoded:
    """Boxes [n, 4] and scores [n, classes] of a YOLOv5 or YOLOv7 head as it is exported: [n, 5 + classes], centre,
    width and height in input pixels, the probability of any object, and that of each class given one."""
    rows = _one(output, "[boxes, 5 + classes]")
    return corners(rows[:, :4]), rows[:, 4:5] * rows[:, 5:]


def yolov5_maps(maps: Maps, height: int, width: int, strides: Sequence[int], anchors: Floats, logits: bool) -> Decoded:
    """The same head before its decoding: a map for each stride with its `anchors` [strides, k, 2], widths and heights
    in pixels. With s the sigmoid, a centre is at (2 s - 0.5 + cell) strides, a side (2 s)^2 of the anchor's (`Detect`
    in ultralytics/yolov5, models/yolo.py, since release 2.0)."""
    sizes = sizes_of(height, width, strides)
    found: dict[int, Decoded] = {}
    for given in maps:
        level, _ = level_of(given.shape, sizes, anchors.shape[1])
        rows = rows_of(given, sizes[level], anchors.shape[1])
        rows = sigmoid(rows) if logits else rows
        centres = (2 * rows[..., :2] - 0.5 + cells(sizes[level : level + 1])) * strides[level]
        sides = (2 * rows[..., 2:4]) ** 2 * anchors[level][:, None]
        boxes = corners(np.concatenate((centres, sides), -1).reshape(-1, 4))
        found[level] = boxes, (rows[..., 4:5] * rows[..., 5:]).reshape(len(boxes), -1)
    return _joined([found[level] for level in sorted(found)])


def nanodet(
    scores: Maps, distances: Maps, height: int, width: int, strides: Sequence[int], reg_max: int, offset: float
) -> Decoded:
    """Boxes and scores of a NanoDet head: for each stride the probability of each class, and for each side of the box a
    distribution over 0 to `reg_max` cells from the grid point, whose mean is the distance (distribution focal loss, Li
    et al. 2020, arXiv:2006.04388). Grid points lie `offset` of a cell inside it: 0 in NanoDet-Plus, 0.5 before.

    Both come grid by grid, as rows [cells, classes] and [cells, 4 * (reg_max + 1)].
    """
    sizes = sizes_of(height, width, strides)
    shares = softmax(np.concatenate(distances).reshape(-1, 4, reg_max + 1))
    reach = shares @ np.arange(reg_max + 1.0) * per_cell(strides, sizes)
    points = (cells(sizes) + offset) * per_cell(strides, sizes)
    return np.hstack((points - reach[:, :2], points + reach[:, 2:])), np.concatenate(scores)


def fastestdet(output: ArrayLike, height: int, width: int) -> Decoded:
    """Boxes and scores of FastestDet's one grid: maps [5 + classes, h, w] of the probability of an object, the offset
    of its centre (tanh, in cells), width and height (sigmoid, in inputs), and the share of each class.

    A box scores only for its best class, object ^ 0.6 times class ^ 0.4 (`handle_preds` in FastestDet, utils/tool.py).
    """
    maps = np.asarray(output, np.float64)
    maps = maps[0] if maps.ndim == 4 and maps.shape[0] == 1 else maps
    if maps.ndim != 3 or maps.shape[0] < 6:
        raise ValueError(f"output has shape {list(maps.shape)}, expected [5 + classes, h, w]")
    size = maps.shape[1], maps.shape[2]
    rows = maps.reshape(maps.shape[0], -1).T
    cell = np.array([width / size[1], height / size[0]])
    centres = (np.tanh(rows[:, 1:3]) + cells([size])) * cell
    boxes = corners(np.hstack((centres, sigmoid(rows[:, 3:5]) * np.array([width, height]))))
    shares = np.maximum(rows[:, 5:], 0.0)
    best = shares == shares.max(1, keepdims=True)
    return boxes, np.maximum(rows[:, :1], 0.0) ** 0.6 * np.where(best, shares, 0.0) ** 0.4


def ssd_priors(
    height: int, width: int, strides: Sequence[int], sizes: Sequence[float], ratios: Sequence[int]
) -> Floats:
    """The boxes [n, 4] that an SSD starts from (Liu et al. 2016, arXiv:1512.02325): centre, width and height in pixels,
    grid by grid, cell by cell.

    A cell of grid i has a square of side `sizes[i]`, one of the geometric mean with `sizes[i + 1]`, and for each of the
    first `ratios[i]` of 2, 3, 4, .. a lying and a standing box of the smaller one's area.
    """
    found = [np.zeros((0, 4))]
    for at, size in enumerate(sizes_of(height, width, strides)):
        least, mean = sizes[at], (sizes[at] * sizes[at + 1]) ** 0.5
        shapes = [(least, least), (mean, mean)]
        for ratio in range(2, 2 + ratios[at]):
            long, short = least * ratio**0.5, least / ratio**0.5
            shapes += [(long, short), (short, long)]
        centres = (cells([size]) + 0.5) * strides[at]
        rows = [np.hstack((centres, np.broadcast_to(shape, centres.shape))) for shape in shapes]
        found.append(np.stack(rows, 1).reshape(-1, 4))
    limits = np.array([width, height] * 2)
    return np.asarray(np.clip(np.concatenate(found), 0.0, limits))


def ssd_boxes(offsets: Floats, priors: Floats) -> Floats:
    """SSD's answers [n, 4] for its priors as boxes: centres moved by shares of the prior's sides, sides scaled."""
    centres = priors[:, :2] + offsets[:, :2] * VARIANCES[0] * priors[:, 2:]
    with np.errstate(over="ignore"):  # an infinite box is refused where boxes are used
        return corners(np.hstack((centres, priors[:, 2:] * np.exp(offsets[:, 2:] * VARIANCES[1]))))


def _joined(parts: Sequence[Decoded]) -> Decoded:
    return np.concatenate([boxes for boxes, _ in parts]), np.concatenate([scores for _, scores in parts])


def _one(output: ArrayLike, expected: str) -> Floats:
    rows = np.asarray(output, np.float64)
    rows = rows[0] if rows.ndim == 3 and rows.shape[0] == 1 else rows
    if rows.ndim != 2:
        raise ValueError(f"output has shape {list(rows.shape)}, expected {expected}")
    return rows
