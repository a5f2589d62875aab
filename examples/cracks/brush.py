"""Chance, noise and antialiased stencils. Pictures are `SIDE` pixels square; x grows to the right and y down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SIDE = 224
OVER = 4  # a stencil is drawn so many times larger: a hairline of a quarter pixel still covers something

Array = NDArray[np.float32]
Colour = tuple[float, float, float]
Point = tuple[float, float]
T = TypeVar("T")


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(low + (high - low) * rng.random())


def spread(rng: np.random.Generator, low: float, high: float) -> float:
    """Between `low` and `high`, each doubling equally likely."""
    return math.exp(uniform(rng, math.log(low), math.log(high)))


def chance(rng: np.random.Generator, probability: float) -> bool:
    return bool(rng.random() < probability)


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    return options[int(rng.random() * len(options))]


def anywhere(rng: np.random.Generator, margin: float = 0.0) -> Point:
    """A point of the picture, `margin` pixels or more from its border."""
    return uniform(rng, margin, SIDE - margin), uniform(rng, margin, SIDE - margin)


def cloud(rng: np.random.Generator, cells: float, side: int = SIDE) -> Array:
    """(side, side) noise of about unit variance whose features are 1/`cells` of the side."""
    count = max(2, math.ceil(cells) + 1)
    grid = rng.standard_normal((count, count), dtype=np.float32)
    return np.asarray(Image.fromarray(grid).resize((side, side), Image.Resampling.BICUBIC), dtype=np.float32)


def drawn_out(rng: np.random.Generator, across: float, along: float, angle: float) -> Array:
    """(SIDE, SIDE) noise with longish features: 1/`along` of the side in direction `angle`, else 1/`across`."""
    side = math.ceil(SIDE * 1.42)  # so that the turned square still covers the picture
    grid = rng.standard_normal((math.ceil(across * 1.42) + 1, math.ceil(along * 1.42) + 1), dtype=np.float32)
    wide = Image.fromarray(grid).resize((side, side), Image.Resampling.BICUBIC)
    turned = np.asarray(wide.rotate(-math.degrees(angle), Image.Resampling.BILINEAR), dtype=np.float32)
    first = (side - SIDE) // 2
    return turned[first : first + SIDE, first : first + SIDE]


def blurred(values: Array, sigma: float) -> Array:
    """(H, W) values under a Gaussian of `sigma` pixels; past the border the nearest pixel goes on."""
    reach = max(1, math.ceil(2.5 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-3)) ** 2).astype(np.float32)
    weights /= weights.sum()
    for axis in (0, 1):
        pad = [(reach, reach) if a == axis else (0, 0) for a in (0, 1)]
        padded, length = np.pad(values, pad, mode="edge"), values.shape[axis]
        parts = (w * padded.take(range(i, i + length), axis) for i, w in enumerate(weights))
        values = np.sum(list(parts), axis=0, dtype=np.float32)
    return values


def smooth_step(values: Array, low: float, high: float) -> Array:
    """0 below `low`, 1 above `high`, and a cubic between."""
    t = ((values - low) / (high - low)).clip(0, 1)
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float32)


def distance(point: Point) -> Array:
    """(SIDE, SIDE) pixels to `point`."""
    ys, xs = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    return np.asarray(np.hypot(xs - np.float32(point[0]), ys - np.float32(point[1])), dtype=np.float32)


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


class Stencil:
    """How much of each pixel is covered, drawn with hard edges at `OVER` times the size."""

    def __init__(self) -> None:
        self.image = Image.new("L", (SIDE * OVER, SIDE * OVER))
        self.draw = ImageDraw.Draw(self.image)

    def polygon(self, points: Sequence[Point], cover: float = 1.0) -> None:
        self.draw.polygon([(x * OVER, y * OVER) for x, y in points], fill=round(255 * cover))

    def disc(self, centre: Point, rx: float, ry: float | None = None, cover: float = 1.0) -> None:
        x, y, a, b = centre[0] * OVER, centre[1] * OVER, rx * OVER, (rx if ry is None else ry) * OVER
        self.draw.ellipse((x - a, y - b, x + a, y + b), fill=round(255 * cover))

    def line(self, points: Sequence[Point], width: float, cover: float = 1.0) -> None:
        """A line of constant width with round joints. Below 1 / OVER pixels it gets fainter instead of thinner."""
        drawn = max(1, round(width * OVER))
        cover *= min(1.0, width * OVER / drawn)
        scaled = [(x * OVER, y * OVER) for x, y in points]
        self.draw.line(scaled, fill=round(255 * cover), width=drawn, joint="curve")

    def finish(self) -> Array:
        """(SIDE, SIDE) coverage, 0..1."""
        return np.asarray(self.image.reduce(OVER), dtype=np.float32) / np.float32(255)
