"""Detection heads decoded one number at a time, as their authors' code does it; nothing is shared with the product.

Each gives rows (x0, y0, x1, y1, scores of every class) in the order of its cells. Sources: YOLOv5 `Detect.forward`
(ultralytics/yolov5, models/yolo.py); NanoDet `get_bboxes` and `Integral` (RangiLyu/nanodet, nanodet_plus_head.py and,
with half a cell of offset, gfl_head.py); FastestDet `handle_preds` (dog-qiuqiu/FastestDet, utils/tool.py, with the
powers of example/onnx-runtime/runtime.py); SSD `PriorBox` and `decode` (amdegroot/ssd.pytorch,
layers/functions/prior_box.py, layers/box_utils.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Rows = list[list[float]]


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def corners(x: float, y: float, wide: float, high: float) -> list[float]:
    return [x - wide / 2, y - high / 2, x + wide / 2, y + high / 2]


def yolov5(maps: Sequence[Any], strides: Sequence[int], anchors: Sequence[Sequence[tuple[float, float]]]) -> Rows:
    """Maps [anchors, h, w, 5 + classes] of logits, one for each stride."""
    found = []
    for values, stride, sizes in zip(maps, strides, anchors, strict=True):
        for anchor, (wide, high) in enumerate(sizes):
            for row in range(values.shape[1]):
                for column in range(values.shape[2]):
                    y = [sigmoid(float(v)) for v in values[anchor, row, column]]
                    x = (y[0] * 2 - 0.5 + column) * stride
                    z = (y[1] * 2 - 0.5 + row) * stride
                    box = corners(x, z, (y[2] * 2) ** 2 * wide, (y[3] * 2) ** 2 * high)
                    found.append(box + [y[4] * each for each in y[5:]])
    return found


def nanodet(
    scores: Sequence[Any], distances: Sequence[Any], grids: Sequence[tuple[int, int, int]], reg_max: int, offset: float
) -> Rows:
    """`grids` are (rows, columns, stride); scores [cells, classes] are probabilities."""
    found = []
    for probabilities, reach, (rows, columns, stride) in zip(scores, distances, grids, strict=True):
        for cell in range(rows * columns):
            x, y = (cell % columns + offset) * stride, (cell // columns + offset) * stride
            sides = []
            for side in range(4):
                logits = [float(v) for v in reach[cell, side * (reg_max + 1) : (side + 1) * (reg_max + 1)]]
                raised = [math.exp(v) for v in logits]
                sides.append(sum(at * v for at, v in enumerate(raised)) / sum(raised) * stride)
            left, top, right, bottom = sides
            found.append([x - left, y - top, x + right, y + bottom, *map(float, probabilities[cell])])
    return found


def fastestdet(maps: Any, width: int, height: int) -> Rows:
    """Maps [5 + classes, h, w]; only the best class of a cell scores."""
    found = []
    _, high, wide = maps.shape
    for row in range(high):
        for column in range(wide):
            values = [float(v) for v in maps[:, row, column]]
            x, y = (math.tanh(values[1]) + column) / wide, (math.tanh(values[2]) + row) / high
            box = corners(x, y, sigmoid(values[3]), sigmoid(values[4]))
            best = max(range(len(values) - 5), key=lambda at: values[5 + at])
            score = values[0] ** 0.6 * values[5 + best] ** 0.4
            shares = [score if at == best else 0.0 for at in range(len(values) - 5)]
            found.append([box[0] * width, box[1] * height, box[2] * width, box[3] * height, *shares])
    return found


def ssd_priors(
    side: int,
    maps: Sequence[int],
    steps: Sequence[int],
    least: Sequence[float],
    most: Sequence[float],
    ratios: Sequence[Sequence[int]],
) -> list[list[float]]:
    """(cx, cy, w, h) as fractions of a square input, clipped to 0 to 1."""
    found = []
    for k, f in enumerate(maps):
        for i in range(f):
            for j in range(f):
                f_k = side / steps[k]
                cx, cy, s_k = (j + 0.5) / f_k, (i + 0.5) / f_k, least[k] / side
                found.append([cx, cy, s_k, s_k])
                s_k_prime = math.sqrt(s_k * (most[k] / side))
                found.append([cx, cy, s_k_prime, s_k_prime])
                for ar in ratios[k]:
                    found.append([cx, cy, s_k * math.sqrt(ar), s_k / math.sqrt(ar)])
                    found.append([cx, cy, s_k / math.sqrt(ar), s_k * math.sqrt(ar)])
    return [[min(max(v, 0.0), 1.0) for v in prior] for prior in found]


def ssd_boxes(offsets: Any, priors: Sequence[Sequence[float]]) -> Rows:
    """Corners as fractions, by the variances 0.1 and 0.2."""
    found = []
    for answer, (cx, cy, wide, high) in zip(offsets, priors, strict=True):
        x, y = cx + float(answer[0]) * 0.1 * wide, cy + float(answer[1]) * 0.1 * high
        w, h = wide * math.exp(float(answer[2]) * 0.2), high * math.exp(float(answer[3]) * 0.2)
        found.append(corners(x, y, w, h))
    return found


def table(rows: Rows) -> tuple[Any, Any]:
    """(boxes [n, 4], scores [n, classes])."""
    values = np.array(rows, np.float64)
    return values[:, :4], values[:, 4:]
