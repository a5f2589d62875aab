"""Chance, noise and antialiased stencils for generated pictures; x grows to the right and y down."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Array = NDArray[np.float32]
Colour = tuple[float, float, float]
Point = tuple[float, float]
T = TypeVar("T")


def generator(*numbers: int) -> np.random.Generator:
    """A random generator of its own for each tuple of numbers."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(numbers)))


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(low + (high - low) * rng.random())


def spread(rng: np.random.Generator, low: float, high: float) -> float:
    """Between `low` and `high`, each doubling equally likely."""
    return math.exp(uniform(rng, math.log(low), math.log(high)))


def chance(rng: np.random.Generator, probability: float) -> bool:
    return bool(rng.random() < probability)


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    return options[int(rng.random() * len(options))]


def blurred(values: Array, sigma: float) -> Array:
    """(H, W) values under a Gaussian of `sigma` pixels; past the border the nearest pixel goes on."""
    reach = max(1, math.ceil(2.5 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-3)) ** 2).astype(np.float32)
    weights /= weights.sum()
    for _ in range(2):  # down the columns, and after turning the picture over, down the columns again
        padded = np.pad(values, ((reach, reach), (0, 0)), mode="edge")
        out = np.zeros_like(values)
        for i, weight in enumerate(weights):
            out += weight * padded[i : i + len(values)]
        values = out.T
    return np.ascontiguousarray(values)


def smooth_step(values: Array, low: float, high: float) -> Array:
    """0 below `low`, 1 above `high`, and a cubic between."""
    t = ((values - low) / (high - low)).clip(0, 1)
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float32)


@dataclass(frozen=True)
class Sheet:
    """A picture to draw, `side` pixels square; stencils are drawn `over` times larger, so that edges are smooth."""

    side: int
    over: int

    def anywhere(self, rng: np.random.Generator, margin: float = 0.0) -> Point:
        """A point of the picture, `margin` pixels or more from its border."""
        return uniform(rng, margin, self.side - margin), uniform(rng, margin, self.side - margin)

    def noise(self, rng: np.random.Generator, across: float, along: float) -> Array:
        """(side, side) noise of about unit variance: features are 1/`along` of the side in x and 1/`across` in y."""
        grid = rng.standard_normal((math.ceil(across) + 1, math.ceil(along) + 1), dtype=np.float32)
        wide = Image.fromarray(grid).resize((self.side, self.side), Image.Resampling.BICUBIC)
        return np.asarray(wide, dtype=np.float32)

    def cloud(self, rng: np.random.Generator, cells: float) -> Array:
        """(side, side) noise of about unit variance whose features are 1/`cells` of the side."""
        return self.noise(rng, cells, cells)

    def offsets(self, point: Point) -> tuple[Array, Array]:
        """(side, side) pixels to the right of `point`, and below it."""
        ys, xs = np.mgrid[0 : self.side, 0 : self.side].astype(np.float32)
        return xs - np.float32(point[0]), ys - np.float32(point[1])


class Stencil:
    """How much of each pixel of a sheet is covered, drawn with hard edges."""

    def __init__(self, sheet: Sheet) -> None:
        self.over = sheet.over
        self.image = Image.new("L", (sheet.side * sheet.over, sheet.side * sheet.over))
        self.draw = ImageDraw.Draw(self.image)

    def polygon(self, points: Sequence[Point], cover: float = 1.0) -> None:
        self.draw.polygon([(x * self.over, y * self.over) for x, y in points], fill=round(255 * cover))

    def disc(self, centre: Point, rx: float, ry: float | None = None, cover: float = 1.0) -> None:
        x, y, a, b = (length * self.over for length in (*centre, rx, rx if ry is None else ry))
        self.draw.ellipse((x - a, y - b, x + a, y + b), fill=round(255 * cover))

    def line(self, points: Sequence[Point], width: float, cover: float = 1.0) -> None:
        """A line of constant width with round joints. Below 1 / over pixels it gets fainter instead of thinner."""
        drawn = max(1, round(width * self.over))
        cover *= min(1.0, width * self.over / drawn)
        scaled = [(x * self.over, y * self.over) for x, y in points]
        self.draw.line(scaled, fill=round(255 * cover), width=drawn, joint="curve")

    def finish(self) -> Array:
        """(side, side) coverage, 0..1."""
        return np.asarray(self.image.reduce(self.over), dtype=np.float32) / np.float32(255)


def encode_jpeg(image: NDArray[np.uint8], most: int, qualities: Sequence[int]) -> bytes:
    """JPEG at the first of `qualities`, best first, that fits in `most` bytes, or at the last."""
    data = b""
    for quality in qualities:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=quality, optimize=True)
        data = buffer.getvalue()
        if len(data) <= most:
            break
    return data
