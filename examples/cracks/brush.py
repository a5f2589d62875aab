"""Drawing on concrete: pictures are `SIDE` pixels square."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from examples.common.drawing import Array, Point, Sheet

SHEET = Sheet(224, over=4)  # four: a hairline of a quarter pixel still covers something
SIDE = SHEET.side
anywhere, cloud = SHEET.anywhere, SHEET.cloud


def drawn_out(rng: np.random.Generator, across: float, along: float, angle: float) -> Array:
    """(SIDE, SIDE) noise with longish features: 1/`along` of the side in direction `angle`, else 1/`across`."""
    side = math.ceil(SIDE * 1.42)  # so that the turned square still covers the picture
    grid = rng.standard_normal((math.ceil(across * 1.42) + 1, math.ceil(along * 1.42) + 1), dtype=np.float32)
    wide = Image.fromarray(grid).resize((side, side), Image.Resampling.BICUBIC)
    turned = np.asarray(wide.rotate(-math.degrees(angle), Image.Resampling.BILINEAR), dtype=np.float32)
    first = (side - SIDE) // 2
    return turned[first : first + SIDE, first : first + SIDE]


def distance(point: Point) -> Array:
    """(SIDE, SIDE) pixels to `point`."""
    return np.asarray(np.hypot(*SHEET.offsets(point)), dtype=np.float32)


def along(angle: float) -> Array:
    """(SIDE, SIDE) pixels from the middle of the picture in direction `angle` (radians)."""
    ys, xs = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) - np.float32(SIDE / 2)
    return np.asarray(xs * np.float32(math.cos(angle)) + ys * np.float32(math.sin(angle)), dtype=np.float32)


def curve(rng: np.random.Generator, start: Point, heading: float, length: float, bend: float) -> list[Point]:
    """A smooth line of `length` pixels whose direction changes by about `bend` radians per 100 pixels."""
    step, turn, points = 4.0, 0.0, [start]
    for _ in range(max(1, round(length / step))):
        turn = 0.9 * turn + 0.1 * float(rng.standard_normal())
        heading += bend * 0.12 * turn
        x, y = points[-1]
        points.append((x + step * math.cos(heading), y + step * math.sin(heading)))
    return points
