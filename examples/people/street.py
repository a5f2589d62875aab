"""The place and the hour of a scene: light, camera, and the canvas that objects are put on from far to near."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from examples.common.drawing import Array, Colour, chance, pick, uniform

SIZES = [(640, 480), (640, 480), (480, 640), (512, 512), (640, 360), (576, 432)]  # (width, height) in pixels
MIN_VISIBLE = 0.35  # of a person's area; less is not labelled
MIN_SIDE = 4  # pixels; below this a box says nothing

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Light:
    """Time of day. `base` multiplies colours; `sun` is the side it shines from (-1..1); 0 `shadow` is overcast."""

    kind: str
    base: Colour
    sun: float
    shadow: float
    sky: tuple[Colour, Colour]
    haze: float


@dataclass(frozen=True)
class View:
    """A level camera: the ground at `y` pixels is `scale(y)` pixels per metre."""

    width: int
    height: int
    horizon: float
    camera_metres: float
    vanish: float

    def scale(self, y: float) -> float:
        return (y - self.horizon) / self.camera_metres

    def ground(self, scale: float) -> float:
        return self.horizon + scale * self.camera_metres


class Canvas:
    """The picture while it is drawn from far to near: colour, light that shines by itself, and who owns each pixel."""

    def __init__(self, view: View, light: Light) -> None:
        self.view, self.light = view, light
        self.colour: Array = np.zeros((view.height, view.width, 3), dtype=np.float32)
        self.glow: Array = np.zeros_like(self.colour)
        self.owner = np.zeros((view.height, view.width), dtype=np.int32)
        self.people: list[int] = []  # whole area in pixels of person i + 1, hidden and outside parts included

    def window(self, sprite: Array, x: float, y: float) -> tuple[slice, slice, Array] | None:
        """Rows, columns and the part of `sprite` inside the picture, with its bottom centre at (x, y)."""
        h, w = sprite.shape[:2]
        left, top = round(x - w / 2), round(y - h)
        x0, y0 = max(0, left), max(0, top)
        x1, y1 = min(self.view.width, left + w), min(self.view.height, top + h)
        if x1 <= x0 or y1 <= y0:
            return None
        return slice(y0, y1), slice(x0, x1), sprite[y0 - top : y1 - top, x0 - left : x1 - left]

    def place(self, sprite: Array, x: float, y: float, scale: float, person: bool = False) -> None:
        self.ground_shadow(sprite, x, y, scale)
        solid = int((sprite[..., 3] > 0.5).sum())
        if person:
            self.people.append(solid)
        found = self.window(sprite, x, y)
        if found is None:
            return
        rows, cols, part = found
        cover = part[..., 3:]
        # Air between here and there: 30 pixels per metre is near, 8 is far.
        far = self.light.haze * max(0.0, min(1.0, (30.0 - scale) / 26.0))
        tint = np.array(self.light.sky[1], dtype=np.float32)
        shaded = part[..., :3] * (1 - far) + tint * far
        self.colour[rows, cols] += (shaded - self.colour[rows, cols]) * cover
        self.glow[rows, cols] *= 1 - cover
        self.owner[rows, cols][part[..., 3] > 0.5] = len(self.people) if person else 0

    def ground_shadow(self, sprite: Array, x: float, y: float, scale: float) -> None:
        """A contact shadow for every object, and the slanted one that the sun throws."""
        h, w = sprite.shape[:2]
        cover = Image.fromarray((sprite[..., 3] * 255).astype(np.uint8))
        flat_h = max(2, round(h * (0.12 if self.light.shadow == 0 else 0.3)))
        slant = 0.0 if self.light.shadow == 0 else -self.light.sun * 1.6
        extra = math.ceil(abs(slant) * flat_h)
        # Output (u, v) reads input (u - slant * (flat_h - v), v * h / flat_h): the silhouette, squashed and sheared.
        offset = -slant * flat_h - (0 if slant > 0 else extra)
        data = (1.0, slant, offset, 0.0, h / flat_h, 0.0)
        flat = cover.transform((w + extra, flat_h), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
        flat = flat.filter(ImageFilter.BoxBlur(max(0.6, flat_h * 0.04)))
        alpha = np.asarray(flat, dtype=np.float32)[..., None] / 255.0
        centre = x + (extra / 2 if slant > 0 else -extra / 2)
        found = self.window(alpha, centre, y + scale * 0.04)
        if found is not None:
            rows, cols, part = found
            self.colour[rows, cols] *= 1 - part * np.float32(max(0.3, self.light.shadow))

    def boxes(self) -> list[Box]:
        found: list[Box] = []
        height, width = self.owner.shape
        for number, area in enumerate(self.people, start=1):
            ys, xs = np.nonzero(self.owner == number)
            if len(xs) == 0 or len(xs) < MIN_VISIBLE * area:
                continue
            x0, x1, y0, y1 = int(xs.min()), int(xs.max()) + 1, int(ys.min()), int(ys.max()) + 1
            if x1 - x0 >= MIN_SIDE and y1 - y0 >= 2 * MIN_SIDE:
                found.append(((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height))
        return found


def random_light(rng: np.random.Generator) -> Light:
    kind = pick(rng, ["sun", "sun", "cloud", "cloud", "dusk", "night"])
    sun = uniform(rng, -1, 1)
    haze = uniform(rng, 0.05, 0.75) if chance(rng, 0.5) else 0.1
    if kind == "sun":
        return Light(kind, (1.06, 1.02, 0.94), sun, uniform(rng, 0.3, 0.6), ((84, 138, 208), (196, 214, 230)), haze)
    if kind == "cloud":
        grey = uniform(rng, 0.7, 1.0)
        return Light(
            kind, (0.9 * grey, 0.92 * grey, 0.95 * grey), sun * 0.4, 0.0, ((150, 158, 168), (206, 208, 210)), haze
        )
    if kind == "dusk":
        return Light(kind, (0.72, 0.55, 0.5), sun, uniform(rng, 0.2, 0.4), ((74, 74, 120), (236, 160, 110)), haze)
    dark = uniform(rng, 0.2, 0.42)
    return Light(kind, (0.8 * dark, 0.88 * dark, 1.15 * dark), sun * 0.5, 0.0, ((16, 20, 40), (52, 50, 66)), haze * 0.4)


def random_view(rng: np.random.Generator) -> View:
    width, height = pick(rng, SIZES)
    high = chance(rng, 0.25)  # a surveillance camera rather than a walker or a dashboard
    camera = uniform(rng, 2.6, 5.0) if high else uniform(rng, 1.0, 2.0)
    horizon = height * (uniform(rng, 0.1, 0.3) if high else uniform(rng, 0.28, 0.52))
    return View(width, height, horizon, camera, width * uniform(rng, 0.2, 0.8))
