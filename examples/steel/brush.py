"""Chance, noise and antialiased stencils. Pictures are `SIDE` pixels square; the strip moves along x, y grows down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SIDE = 320
OVER = 3  # a stencil is drawn so many times larger, so that edges are smooth

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


def noise(rng: np.random.Generator, across: float, along: float) -> Array:
    """(SIDE, SIDE) noise of about unit variance: features are 1/`along` of the side in x and 1/`across` in y."""
    grid = rng.standard_normal((math.ceil(across) + 1, math.ceil(along) + 1), dtype=np.float32)
    return np.asarray(Image.fromarray(grid).resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.float32)


def cloud(rng: np.random.Generator, cells: float) -> Array:
    """(SIDE, SIDE) noise of about unit variance whose features are 1/`cells` of the side."""
    return noise(rng, cells, cells)


def blurred(values: Array, sigma: float) -> Array:
    """(SIDE, SIDE) values under a Gaussian of `sigma` pixels; past the border the nearest pixel goes on."""
    reach = max(1, math.ceil(2.5 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-3)) ** 2).astype(np.float32)
    weights /= weights.sum()
    for _ in range(2):  # down the columns, and after turning the picture over, down the columns again
        padded = np.pad(values, ((reach, reach), (0, 0)), mode="edge")
        out = np.zeros_like(values)
        for i, weight in enumerate(weights):
            out += weight * padded[i : i + SIDE]
        values = out.T
    return np.ascontiguousarray(values)


def smooth_step(values: Array, low: float, high: float) -> Array:
    """0 below `low`, 1 above `high`, and a cubic between."""
    t = ((values - low) / (high - low)).clip(0, 1)
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float32)


def offsets(point: Point) -> tuple[Array, Array]:
    """(SIDE, SIDE) pixels to the right of `point`, and below it."""
    ys, xs = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    return xs - np.float32(point[0]), ys - np.float32(point[1])


def blob(rng: np.random.Generator, centre: Point, rx: float, ry: float, ragged: float, soft: float) -> Array:
    """(SIDE, SIDE) 0..1: an ellipse of half axes `rx` and `ry` pixels whose edge wanders by the share `ragged`."""
    dx, dy = offsets(centre)
    edge = np.hypot(dx / np.float32(rx), dy / np.float32(ry))
    edge = edge + np.float32(ragged) * (cloud(rng, 6) + 0.5 * cloud(rng, 16) + 0.3 * cloud(rng, 48))
    return 1 - smooth_step(edge, 1 - soft, 1 + soft)


def moved(values: Array, dx: int, dy: int) -> Array:
    """(SIDE, SIDE) `values` shifted to the right and down; what leaves at one border does not come in at another."""
    out = np.zeros_like(values)
    rows, cols = slice(max(0, dy), SIDE + min(0, dy)), slice(max(0, dx), SIDE + min(0, dx))
    out[rows, cols] = values[max(0, -dy) : SIDE - max(0, dy), max(0, -dx) : SIDE - max(0, dx)]
    return out


class Stencil:
    """How much of each pixel is covered, drawn with hard edges at `OVER` times the size."""

    def __init__(self) -> None:
        self.image = Image.new("L", (SIDE * OVER, SIDE * OVER))
        self.draw = ImageDraw.Draw(self.image)

    def polygon(self, points: Sequence[Point], cover: float = 1.0) -> None:
        self.draw.polygon([(x * OVER, y * OVER) for x, y in points], fill=round(255 * cover))

    def disc(self, centre: Point, rx: float, ry: float, cover: float = 1.0) -> None:
        x, y, a, b = centre[0] * OVER, centre[1] * OVER, rx * OVER, ry * OVER
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
