"""Small antialiased drawings ("sprites"): an object drawn larger than needed, then reduced, as colour with coverage.

Objects are drawn in units of their own, x to the right and y up, with (0, 0) where they touch the ground.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

from examples.common.drawing import Array, Colour, Point


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """`share` of b in a."""
    return (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share)


def scaled(colour: Colour, factor: float) -> Colour:
    return (colour[0] * factor, colour[1] * factor, colour[2] * factor)


def clipped(colour: Colour) -> tuple[int, int, int]:
    r, g, b = (max(0, min(255, round(v))) for v in colour)
    return r, g, b


def smooth_noise(rng: np.random.Generator, height: int, width: int, cells: float) -> Array:
    """(height, width) noise of about unit variance whose features are 1/`cells` of the longer side."""
    longest = max(height, width)
    rows = max(2, math.ceil(cells * height / longest) + 1)
    cols = max(2, math.ceil(cells * width / longest) + 1)
    grid = rng.standard_normal((rows, cols)).astype(np.float32)
    return np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)


class Brush:
    """A transparent canvas of `width` x `height` units at `scale` final pixels per unit.

    It is drawn `over` times larger, so that thin limbs of a 12-pixel figure still get fractional coverage.
    """

    def __init__(self, width: float, height: float, scale: float) -> None:
        tallest = max(1.0, scale * max(width, height))
        self.over = 2 if tallest > 160 else 3 if tallest > 60 else 6
        self.w = max(2, math.ceil(width * scale))
        self.h = max(2, math.ceil(height * scale))
        self.k = scale * self.over
        self.cx = self.w * self.over / 2
        self.base = float(self.h * self.over)
        self.image = Image.new("RGBA", (self.w * self.over, self.h * self.over))
        self.draw = ImageDraw.Draw(self.image)

    def xy(self, p: Point) -> Point:
        return (self.cx + p[0] * self.k, self.base - p[1] * self.k)

    def poly(self, points: list[Point], colour: Colour) -> None:
        self.draw.polygon([self.xy(p) for p in points], fill=(*clipped(colour), 255))

    def line(self, points: list[Point], width: float, colour: Colour) -> None:
        self.draw.line([self.xy(p) for p in points], fill=(*clipped(colour), 255), width=max(1, round(width * self.k)))

    def disc(self, centre: Point, rx: float, ry: float, colour: Colour, alpha: int = 255) -> None:
        (x, y), a, b = self.xy(centre), rx * self.k, ry * self.k
        if a > 0.3 and b > 0.3:
            self.draw.ellipse((x - a, y - b, x + a, y + b), fill=(*clipped(colour), alpha))

    def slab(self, x0: float, y0: float, x1: float, y1: float, colour: Colour, radius: float = 0.0) -> None:
        (left, bottom), (right, top) = self.xy((min(x0, x1), min(y0, y1))), self.xy((max(x0, x1), max(y0, y1)))
        if right - left >= 1 and bottom - top >= 1:
            self.draw.rounded_rectangle((left, top, right, bottom), radius * self.k, fill=(*clipped(colour), 255))

    def limb(self, p: Point, q: Point, r0: float, r1: float, colour: Colour) -> None:
        """A tapered capsule from p (radius r0) to q (radius r1)."""
        dx, dy = q[0] - p[0], q[1] - p[1]
        length = math.hypot(dx, dy) or 1e-6
        nx, ny = -dy / length, dx / length
        self.disc(p, r0, r0, colour)
        self.disc(q, r1, r1, colour)
        self.poly(
            [
                (p[0] + nx * r0, p[1] + ny * r0),
                (q[0] + nx * r1, q[1] + ny * r1),
                (q[0] - nx * r1, q[1] - ny * r1),
                (p[0] - nx * r0, p[1] - ny * r0),
            ],
            colour,
        )

    def finish(self, rng: np.random.Generator, side_light: float = 0.0, texture: float = 0.06) -> Array:
        """(h, w, 4) float: colour 0..255 and coverage 0..1, lit from the right by `side_light` (-1..1), with folds."""
        out = np.asarray(self.image.reduce(self.over), dtype=np.float32).copy()
        out[..., 3] /= 255.0
        across = np.linspace(-1.0, 1.0, self.w, dtype=np.float32)[None, :] * np.float32(0.35 * side_light)
        down = np.linspace(0.06, -0.08, self.h, dtype=np.float32)[:, None]
        folds = smooth_noise(rng, self.h, self.w, 9.0) + 0.6 * smooth_noise(rng, self.h, self.w, 24.0)
        out[..., :3] *= (1.0 + across + down + np.float32(texture) * folds)[..., None]
        np.clip(out[..., :3], 0.0, 255.0, out=out[..., :3])
        return out
