"""What is on steel strip and is no defect, in pictures of every class: the same chances, whatever the label.

All of it is faint: a mark changes the grey by a third at most, most defects by half and more.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from examples.common.drawing import Stencil, blurred, chance, pick, smooth_step, spread, uniform
from examples.steel.brush import SHEET, SIDE, anywhere, blob, cloud, moved, noise, offsets
from examples.steel.strip import Strip

Mark = Callable[[np.random.Generator, Strip], None]


def streaks(rng: np.random.Generator, strip: Strip) -> None:
    """Long bands along the strip, lighter or darker, as the rolls left them."""
    bands = noise(rng, spread(rng, 12, 90), uniform(rng, 1, 2))
    bands = smooth_step(bands, uniform(rng, 0.3, 1.0), uniform(rng, 1.6, 2.4))
    strip.tone(np.float32(uniform(rng, 0.06, 0.16) * pick(rng, [-1, -1, 1])) * bands)


def scratches(rng: np.random.Generator, strip: Strip) -> None:
    """Too faint to count: thin, nearly straight, mostly light, alone or side by side, longer than any crack."""
    angle = uniform(rng, -0.25, 0.25) if chance(rng, 0.7) else uniform(rng, 0, math.pi)
    x, y = anywhere(rng, 30)
    stencil = Stencil(SHEET)
    for _ in range(1 + int(rng.geometric(0.5)) % 5):
        length, lean = spread(rng, 40, 300), angle + uniform(rng, -0.06, 0.06)
        dx, dy = length / 2 * math.cos(lean), length / 2 * math.sin(lean)
        bow = uniform(rng, -6, 6)
        stencil.line([(x - dx, y - dy), (x, y + bow), (x + dx, y + dy)], spread(rng, 0.5, 1.6), uniform(rng, 0.4, 1))
        x, y = x + uniform(rng, -18, 18), y + uniform(rng, -18, 18)
    strip.tone(np.float32(uniform(rng, 0.06, 0.2) * pick(rng, [1, 1, -1])) * stencil.finish())


def oil(rng: np.random.Generator, strip: Strip) -> None:
    """Spots of oil or emulsion: soft, smooth, darker, with a lighter rim."""
    for _ in range(1 + int(rng.geometric(0.45)) % 5):
        radius = spread(rng, 5, 45)
        cover = blob(rng, anywhere(rng), radius * uniform(rng, 1, 2.2), radius, uniform(rng, 0.05, 0.2), 0.25)
        rim = np.asarray(4 * (blurred(cover, 2.5) * (1 - cover)).clip(0, 0.25), dtype=np.float32)
        strip.tone(-np.float32(uniform(rng, 0.08, 0.24)) * cover + np.float32(uniform(rng, 0, 0.1)) * rim)


def water(rng: np.random.Generator, strip: Strip) -> None:
    """Dried drops: pale rings, some run together."""
    for _ in range(1 + int(rng.geometric(0.4)) % 6):
        radius = spread(rng, 6, 40)
        cover = blob(rng, anywhere(rng), radius, radius * uniform(rng, 0.7, 1.1), uniform(rng, 0.04, 0.12), 0.12)
        ring = 4 * cover * (1 - cover)
        strip.tone(np.float32(uniform(rng, 0.06, 0.2)) * ring + np.float32(uniform(rng, -0.03, 0.06)) * cover)


def roll_marks(rng: np.random.Generator, strip: Strip) -> None:
    """A damaged roll prints the same shallow dent again at every turn: small, soft, in a row along the strip."""
    pitch, (x, y) = uniform(rng, 45, 130), anywhere(rng)
    rx, ry = spread(rng, 2, 9), spread(rng, 2, 6)
    stencil = Stencil(SHEET)
    x %= pitch
    while x < SIDE:
        stencil.disc((x, y + uniform(rng, -1, 1)), rx, ry, uniform(rng, 0.7, 1.0))
        x += pitch
    cover = blurred(stencil.finish(), uniform(rng, 0.8, 2))
    slope = moved(cover, 0, strip.sun) - moved(cover, 0, -strip.sun)
    strip.tone(np.float32(uniform(rng, 0.08, 0.24)) * slope - np.float32(uniform(rng, 0.04, 0.16)) * cover)


def chatter(rng: np.random.Generator, strip: Strip) -> None:
    """The mill trembled: faint bars across the strip at a steady pitch."""
    right, below = offsets((0.0, 0.0))
    waves = np.sin(right * np.float32(2 * math.pi / spread(rng, 8, 40)) + below * np.float32(uniform(rng, -0.02, 0.02)))
    strip.tone(np.float32(spread(rng, 0.012, 0.05)) * waves * smooth_step(cloud(rng, 2), -0.6, 1.0))


def stain(rng: np.random.Generator, strip: Strip) -> None:
    """From pickling: broad, cloudy, a little darker and warmer."""
    patches = smooth_step(noise(rng, uniform(rng, 2, 7), uniform(rng, 1, 4)) + 0.3 * cloud(rng, 30), 0.3, 1.6)
    strip.tone(-np.float32(uniform(rng, 0.05, 0.16)) * patches)
    warm = np.array((1.0, 0.2, -1.0), dtype=np.float32) * np.float32(uniform(rng, 0.0, 0.03))
    strip.colour = strip.colour * (1 + patches[..., None] * warm)


def dust(rng: np.random.Generator, strip: Strip) -> None:
    """Loose specks, lighter or darker, all over."""
    for sign in (1, -1):
        stencil = Stencil(SHEET)
        for _ in range(int(spread(rng, 3, 60))):
            size = spread(rng, 0.5, 1.6)
            stencil.disc(anywhere(rng), size * uniform(rng, 1, 1.8), size, uniform(rng, 0.3, 1.0))
        strip.tone(np.float32(sign * uniform(rng, 0.06, 0.2)) * stencil.finish())


def drips(rng: np.random.Generator, strip: Strip) -> None:
    """Oil wiped along the strip: dark, smooth spindles, as inclusions are in outline, but soft."""
    stencil, (x, y) = Stencil(SHEET), anywhere(rng)
    for _ in range(1 + int(rng.geometric(0.4)) % 5):
        stencil.disc((x, y), spread(rng, 10, 60), spread(rng, 1.5, 6), uniform(rng, 0.5, 1.0))
        x, y = x + uniform(rng, -60, 60), y + uniform(rng, -25, 25)
    strip.tone(-np.float32(uniform(rng, 0.1, 0.32)) * blurred(stencil.finish(), uniform(rng, 1.0, 3.0)))


def dents(rng: np.random.Generator, strip: Strip) -> None:
    """Shallow dents from loose grit: a nest of round, soft spots, half lighter and half darker."""
    (x, y), nest = anywhere(rng), spread(rng, 8, 50)
    stencil = Stencil(SHEET)
    for _ in range(int(spread(rng, 2, 18))):
        size, turn, away = spread(rng, 1.2, 4.5), uniform(rng, 0, 2 * math.pi), nest * math.sqrt(rng.random())
        stencil.disc((x + away * math.cos(turn), y + away * math.sin(turn)), size, size, uniform(rng, 0.5, 1.0))
    cover = blurred(stencil.finish(), uniform(rng, 0.8, 1.6))
    slope = moved(cover, 0, strip.sun) - moved(cover, 0, -strip.sun)
    strip.tone(np.float32(uniform(rng, 0.15, 0.5)) * slope)


MARKS: tuple[Mark, ...] = (
    streaks,
    scratches,
    scratches,
    oil,
    drips,
    drips,
    water,
    roll_marks,
    dents,
    chatter,
    stain,
    dust,
)


def random_marks(rng: np.random.Generator) -> list[Mark]:
    """None for one strip in six, else one to four."""
    count = 0 if chance(rng, 1 / 6) else 1 + int(rng.geometric(0.5) - 1) % 4
    return [pick(rng, MARKS) for _ in range(count)]
