"""The bare strip: rolled steel in even grey, and the light and the camera that look at it."""

from __future__ import annotations

import copy
import math

import numpy as np
from numpy.typing import NDArray

from examples.common.drawing import Array, Colour, blurred, chance, spread, uniform
from examples.steel.brush import SIDE, anywhere, cloud, noise, offsets


class Strip:
    """A piece of strip while it is made: `colour` (SIDE, SIDE, 3) is reflectance, 1 being white.

    `sun` is 1 where the light comes from above the picture and -1 where it comes from below.
    """

    def __init__(self, colour: Colour, sun: int) -> None:
        self.colour: Array = np.empty((SIDE, SIDE, 3), dtype=np.float32)
        self.colour[:] = np.array(colour, dtype=np.float32)
        self.sun = sun

    def copy(self) -> Strip:
        """Another strip with the same values, to change on its own."""
        return copy.deepcopy(self)

    def tone(self, change: Array) -> None:
        """Lighter or darker by a share of itself: `change` (SIDE, SIDE) is 0 for as it is, -1 for black."""
        self.colour = self.colour * (1 + change[..., None]).clip(0, None)

    def paint(self, cover: Array, colour: Colour) -> None:
        """`colour` where `cover` (SIDE, SIDE) is 1, a mixture where it is less."""
        self.colour = self.colour + cover[..., None] * (np.array(colour, dtype=np.float32) - self.colour)


def random_strip(rng: np.random.Generator) -> Strip:
    """Cold rolled, pickled or tempered: grey, a little warm or cold, with fine lines along the strip."""
    grey, warm = uniform(rng, 0.33, 0.5), uniform(rng, -0.03, 0.02)
    strip = Strip((grey * (1 + warm), grey, grey * (1 - warm)), 1 if chance(rng, 0.5) else -1)
    lines = noise(rng, uniform(rng, 60, 160), uniform(rng, 1, 4)) + 0.7 * noise(rng, uniform(rng, 20, 60), 2)
    strip.tone(np.float32(spread(rng, 0.008, 0.035)) * lines)
    grain = noise(rng, uniform(rng, 90, 150), uniform(rng, 25, 70))
    worn = (0.8 + 0.4 * cloud(rng, uniform(rng, 2, 5))).clip(0.2, 1.6)  # grain comes in patches
    strip.tone(np.float32(spread(rng, 0.008, 0.035)) * grain * worn)
    strip.tone(np.float32(spread(rng, 0.005, 0.03)) * noise(rng, uniform(rng, 2, 8), uniform(rng, 1, 4)))
    return strip


def light(rng: np.random.Generator, strip: Strip) -> None:
    """Uneven light: brighter to one side, a lamp's band along the strip, darker corners."""
    right, below = (part / np.float32(SIDE) for part in offsets((SIDE / 2, SIDE / 2)))
    strip.tone(np.float32(uniform(rng, -0.2, 0.2)) * below + np.float32(uniform(rng, -0.12, 0.12)) * right)
    if chance(rng, 0.3):
        _, off = offsets(anywhere(rng))
        band = off / np.float32(spread(rng, 30, 120))
        strip.tone(np.float32(uniform(rng, -0.1, 0.16)) * np.exp(-band * band))
    strip.tone(-np.float32(uniform(rng, 0, 0.2)) * (right * right + below * below))


def photograph(rng: np.random.Generator, strip: Strip) -> NDArray[np.uint8]:
    """Lens, exposure, cast and noise: (SIDE, SIDE, 3) uint8 RGB.

    The exposure suits the middle of a clean strip, about 115 of 255, so that a flash of bare metal is cut off at 255.
    """
    focus = uniform(rng, 0.35, 0.7) if chance(rng, 0.75) else uniform(rng, 0.7, 1.3)
    out = np.stack([blurred(strip.colour[..., c], focus) for c in range(3)], 2)
    out *= np.float32(uniform(rng, 92, 138) / max(1e-3, float(np.median(out))))
    out *= np.array([uniform(rng, 0.985, 1.015) for _ in range(3)], dtype=np.float32)
    strength = uniform(rng, 2.5, 5) if chance(rng, 0.2) else uniform(rng, 0.5, 2.5)
    grains = rng.standard_normal((SIDE, SIDE), dtype=np.float32)
    grains = (grains + np.roll(grains, 1, 0) + np.roll(grains, 1, 1)) * np.float32(strength / math.sqrt(3))
    return np.asarray((out + grains[..., None]).clip(0, 255), dtype=np.uint8)
