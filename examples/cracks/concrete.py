"""The bare surface: what a picture is made of before anything happened to it, and the light that falls on it."""

from __future__ import annotations

import copy
import math

import numpy as np

from examples.common.drawing import Array, Colour, Stencil, blurred, chance, spread, uniform
from examples.cracks.brush import SHEET, SIDE, anywhere, cloud, drawn_out


class Surface:
    """A surface while it is made, all arrays `SIDE` pixels square.

    `colour` is (SIDE, SIDE, 3) reflectance in 0..1, `relief` (SIDE, SIDE) height in pixels toward the viewer, `level`
    (SIDE, SIDE) how much light arrives, 1 being the usual. `sun` is the direction in radians that light comes from.
    """

    def __init__(self, colour: Colour, sun: float) -> None:
        self.colour: Array = np.empty((SIDE, SIDE, 3), dtype=np.float32)
        self.colour[:] = np.array(colour, dtype=np.float32)
        self.relief: Array = np.zeros((SIDE, SIDE), dtype=np.float32)
        self.level: Array = np.ones((SIDE, SIDE), dtype=np.float32)
        self.sun = sun

    def copy(self) -> Surface:
        """Another surface with the same values, to change on its own."""
        return copy.deepcopy(self)

    def tone(self, change: Array) -> None:
        """Lighter or darker by a share of itself: `change` (SIDE, SIDE) is 0 for as it is, -1 for black."""
        self.colour = self.colour * (1 + change[..., None]).clip(0, None)

    def paint(self, cover: Array, colour: Colour) -> None:
        """`colour` (0..1) where `cover` (SIDE, SIDE) is 1, a mixture where it is less."""
        self.colour += cover[..., None] * (np.array(colour, dtype=np.float32) - self.colour)

    def shade(self, factor: Array) -> None:
        """Less light, or more: `factor` (SIDE, SIDE), 1 being as much as before."""
        self.level *= factor

    def seen(self) -> Array:
        """(SIDE, SIDE, 3) in 0..1: slopes that face the sun are lighter."""
        slope_y, slope_x = np.gradient(self.relief)
        facing = slope_x * np.float32(math.cos(self.sun)) + slope_y * np.float32(math.sin(self.sun))
        # Light from that direction falls on what rises away from it.
        lit = self.level * (1 - facing).clip(0.35, 1.7)
        return np.asarray(self.colour * lit[..., None], dtype=np.float32)


def random_surface(rng: np.random.Generator) -> Surface:
    """Cast concrete, from smooth and light to coarse, dark and worn."""
    grey, warm, green = uniform(rng, 0.47, 0.86), uniform(rng, -0.015, 0.07), uniform(rng, -0.008, 0.03)
    surface = Surface((grey * (1 + warm), grey * (1 + green), grey * (1 - warm)), uniform(rng, 0, 2 * math.pi))
    mottle(rng, surface)
    grain(rng, surface)
    for happens, do in ((0.35, aggregate), (0.3, float_marks), (0.75, pores)):
        if chance(rng, happens):
            do(rng, surface)
    return surface


def mottle(rng: np.random.Generator, surface: Surface) -> None:
    """Cement that dried unevenly: patches of tone, slightly of colour."""
    strength = spread(rng, 0.012, 0.075)
    patches = cloud(rng, uniform(rng, 1, 4)) + 0.6 * cloud(rng, uniform(rng, 6, 14)) + 0.4 * cloud(rng, 30)
    surface.tone(np.float32(strength) * patches)
    tint = np.float32(uniform(rng, 0.001, 0.009)) * cloud(rng, uniform(rng, 2, 6))
    surface.colour *= 1 + tint[..., None] * np.array((1.0, 0.1, -1.0), dtype=np.float32)


def grain(rng: np.random.Generator, surface: Surface) -> None:
    """Sand and paste: relief and tone at two to ten pixels, in some surfaces drawn out in one direction."""
    rough, coarse = spread(rng, 0.015, 0.11), uniform(rng, 22, 60)
    relief = cloud(rng, coarse) * np.float32(60 / coarse) + 0.6 * cloud(rng, 2 * coarse) + 0.35 * cloud(rng, 110)
    if chance(rng, 0.35):
        angle = uniform(rng, 0, math.pi)
        relief += 1.2 * drawn_out(rng, uniform(rng, 40, 90), uniform(rng, 8, 25), angle)
    surface.relief += np.float32(rough) * relief
    fine = cloud(rng, uniform(rng, 60, 110)) + 0.8 * cloud(rng, uniform(rng, 25, 50))
    # Fine grain comes in patches, as where the skin of cement is worn.
    worn = (0.75 + 0.45 * cloud(rng, uniform(rng, 2, 7))).clip(0.1, 2)
    surface.tone(np.float32(spread(rng, 0.01, 0.05)) * fine * worn)


def aggregate(rng: np.random.Generator, surface: Surface) -> None:
    """Stones and sand that show: light and dark specks."""
    for share in (0.25, -0.35):
        specks = Stencil(SHEET)
        for _ in range(int(spread(rng, 6, 160))):
            size = spread(rng, 0.5, 2.6)
            specks.disc(anywhere(rng), size, size * uniform(rng, 0.6, 1.0), uniform(rng, 0.3, 1.0))
        surface.tone(np.float32(share * uniform(rng, 0.4, 1.0)) * specks.finish())


def float_marks(rng: np.random.Generator, surface: Surface) -> None:
    """The trowel's or the formwork's long traces, in relief and tone."""
    angle = uniform(rng, 0, math.pi)
    traces = drawn_out(rng, uniform(rng, 12, 60), uniform(rng, 1, 4), angle)
    surface.relief += np.float32(spread(rng, 0.03, 0.16)) * traces
    surface.tone(np.float32(uniform(rng, 0.0, 0.03)) * traces)


def pores(rng: np.random.Generator, surface: Surface) -> None:
    """Air bubbles at the formwork: round and longish holes, dark inside, lit at the edge away from the sun."""
    holes, edges = Stencil(SHEET), Stencil(SHEET)
    for _ in range(int(spread(rng, 2, 45))):
        (x, y), size = anywhere(rng), spread(rng, 0.6, 2.4) * (2.2 if chance(rng, 0.08) else 1.0)
        cover = uniform(rng, 0.4, 1.0)
        for _ in range(1 if chance(rng, 0.7) else 3):  # several that run into each other
            rx, ry = size * uniform(rng, 0.7, 1.5), size * uniform(rng, 0.7, 1.2)
            edges.disc((x, y), rx + 0.6, ry + 0.6, cover)
            holes.disc((x, y), rx, ry, cover)
            x, y = x + size * uniform(rng, -1.6, 1.6), y + size * uniform(rng, -1.6, 1.6)
    surface.relief -= np.float32(uniform(rng, 0.4, 1.1)) * blurred(edges.finish(), 0.9)
    surface.tone(-np.float32(uniform(rng, 0.2, 0.75)) * holes.finish())
